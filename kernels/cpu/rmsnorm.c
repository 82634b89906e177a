/* SPDX-License-Identifier: Apache-2.0 */
/* Root mean square normalisation (Zhang and Sennrich 2019, arXiv:1910.07467).
 */
#include <math.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/simd.h"

static uint32_t
count(const device_op *op, const kernel_cell *cell)
{
    (void)op;
    return cpu_row_blocks(cell->n_row);
}

SIMD_CLONES static void
row(float *out, const float *x, const float *w, size_t d, float eps)
{
    float sum = 0.0F;
    float scale;

#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < d; i++)
        sum += x[i] * x[i];
    scale = 1.0F / sqrtf(sum / (float)d + eps);
#pragma omp simd
    for (size_t i = 0; i < d; i++)
        out[i] = w[i] * (x[i] * scale);
}

static void
run(const cpu_item *item)
{
    const kernel_view *out_view = &item->op->u.rmsnorm.out;
    const kernel_view *x_view = &item->op->u.rmsnorm.x;
    float *out = cpu_at(out_view, item, KERNEL_ROWS_ALL);
    const float *x = cpu_at(x_view, item, KERNEL_ROWS_ALL);
    const float *w = cpu_at(&item->op->u.rmsnorm.w, item, KERNEL_ROWS_ALL);
    cpu_range rows = cpu_row_block(item->cell->n_row, item->index);

    for (size_t i = rows.first; i < rows.first + rows.n; i++)
        row(out + i * out_view->ld, x + i * x_view->ld, w,
            item->op->u.rmsnorm.d, item->op->u.rmsnorm.eps);
}

const cpu_step cpu_rmsnorm = {count, run};
