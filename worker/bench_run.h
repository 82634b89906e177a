/* SPDX-License-Identifier: Apache-2.0 */
/* One synthetic model under one schedule: timed runs over the same ids. */
#ifndef WORKER_BENCH_RUN_H
#define WORKER_BENCH_RUN_H

#include "model/weights.h"
#include "worker/engine.h"

/* BENCH_RUN_MAX_RMS: the root of the mean square of all numbers of the states;
 * what weights_randomize() makes stays far below it at any length. */
enum {
    BENCH_RUN_MAX_REPEAT = 100,
    BENCH_RUN_MAX_RMS = 1000,
    BENCH_RUN_MAX_RAN = 32
};

typedef struct bench_run_args {
    kernel_device *dev;
    const model_config *cfg;
    wavefront_order order;
    const int32_t *ids;
    uint64_t n_id;
    uint32_t n_repeat; /* timed runs, after one that is not */
    weights_want want;
    uint64_t seed;    /* of the weights */
    bool want_logits; /* of every token, for the engine's sink */
    bool all_rows;    /* also those of the last layer that a reading does not
                         need */
} bench_run_args;

/* Where a run has come: of one stream, the segment that was fed last. */
typedef struct bench_run_end {
    uint32_t stream;
    memory_past past; /* of its states */
    uint64_t local_seg;
    uint32_t n_row; /* of that segment */
} bench_run_end;

/* What a run left.  Norms are those of all numbers: of a kind of tensor of the
 * states ("W_mem", "z") over all layers, of all the states, and of the rows of
 * the last segment behind the last layer. */
typedef struct bench_run_left {
    float *states; /* of all layers, in F32 whatever they are kept in;
                      mem_free() */
    size_t states_bytes;
    double states_norm, rows_norm;
    const char *norm_name[MEMORY_MAX_TENSOR];
    double norm[MEMORY_MAX_TENSOR];
    uint32_t n_norm;
} bench_run_left;

typedef struct bench_run_result {
    double seconds;   /* median of the repeats */
    double warm;      /* seconds of the run before them, capture included */
    uint64_t n_group; /* of one run */
    double flops;     /* useful ones of one run, config_cell_flops() */
    bench_run_left left;
    size_t bytes; /* of device memory beside the weights, as counted */
    size_t taken; /* the same, as the device tells: all that is there when
                     the runs are over, less the weights; 0 on a CPU */
    const char *ran[BENCH_RUN_MAX_RAN]; /* kernel_ran() of the last group */
    uint32_t n_ran;
} bench_run_result;

/* The clock runs from ids in host memory until the last state is written; no
 * head.  ST_STATE: a run that leaves a tensor of a layer's state, or rows, that
 * are not finite or all zero is no result, nor one whose states are above
 * BENCH_RUN_MAX_RMS. */
status bench_run(bench_run_result *out, const bench_run_args *args) MUST_USE;

/* For what else is done with such a model (bench_decode.h, bench_check.h): an
 * engine with random weights; one run over the ids, after which stream 0 is
 * open; where it has come; what a run left, checked as above (blocks; no group
 * running); a median, which sorts x[n]. */
status bench_run_engine(engine **out, const bench_run_args *a,
                        const engine_config *cfg) MUST_USE;
status bench_run_once(engine *e, const bench_run_args *a,
                      double *seconds) MUST_USE;
bench_run_end bench_run_end_of(const engine *e, const bench_run_args *a);
status bench_run_look(engine *e, const bench_run_args *a,
                      const bench_run_end *end, bench_run_left *out) MUST_USE;
double bench_run_median(double *x, uint32_t n);

#endif
