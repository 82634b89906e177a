/* SPDX-License-Identifier: Apache-2.0 */
/* From a model and a cluster to the numbers of sched/plan.h. */
#ifndef WORKER_PLAN_JOB_H
#define WORKER_PLAN_JOB_H

#include "kernels/kernel.h"
#include "model/weights.h"
#include "sched/cost.h"

/* The cost of a model's cells with hidden states in `type`, and weights too
 * unless `types` says otherwise.  A state that grows is counted as it is after
 * n_token tokens, from the start: room for it is kept. */
void plan_job_model(cost_model *out, const model_config *cfg, kernel_type type,
                    const weights_types *types, uint64_t n_token);

#endif
