/* SPDX-License-Identifier: Apache-2.0 */
/* Inside errand: what its files share.  Not for anybody else.
 *
 *   errand.c      what comes from the daemon, checked; how a job ends
 *   errand_run.c  what goes to the world, and what is told the daemon */
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
    uint64_t n_received; /* in all, with the prompt */

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
    const char *finish; /* NULL: more tokens are wanted */

    bool dropped; /* nobody waits for the result */
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
/* Opens the stream, from a checked snapshot if there is one. */
void errand_open(errand *e);

#endif
