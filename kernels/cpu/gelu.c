/* SPDX-License-Identifier: Apache-2.0 */
/* The Gaussian error linear unit, both forms (Hendrycks and Gimpel 2016,
 * arXiv:1606.08415). */
#include <math.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/simd.h"
#include "kernels/cpu/vexp.h"

static uint32_t
count(const device_op *op, const kernel_cell *cell)
{
    (void)op;
    return cpu_row_blocks(cpu_rows(cell, KERNEL_ROWS_LATE));
}

/* 1 + tanh(y) = 2 / (1 + exp(-2 y)).  Beyond exp(60) the quotient is 0 for all
 * purposes, and would be denormal further on. */
SIMD_CLONES static void
row_by_tanh(float *out, const float *x, size_t d)
{
    const float a = 0.7978845608028654F, b = 0.044715F;

#pragma omp simd
    for (size_t i = 0; i < d; i++) {
        float y = a * (x[i] + b * x[i] * x[i] * x[i]);

        out[i] = x[i] / (1.0F + vexp_within(-2.0F * y, -87.33654F, 60.0F));
    }
}

static void
row_by_erf(float *out, const float *x, size_t d)
{
    for (size_t i = 0; i < d; i++)
        out[i] = 0.5F * x[i] * (1.0F + erff(x[i] * 0.70710678118654752F));
}

static void
run(const cpu_item *item)
{
    const kernel_view *out_view = &item->op->u.gelu.out;
    const kernel_view *x_view = &item->op->u.gelu.x;
    size_t d = item->op->u.gelu.d;
    float *out = cpu_at(out_view, item, KERNEL_ROWS_LATE);
    const float *x = cpu_at(x_view, item, KERNEL_ROWS_LATE);
    cpu_range rows =
        cpu_row_block(cpu_rows(item->cell, KERNEL_ROWS_LATE), item->index);

    for (size_t i = rows.first; i < rows.first + rows.n; i++) {
        if (item->op->u.gelu.by_tanh)
            row_by_tanh(out + i * out_view->ld, x + i * x_view->ld, d);
        else
            row_by_erf(out + i * out_view->ld, x + i * x_view->ld, d);
    }
}

const cpu_step cpu_gelu = {count, run};
