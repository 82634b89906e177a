/* SPDX-License-Identifier: Apache-2.0 */
/* Fault points: named places where a test lets something go wrong.
 *
 * Only what is compiled with LONGWAVE_FAULTS has them; elsewhere the macros
 * below are nothing.  A program that has them reads the environment once:
 *
 *   LONGWAVE_FAULTS=NAME:NTH:ACTION[,NAME:NTH:ACTION...]
 *     NAME    of a point, from the table below
 *     NTH     3: the third time that the process comes by, counted from 1
 *             3+: the third and every later time
 *     ACTION  kill      SIGKILL to itself
 *             segv      SIGSEGV to itself
 *             exit=N    _exit(N); exit: 1
 *             abort=N   ends as fault_on_abort() says, with status N; abort: 1
 *             stall=N   sleeps N ms; stall: an hour
 *             eio, enospc, nomem   the call at the point fails like that
 *             short     a write takes only a part; more will follow it
 *             nan       a number becomes none
 *   LONGWAVE_FAULTS_ONCE=DIR
 *     Each point acts in one process only and there once: the first that can
 *     create DIR/NAME.  Without it a world that is started again, or each of
 *     several ranks, would do the same again.
 *
 * What is no such list ends the program with status 2: a test whose faults are
 * misspelt must not pass. */
#ifndef BASE_FAULT_H
#define BASE_FAULT_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

/* base/: the file layer and memory; daemon/: submit, commit, ack, dispatch,
 * checkpoint, result; worker/: the world, its lead, hops. */
#define FAULT_POINTS(X)                                                        \
    X(FILE_OPEN, "file.open")                                                  \
    X(FILE_WRITE, "file.write")                                                \
    X(FILE_SYNC, "file.sync")                                                  \
    X(FILE_RENAME, "file.rename")                                              \
    X(FILE_DIRECTORY, "file.directory") /* its fsync, after the rename */      \
    X(MEM_NEW, "mem.new")                                                      \
    X(SUBMIT_HEARD, "submit.heard")       /* all input is in place */          \
    X(SUBMIT_ROW, "submit.row")           /* inserted, not committed */        \
    X(COMMIT_BEGIN, "commit.begin")       /* any transaction of the journal */ \
    X(COMMIT_END, "commit.end")           /* it is durable, nobody knows */    \
    X(ACK_BEFORE, "ack.before")           /* Accepted */                       \
    X(ACK_AFTER, "ack.after")             /* it is with the socket */          \
    X(DISPATCH_BEFORE, "dispatch.before") /* Begin to a world */               \
    X(DISPATCH_AFTER, "dispatch.after")                                        \
    X(CHECKPOINT_FILE, "checkpoint.file") /* durable, its row is not */        \
    X(CHECKPOINT_ROW, "checkpoint.row")                                        \
    X(CHECKPOINT_NOTE, "checkpoint.note") /* its row is asked for */           \
    X(FEED_CHECK, "feed.check")           /* one is read to go on from */      \
    X(INTAKE_READ, "intake.read")         /* a document's, to be checked */    \
    X(SHARD_NEW, "shard.new")             /* a part of one came */             \
    X(RESULT_HEARD, "result.heard")       /* of a world, of a whole job */     \
    X(RESULT_ROW, "result.row")           /* durable, not told */              \
    X(RESULT_SENT, "result.sent")         /* Done is with the socket */        \
    X(WORLD_START, "world.start")         /* MPI is up, nothing is loaded */   \
    X(WORLD_GROUP, "world.group")         /* a group of cells has run */       \
    X(LEAD_BEGIN, "lead.begin")           /* a job came to the lead */         \
    X(LEAD_STATE, "lead.state")           /* a part of a state is sent up */   \
    X(LEAD_DONE, "lead.done") /* before the lead says that it is done */       \
    X(HOP_DATA, "hop.data")   /* what came from another rank */

typedef enum fault_point {
#define FAULT_ENUM(id, name) FAULT_##id,
    FAULT_POINTS(FAULT_ENUM)
#undef FAULT_ENUM
        FAULT_COUNT
} fault_point;

#ifdef LONGWAVE_FAULTS

/* What the caller has to do; what it need not know of happens inside. */
typedef enum fault_action {
    FAULT_NOTHING = 0,
    FAULT_ERROR, /* errno is set */
    FAULT_SHORT,
    FAULT_NAN
} fault_action;

/* Comes by `p`.  Any thread. */
fault_action fault_pass(fault_point p);
/* Forgets all, counts from 0 again, and takes a list as the environment would
 * give it.  ST_ARG.  While no other thread comes by. */
status fault_set(const char *list) MUST_USE;
/* How often the process has come by since then. */
unsigned long fault_passed(fault_point p);
const char *fault_name(fault_point p);
/* How this program gives up with all that it is a part of: `fn` does not come
 * back.  Before any other thread comes by.  Until then: abort(). */
typedef void fault_abort_fn(void *ctx, int exit_status);
void fault_on_abort(fault_abort_fn *fn, void *ctx);

#define FAULT_POINT(id)         ((void)fault_pass(FAULT_##id))
#define FAULT_FAILS(id)         (fault_pass(FAULT_##id) == FAULT_ERROR)
#define FAULT_SPOILS(id)        (fault_pass(FAULT_##id) == FAULT_NAN)
#define FAULT_CUT(id, len)      fault_cut(FAULT_##id, (len))
#define FAULT_ON_ABORT(fn, ctx) fault_on_abort((fn), (ctx))
/* A length, or less of it; 0: the call fails, errno is set. */
size_t fault_cut(fault_point p, size_t len);

#else

#define FAULT_POINT(id)         ((void)0)
#define FAULT_FAILS(id)         false
#define FAULT_SPOILS(id)        false
#define FAULT_CUT(id, len)      (len)
#define FAULT_ON_ABORT(fn, ctx) ((void)(fn), (void)(ctx))

#endif

#endif
