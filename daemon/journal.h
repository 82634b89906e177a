/* SPDX-License-Identifier: Apache-2.0 */
/* The journal's thread: what waits together is committed together.
 *
 * Requests are carried out in order; each that somebody waits for comes back
 * as a report, and what it says is durable then.  The functions are the loop
 * thread's and never block; one that fails (ST_NOMEM) has asked for nothing,
 * and what it would take stays the caller's. */
#ifndef DAEMON_JOURNAL_H
#define DAEMON_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "daemon/job.h"
#include "daemon/store.h"

typedef struct journal journal;

typedef enum journal_kind {
    JOURNAL_SUBMITTED = 0, /* of job `id` */
    JOURNAL_RECORDED,
    JOURNAL_TOKENS, /* up to `number` */
    JOURNAL_ENDED,
    JOURNAL_STORED,     /* document `id`, and with it the job's end */
    JOURNAL_REMOVED,    /* document `id` */
    JOURNAL_CHECKPOINT, /* of job `id` after `number` segments */
    JOURNAL_DROPPED,
    JOURNAL_INPUT,   /* [data, len; record: the hash]; data NULL: in a file */
    JOURNAL_FOUND,   /* [record: the row and its stop strings] */
    JOURNAL_FETCHED, /* [record, watcher] */
    JOURNAL_NOTE
} journal_kind;

typedef struct journal_report {
    journal_kind kind;
    uint64_t id, number;
    uint32_t attempt;
    const store_checkpoint *checkpoint; /* CHECKPOINT */
    job_watcher watcher;
    uint8_t **data; /* may be taken */
    size_t len;
    const store_record *record;
    status st;
    const char *text;
} journal_report;
typedef void journal_report_fn(void *ctx, const journal_report *r);

/* Borrows the store, which only this thread uses from now on. */
status journal_new(journal **out, store *s) MUST_USE;
void journal_on_report(journal *j, journal_report_fn *fn, void *ctx);
void journal_free(journal *j); /* does and reports what is left */
int journal_fd(const journal *j);
void journal_collect(journal *j);

/* The row of a job as it is now. */
void journal_row(store_job *out, const job *j);

/* A new job; takes *input (NULL: it is in a file). */
status journal_submit(journal *j, const job *of, const uint8_t hash[32],
                      uint8_t **input, size_t len) MUST_USE;
/* A change that nobody waits for: it is committed with the next that somebody
 * does, and none after it is durable before; or at journal_flush(). */
status journal_record(journal *j, const job *of) MUST_USE;
void journal_flush(journal *j);
status journal_tokens(journal *j, const job *of) MUST_USE;
status journal_end(journal *j, const job *of) MUST_USE;
status journal_store(journal *j, const document *doc, const job *of) MUST_USE;
/* Of a document that is there already; nobody waits, as with a record. */
status journal_hashes(journal *j, const document *doc) MUST_USE;
status journal_remove(journal *j, uint64_t document) MUST_USE;
/* Takes *crcs. */
status journal_checkpoint(journal *j, const store_checkpoint *k,
                          uint32_t **crcs) MUST_USE;
status journal_drop(journal *j, uint64_t job, const job_checkpoint *k) MUST_USE;
status journal_input(journal *j, uint64_t job) MUST_USE;
status journal_find(journal *j, const job *of) MUST_USE;
status journal_fetch(journal *j, uint64_t job, const job_watcher *to) MUST_USE;
status journal_incident(journal *j, int64_t wall_ms, uint64_t job,
                        const char *text) MUST_USE;
/* So many seconds has the daemon been running in all its life; jobs that ended
 * more than `keep_s` before are forgotten. */
status journal_age(journal *j, uint64_t age_s, uint64_t keep_s) MUST_USE;

#endif
