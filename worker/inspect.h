/* SPDX-License-Identifier: Apache-2.0 */
/* longwave-run --inspect: what a model's directory was recognised as. */
#ifndef WORKER_INSPECT_H
#define WORKER_INSPECT_H

#include "worker/run_options.h"

/* How far logits with 8-bit weights are from those with the stored ones. */
typedef struct inspect_loss {
    uint32_t n_token, n_row; /* read; whose logits are compared */
    double max, max_logit;   /* largest difference; largest logit */
    double
        relative; /* Euclidean norm of the difference by that of the logits */
    double top;   /* share of rows whose most probable token is the same */
} inspect_loss;

/* Both models in turn over one segment and some tokens of a second, ids from a
 * fixed generator.  One rank; blocks. */
status inspect_check(inspect_loss *out, const model_config *cfg,
                     const setup_options *opt) MUST_USE;

/* Reads the directory and prints, as text or as one line of JSON.  The lead's
 * alone. */
status inspect_run(const setup *s, const run_options *opt) MUST_USE;

#endif
