/* SPDX-License-Identifier: Apache-2.0 */
/* What longwave-bench was asked and has measured, and how it says so. */
#ifndef WORKER_BENCH_PRINT_H
#define WORKER_BENCH_PRINT_H

#include "worker/bench_check.h"
#include "worker/bench_decode.h"

enum { BENCH_N_SCHEDULE = 2 };

typedef struct bench {
    /* flags */
    const char *preset, *device, *schedule, *compute;
    uint64_t layers, d_model, segment, mem, tokens, threads, repeat;
    uint64_t decode, jobs, seed;
    const char *weights, *state_type;
    bool check, deterministic, json;
    bool score, reading; /* --score, --read */

    weights_want want;
    kernel_device *dev;
    kernel_info info;
    model_config cfg;
    int32_t *ids;
    kernel_rate product; /* of the bare product */
    double product_before, product_after;
    double read; /* bytes/s read of the device's memory */
    bench_decode_result answer;
    bench_check_result checked;
    bench_run_result result[BENCH_N_SCHEDULE];
    bool wanted[BENCH_N_SCHEDULE];
} bench;

extern const char *const bench_print_schedules[BENCH_N_SCHEDULE];

/* On stdout.  Of checks, answers or runs, whichever was asked. */
void bench_print_text(const bench *b);
status bench_print_json(const bench *b) MUST_USE;

#endif
