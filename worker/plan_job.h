/* SPDX-License-Identifier: Apache-2.0 */
/* From a model and a cluster to the numbers of sched/plan.h. */
#ifndef WORKER_PLAN_JOB_H
#define WORKER_PLAN_JOB_H

#include "kernels/kernel.h"
#include "model/config.h"
#include "sched/cost.h"

/* The cost of a model's cells with weights and hidden states in `type`.  A
 * state that grows is counted as it is after n_token tokens, from the start:
 * room for it is kept. */
void plan_job_model(cost_model *out, const model_config *cfg, kernel_type type,
                    uint64_t n_token);

/* This machine as a cluster of n_rank ranks of n_thread threads on one node:
 * their rate and what fills them from two short runs of a model of this shape
 * with at most 4 layers, cell by cell and diagonal by diagonal; the link is
 * not measured and stays as given.  Takes seconds.  Blocks. */
status plan_job_measure(cost_cluster *out, const model_config *cfg,
                        uint32_t n_rank, uint32_t n_thread) MUST_USE;

#endif
