/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the store share; private to daemon/store*.c. */
#ifndef DAEMON_STORE_IMPL_H
#define DAEMON_STORE_IMPL_H

#include "daemon/sql.h"
#include "daemon/store.h"

/* The columns of rows, in the order in which they are written and read, and
 * what the row's own checksum is made of: all that is in it. */
#define STORE_JOB_COLUMNS                                                      \
    "id, kind, state, owner, key, document, document_id, created_ms, "         \
    "ended_ms, input, bytes, hash, max_tokens, temperature, top_k, top_p, "    \
    "seed, ignore_eos, tokens, pending, first_segment, snapshot_bytes, "       \
    "segments_done, segments_total, redone, attempt, strikes, fingerprint, "   \
    "device, code, text, finish, min_p, penalty, logprobs"
#define STORE_JOB_CRC   "row_crc(" STORE_JOB_COLUMNS ", ended_age, stops, answer)"
#define STORE_TOKEN_CRC "row_crc(job, place, id, logprob)"
#define STORE_DOCUMENT_COLUMNS                                                 \
    "id, name, fingerprint, tokens, segments, snapshot_bytes, pending, "       \
    "created_ms, owner, norms, template, hash, ids_hash"
#define STORE_DOCUMENT_CRC "row_crc(" STORE_DOCUMENT_COLUMNS ")"

#define STORE_CHECKPOINT_CRC                                                   \
    "row_crc(job, segment, bytes, attempt, n_layer, hash, crcs)"
/* How long the daemon has been running in all its life, in seconds. */
#define STORE_RUNNING_TIME                                                     \
    "(SELECT coalesce((SELECT value FROM number WHERE name = 'age'), 0))"

/* All that store_row_read() looks at. */
#define STORE_ROW STORE_JOB_COLUMNS ", crc = " STORE_JOB_CRC

enum {
    STORE_N_JOB_COLUMN = 35,         /* of STORE_JOB_COLUMNS */
    STORE_WHOLE = STORE_N_JOB_COLUMN /* of STORE_ROW: its checksum is right */
};

struct store {
    sql *db;
};

/* ---- store_row.c ---- */
/* Into parameters 1 to STORE_N_JOB_COLUMN. */
void store_row_put(sql_query *q, const store_job *j);
/* `q` stands on a row of STORE_ROW, here and below. */
void store_row_read(const sql_query *q, store_job *j);
/* As one that is damaged. */
void store_row_spoil(const sql_query *q, store_job *j);

#endif
