/* SPDX-License-Identifier: Apache-2.0 */
/* One random configuration of a world and its jobs, from a number alone: all
 * ranks make the same one. */
#ifndef TESTS_WORKER_WORLD_CASE_H
#define TESTS_WORKER_WORLD_CASE_H

#include "worker/world.h"

enum {
    WORLD_CASE_MAX_JOB = 5,
    WORLD_CASE_MAX_DRAW = 5,
    WORLD_CASE_MAX_TOKEN = 300, /* of a job: 46 segments of 6, prompt, answer */
    WORLD_CASE_WIDE = 1 << 20   /* and above: up to 12 layers, 40 segments and 5
                                   jobs; below, about half of each */
};

typedef struct world_case_job {
    uint64_t first_seg, n_write;
    uint32_t n_tail;   /* tokens of the last written segment */
    uint32_t n_prompt; /* tokens, 0: no prompt */
    uint32_t n_draw;   /* tokens of the answer */
    int32_t priority;
    float temperature, penalty;
    bool want_logits, want_snapshot;
    uint32_t cancel_turn; /* UINT32_MAX: never */
    int32_t *ids;         /* [first_seg + n_write + 1, S] */

    /* What one rank alone makes of it. */
    float *logits;      /* [tokens of the written segments, V] */
    float *last_logits; /* [n_draw, V] each token was drawn from */
    int32_t token[WORLD_CASE_MAX_DRAW];
    uint8_t *before,
        *after; /* states after first_seg, and after n_write more */
} world_case_job;

typedef struct world_case {
    uint64_t number;
    model_config model;
    uint64_t weight_seed;
    place place;
    uint32_t ends[8]; /* of the place, where layers are divided unevenly */
    wavefront_order order;
    const char *device;
    uint32_t n_stream, n_slot, n_thread; /* of a rank */
    uint32_t max_each;                   /* of place_group() */
    uint32_t n_job;
    world_case_job job[WORLD_CASE_MAX_JOB];
} world_case;

/* Numbers of a small generator (SplitMix64), below n. */
typedef struct world_case_random {
    uint64_t state;
} world_case_random;
uint32_t world_case_draw(world_case_random *r, uint32_t n);

status world_case_new(world_case **out, uint64_t number, uint32_t rank,
                      uint32_t size) MUST_USE;
void world_case_free(world_case *t);
/* One line that names it. */
void world_case_print(const world_case *t);

/* A rank's engine: place, order and device of the case, or (alone) one rank,
 * one stream, sequential, on the plain CPU. */
typedef struct world_case_rank {
    kernel_device *dev;
    engine *engine; /* NULL: the rank holds nothing */
} world_case_rank;
status world_case_open(world_case_rank *out, const world_case *t,
                       bool alone) MUST_USE;
void world_case_close(world_case_rank *r);

/* Fills in what one rank alone makes of every job. */
status world_case_solve(world_case *t) MUST_USE;

/* What was read before a segment of the job. */
memory_past world_case_past(const world_case *t, const world_case_job *j,
                            uint64_t seg);
/* Segments that the answer fills and has written. */
uint32_t world_case_rolled(const world_case *t, const world_case_job *j);

/* Token ids and number of tokens of the job's segment `seg`; written segments,
 * then the prompt. */
const int32_t *world_case_ids(const world_case *t, const world_case_job *j,
                              uint64_t seg, uint32_t *n);

#endif
