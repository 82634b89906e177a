/* SPDX-License-Identifier: Apache-2.0 */
/* One stream through the world, from open to closed: the whole input scored, or
 * an answer drawn.  The lead's. */
#ifndef WORKER_RUN_PASS_H
#define WORKER_RUN_PASS_H

#include "sched/segment.h"
#include "worker/decode.h"
#include "worker/run_answer.h"
#include "worker/run_files.h"
#include "worker/run_input.h"
#include "worker/world.h"

typedef struct run_pass {
    world *world;
    const model_config *cfg;
    kernel_type compute;
    const run_input *in;
    const run_options *opt;
    run_files *logits;  /* scored logits go here, or NULL */
    run_answer *answer; /* of run_pass_answer() */

    /* set by the pass */
    double read_seconds; /* until the input was read */
    status st;           /* first failure of an output; text in `failure` */
    char failure[512];

    uint32_t id;
    segment_cut cut;
    uint64_t n_fed, n_done;
    decode decode;
    uint32_t n_added; /* tokens of the answer that go on */
    double start;
    bool asked, snapped, closing, closed;
} run_pass;

/* How the input is cut. */
segment_cut run_pass_cut(const model_config *cfg, uint64_t n_token);
/* ST_LIMIT: input and answer go beyond the model's positions. */
status run_pass_check(const model_config *cfg, uint64_t n_token,
                      const run_options *o) MUST_USE;

/* Zeroed but for the first block.  A failure of the world is returned, and the
 * other ranks are left waiting; one of an output ends the pass in order and
 * shows in `st`. */
status run_pass_score(run_pass *p) MUST_USE;
status run_pass_answer(run_pass *p) MUST_USE;

#endif
