/* SPDX-License-Identifier: Apache-2.0 */
/* Status names and the calling thread's last sentence. */
#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>

/* The one thread-local of the tree: the sentence must survive an unwinding
 * through callers that know nothing of it, as errno does. */
static _Thread_local char last_text[512];

const char *
status_name(status st)
{
    static const char *const names[ST_COUNT] = {
        "ok",       "nomem",  "arg",    "io",          "wire",    "device",
        "mpi",      "state",  "limit",  "unsupported", "timeout", "canceled",
        "notfound", "denied", "poison", "numeric",
    };
    return (unsigned)st < ST_COUNT ? names[st] : "unknown";
}

status
status_fail(status st, const char *fmt, ...)
{
    va_list ap;

    ASSERT(st != ST_OK);
    va_start(ap, fmt);
    (void)vsnprintf(last_text, sizeof(last_text), fmt, ap);
    va_end(ap);
    return st;
}

const char *
status_text(void)
{
    return last_text;
}

int
status_exit_code(status st)
{
    switch (st) {
    case ST_OK:
        return 0;
    case ST_ARG:
    case ST_UNSUPPORTED:
    case ST_NOTFOUND:
    case ST_LIMIT:
        return 2;
    case ST_NOMEM:
    case ST_IO:
    case ST_WIRE:
    case ST_DEVICE:
    case ST_MPI:
    case ST_STATE:
    case ST_TIMEOUT:
    case ST_CANCELED:
    case ST_DENIED:
    case ST_POISON:
    case ST_NUMERIC:
    case ST_COUNT:
        break;
    }
    return 1;
}

_Noreturn void
status_assert_failed(const char *cond, const char *file, int line)
{
    (void)fprintf(stderr, "%s:%d: broken invariant: %s\n", file, line, cond);
    abort();
}
