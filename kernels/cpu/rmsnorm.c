/* SPDX-License-Identifier: Apache-2.0 */
/* Root mean square normalisation (Zhang and Sennrich 2019, arXiv:1910.07467).
 */
#include <math.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/simd.h"

static uint32_t
count(const device_op *op, const kernel_cell *cell)
{
    return cpu_row_blocks(cpu_rows(cell, op->u.norm.rows));
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
    const kernel_norm_args *a = &item->op->u.norm;
    float *out = cpu_at(&a->out, item, a->rows);
    const float *x = cpu_at(&a->x, item, a->rows);
    const float *w = cpu_item_at(&a->w, item);
    cpu_range rows = cpu_row_block(cpu_rows(item->cell, a->rows), item->index);

    for (size_t i = rows.first; i < rows.first + rows.n; i++)
        for (size_t h = 0; h < a->n_head; h++)
            row(out + i * a->out.ld + h * a->d, x + i * a->x.ld + h * a->d, w,
                a->d, a->eps);
}

const cpu_step cpu_rmsnorm = {count, run};
