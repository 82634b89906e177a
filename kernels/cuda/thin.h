/* SPDX-License-Identifier: Apache-2.0 */
/* Launches for groups whose cells have one row each, of bf16: the steps of
 * answers.  Cells without rows are passed over.  `chained`: the launch before
 * this one on the stream is one of these, and this one may begin to load what
 * no launch writes, weights and states, before that one has ended. */
#ifndef KERNELS_CUDA_THIN_H
#define KERNELS_CUDA_THIN_H

#include "kernels/cuda/fast.h"

#ifdef __cplusplus
extern "C" {
#endif

/* out = norm(x) w^T (+ bias), k a multiple of 64; x and w bf16 at multiples of
 * 16 bytes; out bf16 or F32.  `finish`: CUDA_STORE, CUDA_ADD (bf16) or
 * CUDA_SWIGLU (w has n gates, then n values). */
typedef struct cuda_thin_product {
    kernel_view out, x, w, bias;
    kernel_view norm; /* weight of the norm of x; buf NULL: x as it is */
    float eps;
    uint32_t n, k;
    cuda_finish finish;
    bool chained;
} cuda_thin_product;
cudaError_t cuda_thin_product_run(const cuda_launch *at,
                                  const cuda_thin_product *p);

/* x += features(d->x) A / (z . features + 1e-5), all in fp32. */
bool cuda_thin_read_fits(const kernel_assoc *m);
cudaError_t cuda_thin_read(const cuda_launch *at, bool chained,
                           const kernel_view *x, const kernel_assoc *m,
                           const kernel_dpfp_args *d);

/* Turns q and k_new by the table, puts k_new and v_new behind the n_past rows
 * of the cache (args->k, args->v), and attends there.  Heads of 64 and 128,
 * turned whole; 1, 2 or 4 query heads a key head; no window. */
typedef struct cuda_thin_attention {
    const kernel_attention_args *args;
    kernel_view k_new, v_new;
    const float *turns;
    float *room; /* cuda_thin_room() bytes, zeros before the first launch */
} cuda_thin_attention;
size_t cuda_thin_room(uint32_t n_cell, const kernel_attention_args *a);
cudaError_t cuda_thin_attend(const cuda_launch *at, bool chained,
                             const cuda_thin_attention *t);

#ifdef __cplusplus
}
#endif

#endif
