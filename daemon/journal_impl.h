/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the journal share; private to daemon/journal*.c.
 *
 * One kind of task for each kind of change.  Its run_...() is called on the
 * journal's thread and has the store and its work alone; the rest is the
 * loop's side. */
#ifndef DAEMON_JOURNAL_IMPL_H
#define DAEMON_JOURNAL_IMPL_H

#include "daemon/helper.h"
#include "daemon/journal.h"

struct journal {
    helper *thread;
    store *s;
    journal_report_fn *fn;
    void *ctx;
};

/* A task, and what it works on. */
typedef struct journal_work {
    helper_task task; /* first: a task is its work */
    journal *owner;
    journal_report report;
    store_record record; /* row, and what goes in or comes out beside it */
    uint64_t first;      /* of the record's ids */
    uint8_t *data;
    size_t len;
    document doc;
    store_checkpoint checkpoint;
    uint32_t *crcs;
    int64_t wall_ms;
    uint64_t keep_s;
} journal_work;

status journal_work_new(journal_work **out, journal *j, journal_kind kind,
                        uint64_t id) MUST_USE;
/* `run` is for the journal's thread; the work is the caller's no more. */
void journal_work_push(journal_work *w, status (*run)(helper_task *));
void journal_work_free(journal_work *w); /* it was not pushed */

#endif
