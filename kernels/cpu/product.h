/* SPDX-License-Identifier: Apache-2.0 */
/* Matrix products on the calling thread.
 *
 * At the sizes of a cell, tens to hundreds of rows, a BLAS spends a good part
 * of its time on laying out weights for products larger than these; what is
 * here lays out a few narrow panels at a time and keeps its sums in registers.
 * On CPUs it has no registers for, it hands over to BLAS where there is one.
 *
 * An element's value depends on m, n, k and its operands, and on nothing else:
 * not on the type that b is stored in, if an F32 copy would be the same (by
 * BLAS it does, which takes F32 alone). */
#ifndef KERNELS_CPU_PRODUCT_H
#define KERNELS_CPU_PRODUCT_H

#include "kernels/kernel.h"

/* Which elements matter, for products around a causal softmax. */
typedef enum product_part {
    PRODUCT_ALL = 0,
    PRODUCT_LOWER_C, /* c[i, j] for j <= diag + i; others hold anything */
    PRODUCT_LOWER_A  /* a[i, t] for t <= diag + i; others are zeros */
} product_part;

/* c[m, n] = alpha op(a)[m, k] op(b)[k, n], or c += that; F32, rows of ld*
 * elements.  op transposes where *_t is set: a is then [k, m], b [n, k].  A
 * transposed b may have another type, and KERNEL_I8 a scale for every row. */
typedef struct product {
    const float *a;
    const void *b;
    kernel_type b_type;
    const float *b_scale; /* [n] with KERNEL_I8 */
    float *c;
    size_t lda, ldb, ldc;
    size_t m, n, k;
    bool a_t, b_t;
    bool accumulate;
    float alpha;
    product_part part;
    size_t diag;
    bool tall; /* these are some of more than PRODUCT_FEW rows, and are
                  computed as those would be */
    /* Called between pieces of PRODUCT_ROOM elements of b, or NULL: a piece is
     * well below a millisecond, a product of wide matrices is not. */
    kernel_hook *hook;
    void *hook_ctx;
} product;

/* `panels` has PRODUCT_ROOM floats, aligned to a cache line. */
enum { PRODUCT_ROOM = 48 << 10 };
void product_run(const product *p, float *panels);

/* Up to so many rows, or columns of a transposed b, a product is a handful of
 * dot products and b is read just once. */
enum { PRODUCT_FEW = 8 };

/* The ways to compute, best first; product_run() takes the first that this
 * build and CPU have. */
typedef enum product_way {
    PRODUCT_AVX512 = 0,
    PRODUCT_AVX2,
    PRODUCT_BLAS,
    PRODUCT_PLAIN,
    PRODUCT_N_WAY
} product_way;

bool product_has(product_way way);
product_way product_best(void);
const char *product_name(product_way way);
void product_run_by(product_way way, const product *p, float *panels);

#endif
