/* SPDX-License-Identifier: Apache-2.0 */
/* Matrix products on the calling thread.
 *
 * The only place that knows BLAS; a build without one has a plain product
 * behind the same interface.  The value of an element may depend on m, n and k
 * of the call, and on nothing else beside its operands. */
#ifndef KERNELS_CPU_BLAS_H
#define KERNELS_CPU_BLAS_H

#include <stdbool.h>
#include <stddef.h>

/* Once for each device, before the first product: one thread a call. */
void blas_open(void);
const char *blas_name(void); /* "OpenBLAS SkylakeX", "plain C" */

/* c[m, n] = alpha op(a)[m, k] op(b)[k, n] + beta c, F32, rows of ld* elements.
 * op transposes where *_t is set: a is then [k, m], b [n, k].  With beta = 0
 * what c held is not read. */
typedef struct blas_product {
    const float *a, *b;
    float *c;
    size_t lda, ldb, ldc;
    size_t m, n, k;
    bool a_t, b_t;
    float alpha, beta;
} blas_product;
void blas_run(const blas_product *p);

#endif
