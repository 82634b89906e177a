/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs: what a client asked for, how far it is, who wants to hear of it.
 *
 * RECEIVING (input comes in; a job that ends here was never acknowledged) ->
 * QUEUED (durable; tokenized when its turn comes near) -> RUNNING (on a world,
 * then being stored) -> DONE, FAILED or CANCELED, once that is durable.  Plain
 * values of the core, which job_table.h keeps; loop thread. */
#ifndef DAEMON_JOB_H
#define DAEMON_JOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "base/table.h"
#include "daemon/answer.h"
#include "daemon/catalog.h"
#include "proto/client_message.h"
#include "proto/socket.h"

enum {
    JOB_MAX_WATCHER = 8,
    JOB_MAX_STRIKE = 3, /* worlds that a job may end */
    JOB_MAX_CHECKPOINT = 2,
    JOB_MAX_OWNER = CATALOG_MAX_OWNER /* bytes of a client's name */
};

typedef enum job_kind { JOB_ADD = 0, JOB_ASK } job_kind;
const char *job_kind_name(job_kind kind);

/* Whoever wants something: a client's request. */
typedef struct job_watcher {
    zsocket_peer client;
    uint64_t request;
    char owner[JOB_MAX_OWNER + 1]; /* who he is, of a request; else "" */
    bool admin;                    /* he sees what everybody owns */
} job_watcher;

/* The table's: one who watches a job. */
typedef struct job_seat {
    job_watcher who;
    table_link by_client;
    struct job *job;
} job_seat;

/* The table's: where a job is to be found. */
typedef struct job_links {
    table_link key, name, sender;
    bool by_key, by_name, by_sender, queued;
    size_t answer_bytes; /* once it has ended */
} job_links;

typedef enum job_stage {
    JOB_RAW = 0,   /* its input is in the journal alone */
    JOB_PREPARING, /* being tokenized */
    JOB_READY      /* its ids are at hand */
} job_stage;

/* A durable state of a document that is being read. */
typedef struct job_checkpoint {
    uint64_t segment, bytes;
    uint32_t attempt;          /* that wrote it: another's is another file */
    uint8_t hash[CLIENT_HASH]; /* of the file */
} job_checkpoint;

typedef struct job {
    uint64_t id;
    job_kind kind;
    client_state state;
    char owner[JOB_MAX_OWNER + 1]; /* who submitted it */
    char document[CLIENT_MAX_NAME + 1];
    uint64_t document_id; /* add: the job's own id */
    int64_t created_ms, ended_ms;

    /* input: bytes announced, come in, taken in, and allowed to come */
    client_input input;
    uint64_t bytes, received, written, credit;
    uint64_t heard_ns;  /* when input last came in */
    job_watcher sender; /* who sends the input */
    char key[CLIENT_MAX_KEY + 1];
    bool has_hash; /* of the input, as its client says */
    uint8_t hash[CLIENT_HASH];
    bool looking;   /* for a job with the same key */
    bool holds;     /* ask: its document stays because of it */
    bool submitted; /* on its way into the journal */
    job_stage stage;

    /* what is read: the document's pending tokens (ask), then the input */
    uint64_t tokens;
    uint64_t pending;
    uint64_t first_segment;   /* segments that are in the snapshot already */
    uint64_t n_write;         /* segments to read and write */
    uint64_t snapshot_bytes;  /* ask: of the document; add: of what came */
    client_sampling sampling; /* without the stop strings */
    char *stops;              /* these, each with its NUL */
    size_t stops_len;
    answer *answer;  /* ask */
    uint64_t kept;   /* tokens of it that are durable */
    uint64_t told;   /* tokens that its watchers have heard */
    bool tokens_out; /* some are on their way into the journal */
    bool is_row;     /* of an earlier run: its answer is in the journal */
    bool damaged;    /* its row is: it has failed */

    /* across attempts */
    uint32_t attempt;
    bool recomputed;  /* once, after numbers that were not finite */
    uint32_t strikes; /* worlds that ended while it ran, without progress */
    uint64_t redone;  /* segments read more than once */
    job_checkpoint checkpoint[JOB_MAX_CHECKPOINT]; /* ascending */
    size_t n_checkpoint;
    uint8_t fingerprint[32]; /* of the model that reads; zeros: none yet */
    char device[96];         /* that it runs or ran on */

    /* the current attempt */
    uint64_t base;          /* segments that its checkpoint has */
    uint64_t checkpoint_at; /* those of the latest one whose parts came */
    uint64_t incarnation;   /* of the world that runs it */
    uint64_t allowed;       /* segments that may have been sent */
    uint64_t segments_done;
    uint64_t snapshot_at; /* bytes of the snapshot that came */
    bool snapshot_done, world_done, storing;

    /* the end: what it will be, once it is durable */
    bool ending, end_out;
    uint64_t again_ns; /* the journal did not take something: not before */
    client_state end_state;
    bool has_canceler;
    job_watcher canceler;

    uint64_t accepted_ns, begun_ns, first_token_ns, ended_ns, told_ns;
    bool changed; /* something to tell since the last Progress */
    bool waits;   /* for its model, in this run; `text` says why */
    status st;    /* of a failed job */
    char text[512];
    char finish[16];

    job_seat seat[JOB_MAX_WATCHER]; /* who watches it */
    size_t n_seat;
    job_links in;
} job;

/* Not ended, or not yet durably so. */
bool job_is_active(const job *j);
/* It can still be failed or canceled. */
bool job_is_open(const job *j);
bool job_has_model(const job *j);
/* Segments that are sent to a world: n_write, and the prompt of an ask. */
uint64_t job_feed_segments(const job *j);
/* What people are told: segments of the whole input, 0: not known yet; and
 * those that are through.  The last one, which stays pending or is the prompt,
 * is through when the job is. */
uint64_t job_segments(const job *j);
uint64_t job_segments_through(const job *j);
double job_tokens_per_second(const job *j, uint64_t now_ns, uint32_t segment);

bool job_same_peer(const zsocket_peer *a, const zsocket_peer *b);

#endif
