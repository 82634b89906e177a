/* SPDX-License-Identifier: Apache-2.0 */
/* This machine, or these ranks, as a described cluster. */
#ifndef WORKER_PLAN_HERE_H
#define WORKER_PLAN_HERE_H

#include "worker/probe.h"

typedef struct plan_here {
    cost_rank *rank; /* [size] of rank 0 */
    cost_link *link; /* likewise */
} plan_here;

/* Measures the ranks of `c`, all at once, for this model: *out has each of
 * them, and points into *h.  n_thread: of a rank; 0: all cores that it may use.
 * Collective; *out is rank 0's alone.  ST_STATE: the figures make no sense. */
status plan_here_open(plan_here *h, cost_cluster *out, comm *c,
                      const model_config *cfg, uint32_t n_thread) MUST_USE;
void plan_here_close(plan_here *h);

#endif
