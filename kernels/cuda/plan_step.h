/* SPDX-License-Identifier: Apache-2.0 */
/* What the files that choose launches share: plan*.c. */
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
    cuda_program *program; /* to which they are added; NULL: launches */
} cuda_step;

bool cuda_plan_is_kind(const cuda_step *s, uint32_t i, device_op_kind kind);
bool cuda_plan_same_view(const kernel_view *a, const kernel_view *b);
/* Whether nobody reads the scratch at `v` from operation `n` on, until it is
 * written again. */
bool cuda_plan_is_dead(const cuda_step *s, uint32_t n, const kernel_view *v);

/* Whether this device has the fused launches. */
bool cuda_plan_is_fast(const cuda_plan *p);

/* What a product and its maps take of an operation. */
typedef struct cuda_plan_views {
    const kernel_view *x, *w;
    size_t x_row, x_col; /* of each item of x that are read */
    size_t w_row, w_col;
    bool x_exact;
} cuda_plan_views;

bool cuda_plan_maps(const cuda_step *s, cuda_product *p,
                    const cuda_plan_views *v);
/* The product of an operation on its own; false: it needs another kernel. */
bool cuda_plan_product(const cuda_step *s, const kernel_linear_args *a,
                       cuda_finish finish, cuda_product *out);
bool cuda_plan_enqueue(cuda_step *s, const cuda_product *p);

/* ------------------------------------------------------ plan_memory.c --- */

/* Whether the fused launches do this memory. */
bool cuda_plan_memory_fits(const kernel_assoc *m);
/* Rows that a write's memory rows are padded to. */
uint32_t cuda_plan_pad(const cuda_launch *at);
/* The memory's query, its features, and x += q A; as cuda_plan_run(). */
uint32_t cuda_plan_read_memory(cuda_step *s);
/* Keys, values and gates of the memory rows, and what they change. */
uint32_t cuda_plan_write_memory(cuda_step *s);

/* -------------------------------------------------------- plan_thin.c --- */

/* Whether this device computes rows that come alone in launches of their own,
 * so that groups are taken apart (group.c). */
bool cuda_plan_thin_fits(const cuda_plan *plan);
/* Room for the operations of a group of single rows, as cuda_plan_ready(). */
bool cuda_plan_thin_ready(cuda_plan *plan, const cuda_launch *at,
                          const device_op *ops, uint32_t n_op, status *st);
/* As cuda_plan_run(). */
uint32_t cuda_plan_thin_run(cuda_step *s);
/* Adds operation `i` and those that are done with it to a program, and returns
 * how many these are; 0: no phase does it.  `sample`: of the group's cell. */
uint32_t cuda_plan_thin_add(cuda_step *s, const kernel_sample_args *sample);

#endif
