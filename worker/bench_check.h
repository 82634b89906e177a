/* SPDX-License-Identifier: Apache-2.0 */
/* The engine on this device against the same model in double
 * (bench_reference.h), on weights and ids made from a seed. */
#ifndef WORKER_BENCH_CHECK_H
#define WORKER_BENCH_CHECK_H

#include "worker/bench_run.h"

/* What is compared: all numbers of the states, and rows that are sampled, some
 * of each segment. */
typedef enum bench_check_what {
    BENCH_CHECK_LOGITS = 0,
    BENCH_CHECK_A,
    BENCH_CHECK_Z,
    BENCH_CHECK_READ, /* rows behind the memory read of every layer */
    BENCH_CHECK_ROWS, /* rows behind every layer, memory rows too */
    BENCH_CHECK_N
} bench_check_what;

typedef struct bench_check_result {
    /* relative norm of the difference: of all, and of the worst layer (logits:
     * row) */
    double error[BENCH_CHECK_N], worst[BENCH_CHECK_N];
    double limit;      /* 1e-4 in fp32, 3e-2 in bf16; for `error` */
    uint64_t n_number; /* that were compared */
    bool ok;           /* every error is a number, and none above the limit */
} bench_check_result;

const char *bench_check_name(bench_check_what what);

/* Runs the engine twice, as bench_run() does with a head, and for the inner
 * rows with groups cut at the layers' ends; then the reference, on `n_thread`
 * threads.  args->n_repeat counts for nothing.  ST_ARG: fewer than 3 segments,
 * which a memory needs to be read, changed and read again. */
status bench_check(bench_check_result *out, const bench_run_args *args,
                   uint32_t n_thread) MUST_USE;

#endif
