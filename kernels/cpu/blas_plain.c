/* SPDX-License-Identifier: Apache-2.0 */
/* Matrix products without a library. */
#include <string.h>

#include "kernels/cpu/blas.h"
#include "kernels/cpu/simd.h"

/* A tile of c is PLAIN_ROWS x PLAIN_COLS, and the slice of b that it needs is
 * first laid out for it, PLAIN_DEPTH rows of PLAIN_COLS. */
enum { PLAIN_ROWS = 4, PLAIN_COLS = 32, PLAIN_DEPTH = 256 };

void
blas_open(void)
{
}

const char *
blas_name(void)
{
    return "plain C";
}

/* slice[j, i] = op(b)[k0 + j, n0 + i], zeros behind the last column. */
static void
pack(float *slice, const blas_product *p, size_t k0, size_t n_k, size_t n0)
{
    size_t n = p->n - n0 < PLAIN_COLS ? p->n - n0 : PLAIN_COLS;

    if (n < PLAIN_COLS)
        memset(slice, 0, n_k * PLAIN_COLS * sizeof(*slice));
    for (size_t i = 0; p->b_t && i < n; i++)
        for (size_t j = 0; j < n_k; j++)
            slice[j * PLAIN_COLS + i] = p->b[(n0 + i) * p->ldb + k0 + j];
    for (size_t j = 0; !p->b_t && j < n_k; j++)
        memcpy(&slice[j * PLAIN_COLS], &p->b[(k0 + j) * p->ldb + n0],
               n * sizeof(*slice));
}

SIMD_CLONES static void
tile(float sum[PLAIN_ROWS][PLAIN_COLS], const float *a[PLAIN_ROWS],
     size_t a_step, const float *slice, size_t n_k)
{
    for (size_t j = 0; j < n_k; j++)
        for (size_t r = 0; r < PLAIN_ROWS; r++) {
            float f = a[r][j * a_step];

            for (size_t i = 0; i < PLAIN_COLS; i++)
                sum[r][i] += f * slice[j * PLAIN_COLS + i];
        }
}

static void
rows(const blas_product *p, const float *slice, size_t k0, size_t n_k,
     const size_t at[2])
{
    size_t n_row = p->m - at[0] < PLAIN_ROWS ? p->m - at[0] : PLAIN_ROWS;
    size_t n = p->n - at[1] < PLAIN_COLS ? p->n - at[1] : PLAIN_COLS;
    size_t row_step = p->a_t ? 1 : p->lda;
    size_t a_step = p->a_t ? p->lda : 1;
    float sum[PLAIN_ROWS][PLAIN_COLS] = {{0}};
    const float *a[PLAIN_ROWS];

    for (size_t r = 0; r < PLAIN_ROWS; r++) {
        size_t row = at[0] + (r < n_row ? r : 0);

        a[r] = p->a + row * row_step + k0 * a_step;
    }
    tile(sum, a, a_step, slice, n_k);
    for (size_t r = 0; r < n_row; r++) {
        float *c = &p->c[(at[0] + r) * p->ldc + at[1]];

        for (size_t i = 0; i < n; i++) {
            float old = k0 > 0 ? c[i] : p->beta == 0.0F ? 0.0F : p->beta * c[i];

            c[i] = old + p->alpha * sum[r][i];
        }
    }
}

void
blas_run(const blas_product *p)
{
    float slice[PLAIN_DEPTH * PLAIN_COLS];

    for (size_t n0 = 0; n0 < p->n; n0 += PLAIN_COLS)
        for (size_t k0 = 0; k0 < p->k; k0 += PLAIN_DEPTH) {
            size_t n_k = p->k - k0 < PLAIN_DEPTH ? p->k - k0 : PLAIN_DEPTH;

            pack(slice, p, k0, n_k, n0);
            for (size_t m0 = 0; m0 < p->m; m0 += PLAIN_ROWS)
                rows(p, slice, k0, n_k, (const size_t[2]){m0, n0});
        }
}
