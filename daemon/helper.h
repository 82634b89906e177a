/* SPDX-License-Identifier: Apache-2.0 */
/* A thread that does, in order, what the loop's thread must not wait for.
 *
 * A task is embedded in what it works on.  `run` is called on the helper's
 * thread, then `done` on the loop's thread, which gets to know through a
 * descriptor.  Between helper_push() and `done` the task belongs to the
 * helper. */
#ifndef DAEMON_HELPER_H
#define DAEMON_HELPER_H

#include "base/status.h"

typedef struct helper_task helper_task;
struct helper_task {
    /* A failure's sentence goes through status_fail() as everywhere. */
    status (*run)(helper_task *task);
    /* `text` is the sentence of the failure; "" of none. */
    void (*done)(helper_task *task, status st, const char *text);
    helper_task *next;
    status st;
    char *text; /* of a failure; NULL when there was no memory for it */
};

typedef struct helper helper;

status helper_new(helper **out) MUST_USE;

/* Called on the helper's thread around the tasks that wait together, when
 * they share something dear.  A failure of either is that of every task
 * between. */
typedef struct helper_frame {
    status (*begin)(void *ctx);
    status (*end)(void *ctx);
    void *ctx;
} helper_frame;
status helper_new_framed(helper **out, const helper_frame *frame) MUST_USE;
/* Finishes all tasks, ends the thread, calls their `done`, which may not push
 * any more. */
void helper_free(helper *h);
/* Readable when tasks are done. */
int helper_fd(const helper *h);
void helper_push(helper *h, helper_task *task);
/* It waits, in its place, until another is pushed that does not, or until it is
 * flushed. */
void helper_push_later(helper *h, helper_task *task);
void helper_flush(helper *h);
/* Calls `done` of a bounded number of finished tasks. */
void helper_collect(helper *h);

#endif
