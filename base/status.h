/* SPDX-License-Identifier: Apache-2.0 */
/* Status codes, the one control macro, and the sentence behind a failure.
 *
 * Every fallible function returns a `status` that the caller must use, and
 * writes its outputs only on ST_OK.  The function that first knows what went
 * wrong says it in one sentence through status_fail(); callers pass the code
 * up in silence.  The sentence belongs to the calling thread: whoever hands a
 * failure to another thread, rank or peer copies it with status_text(). */
#ifndef BASE_STATUS_H
#define BASE_STATUS_H

#include <stdlib.h>

typedef enum status {
    ST_OK = 0,
    ST_NOMEM,       /* memory, device memory or descriptors are exhausted */
    ST_ARG,         /* a value from outside is wrong: flag, field, file */
    ST_IO,          /* a file or socket operation failed */
    ST_WIRE,        /* a peer broke the protocol */
    ST_DEVICE,      /* the device or its library failed */
    ST_MPI,         /* MPI failed */
    ST_STATE,       /* not possible now: in use, already there, not ready */
    ST_LIMIT,       /* over a stated limit */
    ST_UNSUPPORTED, /* known, but not built */
    ST_TIMEOUT,     /* a deadline passed */
    ST_CANCELED,    /* somebody asked to stop */
    ST_NOTFOUND,    /* no such document, job, model, file */
    ST_DENIED,      /* not authorised */
    ST_POISON,      /* a job that ends the world that runs it */
    ST_NUMERIC,     /* a result that is no number */
    ST_COUNT
} status;

#define MUST_USE          __attribute__((warn_unused_result))
#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))

/* Evaluates `expr` into the local `st` and leaves by `fail` on failure. */
#define TRY(expr)                                                              \
    do {                                                                       \
        st = (expr);                                                           \
        if (st != ST_OK)                                                       \
            goto fail;                                                         \
    } while (0)

/* Broken invariants of our own only; never input, memory, device or peer. */
#define ASSERT(cond)                                                           \
    do {                                                                       \
        if (!(cond))                                                           \
            status_assert_failed(#cond, __FILE__, __LINE__);                   \
    } while (0)

/* The code's name without prefix, in lower case: "ok", "arg", "nomem", ...
 * Never NULL; "unknown" for a value outside the enum. */
const char *status_name(status st);

/* Records one sentence (printf-like, no newline, cut at 511 bytes) for the
 * calling thread and returns `st`.  `st` must not be ST_OK. */
status status_fail(status st, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* The calling thread's last sentence; "" before the first.  Valid until the
 * thread's next status_fail(). */
const char *status_text(void);

/* 0 for ST_OK, 2 for bad usage or bad input (ST_ARG, ST_UNSUPPORTED,
 * ST_NOTFOUND, ST_LIMIT), else 1: the exit status of every program. */
int status_exit_code(status st);

_Noreturn void status_assert_failed(const char *cond, const char *file,
                                    int line);

#endif
