/* SPDX-License-Identifier: Apache-2.0 */
/* The index of documents and jobs on disk: one SQLite connection, WAL, full
 * synchronisation.  What returns ST_OK survives a power cut.
 *
 * The owner of SQLite.  One thread at a time; everything blocks. */
#ifndef DAEMON_STORE_H
#define DAEMON_STORE_H

#include <stdint.h>

#include "base/status.h"
#include "daemon/catalog.h"
#include "daemon/job.h"

typedef struct store store;

/* Creates the file if it is not there.  ST_UNSUPPORTED: written by a newer
 * version; ST_IO. */
status store_open(store **out, const char *path) MUST_USE;
void store_close(store *s);

/* Inserts a document and marks its job done, both or neither. */
status store_add_document(store *s, const document *doc) MUST_USE;
status store_remove_document(store *s, uint64_t id) MUST_USE;

typedef struct store_job {
    uint64_t id;
    job_kind kind;
    client_state state;
    char document[CLIENT_MAX_NAME + 1];
    int64_t created_ms;
    uint64_t tokens, segments_done, segments_total;
    status st;
    char text[512];
} store_job;
/* Inserts or replaces. */
status store_put_job(store *s, const store_job *j) MUST_USE;

/* Jobs that an earlier run left unfinished become failed, with `text`. */
status store_fail_unfinished(store *s, const char *text) MUST_USE;
/* Forgets all but about the latest `keep` numbers. */
status store_forget_jobs(store *s, uint32_t keep) MUST_USE;

/* Calls `fn` for each row, in the order of ids; a failure of it ends the walk
 * and is returned.  Jobs: the latest `max`. */
typedef status store_document_fn(void *ctx, const document *doc);
typedef status store_job_fn(void *ctx, const store_job *j);
status store_each_document(store *s, store_document_fn *fn, void *ctx) MUST_USE;
status store_each_job(store *s, uint32_t max, store_job_fn *fn,
                      void *ctx) MUST_USE;
/* The first number that no job or document has had. */
status store_next_job(store *s, uint64_t *out) MUST_USE;

#endif
