/* SPDX-License-Identifier: Apache-2.0 */
/* Dot products of one row with rows of weights of any type: products of few
 * rows, which read their weights once and wait for memory. */
#ifndef KERNELS_CPU_DOTS_H
#define KERNELS_CPU_DOTS_H

#include "kernels/kernel.h"

/* Rows of w against x: out[r] = sum_t w[r, t] x[t]. */
typedef struct dots {
    const void *w;
    const float *scale; /* of each row with KERNEL_I8 */
    size_t ldw;
    const float *x;
    size_t n;
} dots;

typedef void dots_fn(float *out, const dots *d);

/* For one type of w. */
typedef struct dots_set {
    dots_fn *one, *four; /* rows */
    dots_fn *widen;      /* out[n] = the row */
} dots_set;

/* The second table is for CPUs with AVX2, FMA and F16C, and empty in builds for
 * others.  In a table, values do not depend on the type if an F32 copy would be
 * the same, nor on which rows are taken together. */
extern const dots_set dots_plain[KERNEL_I8 + 1];
extern const dots_set dots_avx2[KERNEL_I8 + 1];

#endif
