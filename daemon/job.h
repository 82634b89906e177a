/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs: what a client asked for, how far it is, who wants to hear of it.
 *
 * RECEIVING (input comes in and is tokenized) -> QUEUED -> RUNNING (on a
 * world, then being stored) -> DONE, FAILED or CANCELED.  The table keeps the
 * latest finished jobs so that a client can come back by id.  Plain values of
 * the core; loop thread. */
#ifndef DAEMON_JOB_H
#define DAEMON_JOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "daemon/answer.h"
#include "proto/client_message.h"
#include "proto/socket.h"

enum {
    JOB_MAX_WATCHER = 8,
    JOB_KEEP = 256,            /* finished jobs that are remembered */
    JOB_KEEP_BYTES = 16 << 20, /* and the memory of their answers */
    JOB_MAX_ATTEMPT = 2,
    JOB_MAX_OWNER = 64 /* bytes of a client's name */
};

typedef enum job_kind { JOB_ADD = 0, JOB_ASK } job_kind;
const char *job_kind_name(job_kind kind);

/* Whoever wants a job's events: a client's request. */
typedef struct job_watcher {
    zsocket_peer client;
    uint64_t request;
} job_watcher;

typedef struct job {
    uint64_t id;
    job_kind kind;
    client_state state;
    char owner[JOB_MAX_OWNER + 1]; /* who submitted it */
    char document[CLIENT_MAX_NAME + 1];
    uint64_t document_id; /* add: the job's own id */
    int64_t created_ms;

    /* input: bytes announced, come in, tokenized, and allowed to come */
    client_input input;
    uint64_t bytes, received, consumed, credit;
    uint64_t heard_ns;  /* when input last came in or was tokenized */
    job_watcher sender; /* who sends the input */

    /* what is read: the document's pending tokens (ask), then the input */
    uint64_t tokens;
    uint64_t pending;
    uint64_t first_segment;   /* segments that are in the snapshot already */
    uint64_t n_write;         /* segments to read and write */
    uint64_t snapshot_bytes;  /* ask: of the document; add: of what came */
    client_sampling sampling; /* without the stop strings */
    answer *answer;           /* ask */

    /* the current attempt */
    uint32_t attempt;
    uint64_t incarnation; /* of the world that runs it */
    uint64_t allowed;     /* segments that may have been sent */
    uint64_t segments_done;
    uint64_t snapshot_at; /* bytes of the snapshot that came */
    bool snapshot_done, world_done, storing;

    uint64_t accepted_ns, begun_ns, first_token_ns, ended_ns, told_ns;
    bool changed; /* something to tell since the last Progress */
    status st;    /* of a failed job */
    char text[512];
    char finish[16];

    job_watcher watcher[JOB_MAX_WATCHER];
    size_t n_watcher;
} job;

bool job_is_active(const job *j);
/* Segments that are sent to a world: n_write, and the prompt of an ask. */
uint64_t job_feed_segments(const job *j);
/* ST_LIMIT: too many watch it. */
status job_watch(job *j, const zsocket_peer *client, uint64_t request) MUST_USE;
void job_unwatch(job *j, const zsocket_peer *client);
double job_tokens_per_second(const job *j, uint64_t now_ns, uint32_t segment);

typedef struct job_table job_table;

/* Numbers start at `next`. */
status job_table_new(job_table **out, uint64_t next) MUST_USE;
void job_table_free(job_table *t);
size_t job_table_count(const job_table *t);
job *job_table_at(const job_table *t, size_t i);      /* in the order of ids */
job *job_table_find(const job_table *t, uint64_t id); /* NULL: none */
/* A zeroed job with the next number. */
status job_table_add(job_table *t, job **out) MUST_USE;
/* Puts back a job of an earlier run; ids rise. */
status job_table_restore(job_table *t, const job *j) MUST_USE;
/* Takes back the job added last. */
void job_table_undo(job_table *t, job *j);
size_t job_table_active(const job_table *t);
/* Forgets the oldest finished jobs beyond the limits. */
void job_table_trim(job_table *t);

bool job_same_peer(const zsocket_peer *a, const zsocket_peer *b);

#endif
