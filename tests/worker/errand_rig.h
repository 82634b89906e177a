/* SPDX-License-Identifier: Apache-2.0 */
/* A world of one rank with an errand, and the daemon played beside it. */
#ifndef TESTS_WORKER_ERRAND_RIG_H
#define TESTS_WORKER_ERRAND_RIG_H

#include "base/hash.h"
#include "tests/worker/world_case.h"
#include "worker/errand.h"

enum {
    ERRAND_RIG_JOB = 11,
    ERRAND_RIG_ATTEMPT = 2,
    ERRAND_RIG_CREDIT = 8,
    ERRAND_RIG_MAX_TURN = 5000
};

typedef struct errand_rig {
    world_case *t;
    const world_case_job *j;
    comm *c;
    world_case_rank rank;
    world *w;
    errand *e;
    errand_shape shape;
    uint32_t n_sent; /* every third send is put off */

    /* what the daemon has heard */
    uint64_t credit, done;
    int32_t token[WORLD_CASE_MAX_DRAW];
    uint32_t n_token;
    uint8_t *snapshot;
    size_t snapshot_len, snapshot_bytes;
    uint8_t snapshot_hash[HASH_BYTES];
    uint8_t *states;     /* of the checkpoint that comes, NULL: none wanted */
    uint64_t checkpoint; /* segments that it has, once it is whole */
    uint32_t n_checkpoint;
    bool over;
    char finish[16], code[16], text[256];
} errand_rig;

typedef enum errand_rig_kind {
    ERRAND_RIG_PLAIN = 0,
    ERRAND_RIG_ROLLOVER, /* with a window, over a segment's end */
    ERRAND_RIG_TOKENS,
    ERRAND_RIG_CACHE,
    ERRAND_RIG_COUNT
} errand_rig_kind;

void errand_rig_open_kind(errand_rig *r, errand_rig_kind k);
void errand_rig_open(errand_rig *r);
void errand_rig_close(errand_rig *r);
/* What the daemon heard of an earlier job is forgotten. */
void errand_rig_forget(errand_rig *r);
void errand_rig_turn(errand_rig *r);
void errand_rig_finish(errand_rig *r);
world_message errand_rig_message(world_kind kind);
/* The job from its snapshot on, as the daemon begins it. */
world_message errand_rig_begin(const errand_rig *r, bool answer);
/* The snapshot of the states after n segments; mem_free(). */
uint8_t *errand_rig_sealed(const errand_rig *r, const uint8_t *states,
                           uint64_t n_segment);
uint8_t *errand_rig_snapshot(const errand_rig *r);
void errand_rig_send_snapshot(errand_rig *r, const uint8_t *data);
void errand_rig_send_segment(errand_rig *r, uint64_t i);
/* Segments first .. n - 1, as credit allows, until a checkpoint is there. */
void errand_rig_send_some(errand_rig *r, uint64_t first, uint64_t n);
void errand_rig_send_all(errand_rig *r, bool answer);
void errand_rig_start(errand_rig *r, const world_message *begin);

#endif
