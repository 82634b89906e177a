/* SPDX-License-Identifier: Apache-2.0 */
/* Inside errand: what its files share.  Not for anybody else.
 *
 *   errand.c      what comes from the daemon, checked; how a job ends
 *   errand_run.c  what goes to the world, and what is told the daemon
 *   errand_checkpoint.c  states put away while a document is read */
#ifndef WORKER_ERRAND_IMPL_H
#define WORKER_ERRAND_IMPL_H

#include "base/hash.h"
#include "worker/decode.h"
#include "worker/errand.h"

typedef enum errand_state {
    ERRAND_IDLE = 0,
    ERRAND_RESTORE, /* the snapshot is coming */
    ERRAND_RUN,
    ERRAND_END /* decided; the stream closes, the result is told */
} errand_state;

/* Checkpoints of a document that is read.  One is under way at a time. */
typedef struct errand_checkpoints {
    uint32_t every; /* segments, 0: none */
    uint64_t every_ns;
    bool busy;      /* one is captured, and not yet durable */
    uint64_t taken; /* segments (of this errand) that it has, or the last one */
    uint64_t ns;    /* when it was captured */
    uint64_t durable; /* segments that the last durable one has */
    uint64_t durable_ns;
    uint8_t *states; /* of all layers, NULL before the first */
    size_t *place;   /* [n_layer + 1] of each layer's in these */
    uint32_t *crc;   /* [n_layer] */
    bool *here;      /* [n_layer] */
    uint32_t layer;  /* that is sent now, n_layer: all have been */
    uint64_t at;     /* bytes of it that are sent */
} errand_checkpoints;

struct errand {
    world *w;
    errand_shape shape;
    errand_send_fn *send;
    void *ctx;

    errand_state state;
    uint64_t job, start_ns;
    uint32_t attempt;
    uint64_t first_segment, n_segment; /* to be written */
    bool want_snapshot;
    world_generate generate; /* max_tokens 0: nothing */
    uint32_t stream;
    bool has_stream;

    /* Segments from the daemon that the world has no room for yet: a ring. */
    int32_t *ids;      /* [credit_segments, segment_size] */
    uint32_t *n_token; /* [credit_segments] */
    uint32_t first, n_queued;
    uint64_t n_received;   /* in all, with the prompt */
    uint64_t n_token_come; /* tokens of these */
    uint64_t n_token_most; /* of the whole job; 0: not said */

    uint8_t *restore; /* the snapshot on its way in */
    uint64_t restore_at;
    hash restore_hash;

    uint64_t n_fed, n_done;         /* written segments */
    uint64_t n_taken;               /* segments taken out of the ring */
    uint64_t told_done, told_taken; /* what the daemon knows */
    uint64_t n_token_fed, n_token_counted;

    bool snapshot_asked, snapshot_came;
    uint8_t *snapshot; /* the snapshot on its way out */
    uint64_t snapshot_at;
    uint8_t snapshot_hash[HASH_BYTES];

    decode decode;
    uint32_t n_added, n_drawn; /* tokens of the answer: going on, and come */
    uint32_t told_drawn;
    int32_t
        *forced; /* [n_forced] tokens that were told in an earlier attempt */
    uint32_t n_forced;
    int32_t drawn;      /* token n_drawn - 1 */
    float logprob;      /* of it, if it is asked for */
    const char *finish; /* NULL: more tokens are wanted */

    errand_checkpoints keep;
    bool draining; /* no segment is fed any more */
    bool dropped;  /* nobody waits for the result */
    status result;
    char text[512]; /* of a failure */
};

/* Decides the job: a failure, with status_text(). */
void errand_fail(errand *e, status st);
/* Decides the job. */
void errand_end(errand *e);
/* Bytes of a snapshot after n full segments. */
size_t errand_snapshot_bytes(const errand *e, uint64_t n);
/* The prompt is one more segment. */
uint64_t errand_n_input(const errand *e);
/* ---- errand_checkpoint.c ---- */
void errand_checkpoint_init(errand *e, const world_message *begin);
void errand_checkpoint_fini(errand *e);
/* Before a segment is fed: it is captured if it is time. */
status errand_checkpoint_before(errand *e) MUST_USE;
/* The last durable one is two intervals behind: nothing more is read. */
bool errand_checkpoint_late(const errand *e);
status errand_checkpoint_shard(errand *e, const world_event *ev) MUST_USE;
/* All states at once, of a document that is put away. */
status errand_checkpoint_whole(errand *e, const world_event *ev) MUST_USE;
/* Sends what is there. */
status errand_checkpoint_tell(errand *e) MUST_USE;
/* A draining errand: asks for its states, or ends. */
status errand_checkpoint_drain(errand *e, bool *busy) MUST_USE;

/* Sends a message of this job; *sent false: not now. */
status errand_tell(errand *e, world_message *m, const void *raw, size_t len,
                   bool *sent) MUST_USE;
/* Opens the stream, from a checked snapshot if there is one. */
void errand_open(errand *e);

#endif
