/* SPDX-License-Identifier: Apache-2.0 */
/* An engine on one rank with jobs on it, for tests: everything that comes out
 * is kept.  Failures fail the running test. */
#ifndef TESTS_WORKER_RIG_H
#define TESTS_WORKER_RIG_H

#include "worker/engine.h"

typedef struct rig_config {
    const char *dir; /* of a model, or NULL: random weights of `shape` */
    const model_config *shape;
    const char *device;
    uint32_t n_thread;
    wavefront_order order;
    uint32_t n_stream, n_slot, kv_cap, max_cell;
    place place; /* size 0: the only rank; rig_run() needs that */
} rig_config;

typedef struct rig_job {
    /* in */
    const int32_t *ids;
    uint64_t n_id;
    uint32_t n_generate; /* 0: all is scored */
    bool want_logits;    /* of a scored input */
    uint64_t first_seg;  /* segments that `states` were written from */
    const float *states; /* [n_layer, state size], NULL: fresh */
    int32_t priority;
    uint64_t start_group;             /* opened when so many groups have run */
    const kernel_sample_args *sample; /* [n_generate], NULL: greedy */

    /* out */
    float *logits;                      /* [n_id, n_vocab] */
    float *first_states, *final_states; /* after one segment, after all */
    int32_t *gen_ids;                   /* [n_generate] */
    float *gen_logits;                  /* [n_generate, n_vocab] */

    /* the rig's */
    uint64_t n_segment, n_fed, n_done, n_row_seen;
    uint32_t n_gen, n_row;
    bool open, finished;
} rig_job;

typedef struct rig {
    kernel_device *dev;
    model_config cfg;
    engine *e;
    rig_job *job; /* stream i is job i */
    uint32_t n_job;
    engine_rows_fn *rows;
    void *rows_ctx;
} rig;

void rig_open(rig *r, const rig_config *cfg);
void rig_close(rig *r);
/* Runs all jobs (at most n_stream) together to their ends. */
void rig_run(rig *r, rig_job *jobs, uint32_t n_job);
void rig_job_free(rig_job *job);
size_t rig_states_len(const rig *r); /* numbers in the states of all layers */

/* A small model for tests: 3 layers of width 32, segments of 8. */
model_config rig_shape(void);

#endif
