/* SPDX-License-Identifier: Apache-2.0 */
/* The journal on disk: jobs with their inputs and results, documents and
 * checkpoints.  One SQLite connection, WAL, full synchronisation.
 *
 * Changes happen inside store_begin() .. store_commit(), any number at once;
 * what was committed survives a power cut.  A change that fails leaves the
 * others of its transaction as they are.  The owner of SQLite.  One thread at
 * a time; everything blocks. */
#ifndef DAEMON_STORE_H
#define DAEMON_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "daemon/catalog.h"
#include "daemon/job.h"

typedef struct store store;

/* Creates the file if it is not there.  ST_UNSUPPORTED: written by a newer
 * version; ST_IO. */
status store_open(store **out, const char *path) MUST_USE;
void store_close(store *s);

status store_begin(store *s) MUST_USE;
/* A failure has undone all changes since store_begin(). */
status store_commit(store *s) MUST_USE;

/* ---- jobs ---- */

/* A job's row.  Each row has a checksum; one that does not have what was
 * written, or whose answer does not, is read as a job that FAILED, with an
 * owner, a key and a document as far as they are texts.  In the journal it
 * stays. */
typedef struct store_job {
    uint64_t id;
    job_kind kind;
    client_state state;
    char owner[JOB_MAX_OWNER + 1], key[CLIENT_MAX_KEY + 1];
    char document[CLIENT_MAX_NAME + 1];
    uint64_t document_id;
    int64_t created_ms, ended_ms;
    client_input input;
    uint64_t bytes;
    uint8_t hash[CLIENT_HASH]; /* of the input */
    client_sampling sampling;  /* without the stop strings */
    uint64_t tokens, pending, first_segment, snapshot_bytes;
    uint64_t segments_done, segments_total, redone;
    uint32_t attempt, strikes;
    uint8_t fingerprint[32]; /* of the model that reads; zeros: none yet */
    char device[96];
    status st;
    char text[512];
    char finish[16];
    bool damaged;
} store_job;

/* A row and what is kept beside it. */
typedef struct store_record {
    store_job row;
    char *stops; /* strings one after the other, each with its NUL */
    size_t stops_len;
    int32_t *ids;    /* of the answer */
    float *logprobs; /* one an id, 0 where nobody asked; NULL: likewise */
    size_t n_id;
    char *text; /* of the answer, once it is complete */
    size_t text_len;
} store_record;
void store_record_fini(store_record *r); /* zeroed is fine */

/* A new job.  `input` NULL: it is in a file. */
status store_insert_job(store *s, const store_job *j, const char *stops,
                        size_t stops_len, const void *input,
                        size_t len) MUST_USE;
/* What changes while it runs.  ST_NOTFOUND, here and at its end: there is no
 * such row, or it is damaged. */
status store_update_job(store *s, const store_job *j) MUST_USE;
/* It has ended: row and text of the answer; input and checkpoints go. */
status store_end_job(store *s, const store_job *j, const char *text,
                     size_t len) MUST_USE;
/* Tokens first .. first + n - 1 of its answer, of a record its ids and
 * logprobs. */
status store_add_tokens(store *s, uint64_t job, uint64_t first,
                        const store_record *tokens) MUST_USE;
/* *out: mem_free(); NULL: it is in a file. */
status store_read_input(store *s, uint64_t job, uint8_t hash[CLIENT_HASH],
                        uint8_t **out, size_t *len) MUST_USE;
/* The document, and with it the end of the job that read it. */
status store_end_document(store *s, const document *doc,
                          const store_job *j) MUST_USE;
/* Row and stop strings; ST_NOTFOUND. */
status store_find_key(store *s, store_record *out, const char *owner,
                      const char *key) MUST_USE;
status store_get_job(store *s, store_record *out, uint64_t id) MUST_USE;

/* Calls `fn` for each row, in the order of ids; a failure of it ends the walk
 * and is returned. */
typedef status store_record_fn(void *ctx, const store_record *r);
typedef status store_job_fn(void *ctx, const store_job *j);
status store_each_unfinished(store *s, store_record_fn *fn, void *ctx) MUST_USE;
/* The latest `max`. */
status store_each_finished(store *s, uint32_t max, store_job_fn *fn,
                           void *ctx) MUST_USE;
/* Remembers that the row of a job is damaged; *first: that was not known. */
status store_note_damaged(store *s, uint64_t job, bool *first) MUST_USE;
/* Forgets jobs that ended, or were found to be damaged, more than `keep_s`
 * seconds of running time ago, some at once. */
status store_forget_jobs(store *s, uint64_t keep_s) MUST_USE;
/* The first number that no job or document has had. */
status store_next_job(store *s, uint64_t *out) MUST_USE;

/* ---- documents ---- */
status store_add_document(store *s, const document *doc) MUST_USE;
/* Both hashes, of a document that is there already; nothing where its row is
 * gone or damaged. */
status store_note_hashes(store *s, const document *doc) MUST_USE;
status store_remove_document(store *s, uint64_t id) MUST_USE;
typedef status store_document_fn(void *ctx, const document *doc);
/* One whose row is damaged is so itself. */
status store_each_document(store *s, store_document_fn *fn, void *ctx) MUST_USE;

/* ---- checkpoints: states of a job after `segment` segments, in a file ----
 *
 * Of two attempts that got to one segment the later one's row takes the place
 * of the other's; to drop one that is not there any more does nothing. */
typedef struct store_checkpoint {
    uint64_t job, segment, bytes;
    uint32_t attempt, n_layer;
    uint8_t hash[32];     /* of the file */
    const uint32_t *crcs; /* [n_layer] of the shards; NULL when read back */
} store_checkpoint;
status store_add_checkpoint(store *s, const store_checkpoint *c) MUST_USE;
status store_drop_checkpoint(store *s, uint64_t job, uint64_t segment,
                             uint32_t attempt) MUST_USE;
/* Of one whose row is damaged nothing is believed: it is none.  *n: how many
 * there were. */
status store_drop_damaged_checkpoints(store *s, size_t *n) MUST_USE;
typedef status store_checkpoint_fn(void *ctx, const store_checkpoint *c);
status store_each_checkpoint(store *s, store_checkpoint_fn *fn,
                             void *ctx) MUST_USE;

/* ---- the daemon itself ---- */

/* Numbers by name; 0 when never set. */
status store_number(store *s, uint64_t *out, const char *name) MUST_USE;
status store_set_number(store *s, const char *name, uint64_t value) MUST_USE;
/* Something that went wrong, for people: the latest thousand are kept. */
status store_add_incident(store *s, int64_t wall_ms, uint64_t job,
                          const char *text) MUST_USE;
/* The latest one; "" when there is none. */
status store_last_incident(store *s, char *out, size_t size) MUST_USE;

#endif
