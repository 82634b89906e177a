/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of one synthetic model: steps of one token each, timed. */
#ifndef WORKER_BENCH_DECODE_H
#define WORKER_BENCH_DECODE_H

#include "worker/bench_run.h"

enum { BENCH_DECODE_PROMPT = 16, BENCH_DECODE_MAX_JOB = 64 };

typedef struct bench_decode_args {
    kernel_device *dev;
    const model_config *cfg;
    const int32_t *ids; /* n_id >= prompt: what is read, then a prompt */
    uint64_t n_id;
    uint32_t n_job;    /* that answer together */
    uint32_t n_token;  /* drawn by each in a timed run */
    uint32_t n_repeat; /* timed runs, after one that is not */
} bench_decode_args;

typedef struct bench_decode_result {
    double seconds; /* median of the runs, from the first token to the last */
    double warm;    /* seconds of the first run: prompts too, and capture */
    uint64_t n_step;
    uint64_t n_ahead; /* of these, enqueued before they were fed */
    double bytes;     /* of a step: bench_decode_bytes() */
    size_t device_bytes;
    double states_norm, rows_norm; /* bench_run_left's, of the last job */
} bench_decode_result;

/* What a step must read, whoever does it: weights once (those of a write are
 * not needed, the embedding but a row), A and z of every job.  Keys and values
 * are not counted. */
double bench_decode_bytes(const model_config *cfg, kernel_type compute,
                          uint32_t n_job);

/* ST_STATE: what was drawn is not what it was in the run before, or what a run
 * left is no result (bench_run()). */
status bench_decode(bench_decode_result *out,
                    const bench_decode_args *args) MUST_USE;

#endif
