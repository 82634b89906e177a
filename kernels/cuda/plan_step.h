/* SPDX-License-Identifier: Apache-2.0 */
/* What the files that choose launches share: plan.c and plan_thin.c. */
#ifndef KERNELS_CUDA_PLAN_STEP_H
#define KERNELS_CUDA_PLAN_STEP_H

#include "kernels/cuda/host.h"

/* Operations that are being enqueued. */
typedef struct cuda_step {
    cuda_plan *plan;
    const cuda_launch *at;
    const device_op *ops; /* the one at hand, and those behind it */
    uint32_t n_op;
    status st;
} cuda_step;

bool cuda_plan_is_kind(const cuda_step *s, uint32_t i, device_op_kind kind);
bool cuda_plan_same_view(const kernel_view *a, const kernel_view *b);
/* Whether nobody reads the scratch at `v` from operation `n` on, until it is
 * written again. */
bool cuda_plan_is_dead(const cuda_step *s, uint32_t n, const kernel_view *v);

/* -------------------------------------------------------- plan_thin.c --- */

/* Whether this device computes rows that come alone in launches of their own,
 * so that groups are taken apart (group.c). */
bool cuda_plan_thin_fits(const cuda_plan *plan);
/* Room for the operations of a group of single rows, as cuda_plan_ready(). */
bool cuda_plan_thin_ready(cuda_plan *plan, const cuda_launch *at,
                          const device_op *ops, uint32_t n_op, status *st);
/* As cuda_plan_run(). */
uint32_t cuda_plan_thin_run(cuda_step *s);

#endif
