/* SPDX-License-Identifier: Apache-2.0 */
/* Rows times transposed weights, cut into fixed tiles. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/product.h"
#include "kernels/cpu/simd.h"

/* Up to FEW rows or columns a product is a handful of dot products: it is
 * bound by reading w once, and laying w out for a real product would cost more
 * than it. */
enum { FEW = 8, FEW_COLS = 128 };

/* Otherwise tiles of at most ROWS x COLS.  Columns are cut first, since a tile
 * of few rows pays for laying out its weights again. */
enum { ROWS = 320, COLS = 768, MIN_COLS = 128, MIN_ROWS = 32, UNIT = 16 };

typedef struct cut {
    uint32_t n_row, n_col; /* blocks */
    bool few;
} cut;

/* A function of shapes alone, never of threads: see cpu.h.  Two tiles at least
 * where there is work for two threads. */
static cut
cut_of(const kernel_linear_args *a, const kernel_cell *cell)
{
    size_t m = cpu_rows(cell, a->rows);
    cut c = {.n_row = m > 0, .few = m <= FEW || a->n <= FEW};

    if (c.few) {
        c.n_col = cpu_ceil_div(a->n, FEW_COLS);
        return c;
    }
    c.n_row = cpu_ceil_div(m, ROWS);
    c.n_col = cpu_ceil_div(a->n, COLS);
    if (c.n_row * c.n_col == 1) {
        if (a->n >= 2 * (size_t)MIN_COLS)
            c.n_col = 2;
        else if (m >= 2 * (size_t)MIN_ROWS)
            c.n_row = 2;
    }
    return c;
}

static uint32_t
count(const device_op *op, const kernel_cell *cell)
{
    cut c = cut_of(&op->u.linear, cell);

    return c.n_row * c.n_col;
}

/* c += or = a b^T by dot products; four rows share each row of b. */
SIMD_CLONES static void
few(const product *p)
{
    size_t m4 = p->m / 4 * 4;

    for (size_t j = 0; j < p->n; j++) {
        const float *b = p->b + j * p->ldb;

        for (size_t i = 0; i < m4; i += 4) {
            const float *a = p->a + i * p->lda;
            const float *a1 = a + p->lda, *a2 = a1 + p->lda, *a3 = a2 + p->lda;
            float *c = p->c + i * p->ldc + j;
            float s0 = 0, s1 = 0, s2 = 0, s3 = 0;

#pragma omp simd reduction(+ : s0, s1, s2, s3)
            for (size_t t = 0; t < p->k; t++) {
                s0 += a[t] * b[t];
                s1 += a1[t] * b[t];
                s2 += a2[t] * b[t];
                s3 += a3[t] * b[t];
            }
            c[0] = s0 + (p->accumulate ? c[0] : 0);
            c[p->ldc] = s1 + (p->accumulate ? c[p->ldc] : 0);
            c[2 * p->ldc] = s2 + (p->accumulate ? c[2 * p->ldc] : 0);
            c[3 * p->ldc] = s3 + (p->accumulate ? c[3 * p->ldc] : 0);
        }
        for (size_t i = m4; i < p->m; i++) {
            const float *a = p->a + i * p->lda;
            float *c = p->c + i * p->ldc + j;
            float s = 0;

#pragma omp simd reduction(+ : s)
            for (size_t t = 0; t < p->k; t++)
                s += a[t] * b[t];
            *c = s + (p->accumulate ? *c : 0);
        }
    }
}

static void
add_bias(const product *p, const float *bias)
{
    for (size_t i = 0; i < p->m; i++)
        for (size_t j = 0; j < p->n; j++)
            p->c[i * p->ldc + j] += bias[j];
}

static void
run(const cpu_item *item)
{
    const kernel_linear_args *a = &item->op->u.linear;
    cut c = cut_of(a, item->cell);
    uint32_t row = item->index / c.n_col, col = item->index % c.n_col;
    cpu_range rows = cpu_part(cpu_rows(item->cell, a->rows), c.n_row, row, 1);
    cpu_range cols = cpu_part(a->n, c.n_col, col, c.few ? 1 : UNIT);
    product p = {.m = rows.n,
                 .n = cols.n,
                 .k = a->k,
                 .a = cpu_at(&a->x, item, a->rows) + rows.first * a->x.ld,
                 .lda = a->x.ld,
                 .b = cpu_at(&a->w, item, a->rows) + cols.first * a->w.ld,
                 .ldb = a->w.ld,
                 .b_t = true,
                 .c = cpu_at(&a->out, item, a->rows) + rows.first * a->out.ld +
                      cols.first,
                 .ldc = a->out.ld,
                 .alpha = 1.0F,
                 .accumulate = a->accumulate};

    if (c.few)
        few(&p);
    else
        product_run(&p, item->panel);
    if (a->bias.buf != NULL)
        add_bias(&p, cpu_at(&a->bias, item, a->rows) + cols.first);
}

const cpu_step cpu_linear = {count, run};
