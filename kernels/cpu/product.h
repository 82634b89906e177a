/* SPDX-License-Identifier: Apache-2.0 */
/* Matrix products on the calling thread.
 *
 * At the sizes of a cell, tens to hundreds of rows, a BLAS spends a good part
 * of its time on laying out weights for products larger than these; what is
 * here lays out a narrow panel at a time and keeps its sums in registers.  On
 * CPUs it has no registers for, it hands over to BLAS where there is one.
 *
 * An element's value depends on k and on its operands, with BLAS also on m and
 * n, and on nothing else. */
#ifndef KERNELS_CPU_PRODUCT_H
#define KERNELS_CPU_PRODUCT_H

#include <stdbool.h>
#include <stddef.h>

/* c[m, n] = alpha op(a)[m, k] op(b)[k, n], or c += that; F32, rows of ld*
 * elements.  op transposes where *_t is set: a is then [k, m], b [n, k]. */
typedef struct product {
    const float *a, *b;
    float *c;
    size_t lda, ldb, ldc;
    size_t m, n, k;
    bool a_t, b_t;
    bool accumulate;
    float alpha;
} product;

/* `panel` has PRODUCT_PANEL floats, aligned to a cache line. */
enum { PRODUCT_COLS = 32, PRODUCT_DEPTH = 384 };
enum { PRODUCT_PANEL = PRODUCT_COLS * PRODUCT_DEPTH };
void product_run(const product *p, float *panel);

const char *product_name(void); /* "AVX-512", "AVX2", "BLAS", "plain" */

#endif
