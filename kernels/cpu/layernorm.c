/* SPDX-License-Identifier: Apache-2.0 */
/* Layer normalisation (Ba, Kiros and Hinton 2016, arXiv:1607.06450). */
#include <math.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/simd.h"

static uint32_t
count(const device_op *op, const kernel_cell *cell)
{
    return cpu_row_blocks(cpu_rows(cell, op->u.norm.rows));
}

/* The mean first: squares of deviations do not cancel where squares less the
 * square of the mean would. */
SIMD_CLONES static void
row(float *out, const float *x, const float *w, size_t d, float eps)
{
    float sum = 0.0F, square = 0.0F;
    float mean, scale;

#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < d; i++)
        sum += x[i];
    mean = sum / (float)d;
#pragma omp simd reduction(+ : square)
    for (size_t i = 0; i < d; i++)
        square += (x[i] - mean) * (x[i] - mean);
    scale = 1.0F / sqrtf(square / (float)d + eps);
#pragma omp simd
    for (size_t i = 0; i < d; i++)
        out[i] = w[i] * ((x[i] - mean) * scale);
}

SIMD_CLONES static void
add(float *out, const float *bias, size_t d)
{
#pragma omp simd
    for (size_t i = 0; i < d; i++)
        out[i] += bias[i];
}

static void
piece(const kernel_norm_args *a, float *out, const float *x, const float *w,
      const float *bias)
{
    row(out, x, w, a->d, a->eps);
    if (bias != NULL)
        add(out, bias, a->d);
}

static void
run(const cpu_item *item)
{
    const kernel_norm_args *a = &item->op->u.norm;
    float *out = cpu_at(&a->out, item, a->rows);
    const float *x = cpu_at(&a->x, item, a->rows);
    const float *w = cpu_item_at(&a->w, item);
    const float *bias =
        a->bias.buf != NULL ? cpu_item_at(&a->bias, item) : NULL;
    cpu_range rows = cpu_row_block(cpu_rows(item->cell, a->rows), item->index);

    for (size_t i = rows.first; i < rows.first + rows.n; i++)
        for (size_t h = 0; h < a->n_head; h++)
            piece(a, out + i * a->out.ld + h * a->d, x + i * a->x.ld + h * a->d,
                  w, bias);
}

const cpu_step cpu_layernorm = {count, run};
