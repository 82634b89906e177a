/* SPDX-License-Identifier: Apache-2.0 */
/* An engine on one rank with jobs on it, for tests: everything that comes out
 * is kept.  Failures fail the running test. */
#ifndef TESTS_WORKER_RIG_H
#define TESTS_WORKER_RIG_H

#include "sched/segment.h"
#include "worker/decode.h"

/* Fills a model's weights. */
typedef status rig_fill(weights *w, const void *ctx);

typedef struct rig_config {
    const model_config *shape;
    rig_fill *fill; /* NULL: random weights */
    const void *fill_ctx;
    const char *device;
    const char *compute; /* as kernel_config has it */
    uint32_t n_thread;
    wavefront_order order;
    uint32_t n_stream, n_slot, kv_cap, max_cell;
    uint64_t max_token;
    config_align align; /* instead of the model's */
    place place;        /* size 0: the only rank; rig_run() needs that */
} rig_config;

typedef struct rig_job {
    /* in */
    const int32_t *ids;
    uint64_t n_id;
    uint32_t n_generate;   /* 0: all is scored */
    bool want_logits;      /* of a scored input */
    uint64_t first_seg;    /* segments that `states` were written from */
    memory_past past;      /* what these were */
    const uint8_t *states; /* of all layers, NULL: fresh */
    int32_t priority;
    uint64_t start_group;             /* opened when so many groups have run */
    const kernel_sample_args *sample; /* [n_generate], NULL: greedy */

    /* out */
    float *logits;                        /* [n_id, n_vocab] */
    uint8_t *first_states, *final_states; /* after one segment, after all */
    int32_t *gen_ids;                     /* [n_generate] */
    float *gen_logits;                    /* [n_generate, n_vocab] */

    /* the rig's */
    segment_cut cut;
    uint64_t n_fed, n_done, n_row_seen;
    memory_past first_past, final_past; /* of first_states, final_states */
    decode decode;
    uint32_t n_gen, n_added;
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
/* Launches and collects until nothing is left to do. */
void rig_run_all(engine *e);
/* Bytes of the states of all layers. */
size_t rig_states_bytes(const rig *r, const memory_past *past);
/* What was read before segment `seg` of an input that begins with `past`. */
memory_past rig_past(const segment_cut *cut, const memory_past *past,
                     uint64_t seg);

/* A small model for tests: 3 layers of width 32, segments of 8. */
model_config rig_shape(void);

/* The same with every memory, block and option that changes how rows or states
 * are laid out. */
enum { RIG_N_VARIANT = 18 };
model_config rig_variant(uint32_t i);

#endif
