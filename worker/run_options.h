/* SPDX-License-Identifier: Apache-2.0 */
/* The flags of longwave-run beside the shared ones. */
#ifndef WORKER_RUN_OPTIONS_H
#define WORKER_RUN_OPTIONS_H

#include "worker/setup.h"

typedef struct run_options {
    const char *input, *question, *alignment, *template;
    const char *logits, *state, *generated_logits; /* files, or NULL */
    uint64_t generate;                             /* tokens; 0: none */
    double temperature, top_p, min_p, penalty;
    uint64_t top_k, logprobs, seed;
    option_list stop;
    bool ignore_eos, all_rows, json, inspect, check;
} run_options;

/* Parses the shared flags and these.  Collective; *done: nothing is to be
 * done any more. */
status run_options_parse(run_options *o, setup *s, int argc, char **argv,
                         bool *done) MUST_USE;
/* What they change of the model: --alignment.  ST_UNSUPPORTED: not this model.
 */
status run_options_model(const run_options *o, model_config *cfg) MUST_USE;
/* Outputs in the place of the input, of a file in `dir`, which is the model's,
 * or of each other: ST_ARG.  For the lead, which alone writes. */
status run_options_outputs(const run_options *o, const char *dir) MUST_USE;
/* Whether the whole input is to be scored, and not only answered. */
bool run_options_score(const run_options *o);

#endif
