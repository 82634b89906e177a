/* SPDX-License-Identifier: Apache-2.0 */
/* One stream through the world, from open to closed: the whole input scored, or
 * an answer drawn.  The lead's. */
#ifndef WORKER_RUN_PASS_H
#define WORKER_RUN_PASS_H

#include "worker/run_answer.h"
#include "worker/run_files.h"
#include "worker/run_input.h"
#include "worker/world.h"

typedef struct run_pass {
    world *world;
    const model_config *cfg;
    const run_input *in;
    const run_options *opt;
    run_files *logits;  /* scored logits go here, or NULL */
    run_answer *answer; /* of run_pass_answer() */

    /* set by the pass */
    double read_seconds; /* until the input was read */
    status st;           /* first failure of an output; text in `failure` */
    char failure[512];

    uint32_t id;
    uint64_t n_segment, n_fed, n_done;
    uint64_t n_row; /* of the frozen run, fed so far */
    double start;
    bool asked, snapped, closing, closed;
} run_pass;

/* Zeroed but for the first block.  A failure of the world is returned, and the
 * other ranks are left waiting; one of an output ends the pass in order and
 * shows in `st`. */
status run_pass_score(run_pass *p) MUST_USE;
status run_pass_answer(run_pass *p) MUST_USE;

#endif
