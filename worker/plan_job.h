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

/* This machine as a cluster of n_rank ranks of n_thread threads on one node:
 * what probe_cells() measures of one of them; the link is a round figure.
 * Takes less than a second.  Blocks. */
status plan_job_measure(cost_cluster *out, const model_config *cfg,
                        uint32_t n_rank, uint32_t n_thread) MUST_USE;

#endif
