/* SPDX-License-Identifier: Apache-2.0 */
/* The DPFP feature map of order 3 (Schlag et al. 2021, arXiv:2102.11174). */
#include <math.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/simd.h"

enum { ORDER = 3 };

static uint32_t
count(const device_op *op, const kernel_cell *cell)
{
    return cpu_row_blocks(cpu_rows(cell, op->u.dpfp.rows));
}

/* u = concat(relu(x), relu(-x)) with its last ORDER values once more in front,
 * so that u[i - j] needs no wrapping: the result points at u[0].  NaN stays. */
SIMD_CLONES static const float *
rectify(float *work, const float *x, size_t d)
{
    float *u = work + ORDER;
    size_t n = 2 * d;

#pragma omp simd
    for (size_t i = 0; i < d; i++) {
        u[i] = x[i] < 0.0F ? 0.0F : x[i];
        u[d + i] = x[i] > 0.0F ? 0.0F : -x[i];
    }
    for (size_t j = 1; j <= ORDER; j++)
        u[-(ptrdiff_t)j] = u[(2 * n - j) % n];
    return u;
}

SIMD_CLONES static void
multiply(float *restrict out, const float *restrict u, size_t n)
{
    for (size_t j = 1; j <= ORDER; j++, out += n) {
#pragma omp simd
        for (size_t i = 0; i < n; i++)
            out[i] = u[i] * u[(ptrdiff_t)i - (ptrdiff_t)j];
    }
}

SIMD_CLONES static void
normalise(float *x, size_t n)
{
    float sum = 0.0F;
    float norm;

#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < n; i++)
        sum += x[i] * x[i];
    norm = sqrtf(sum);
    norm = norm < 1e-12F ? 1e-12F : norm;
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        x[i] /= norm;
}

static void
run(const cpu_item *item)
{
    const kernel_dpfp_args *a = &item->op->u.dpfp;
    size_t d = a->d_mem / a->n_head;
    float *out = cpu_at(&a->out, item, a->rows);
    const float *x = cpu_at(&a->x, item, a->rows);
    cpu_range rows = cpu_row_block(cpu_rows(item->cell, a->rows), item->index);

    ASSERT((2 * d + ORDER) * sizeof(float) <= CPU_WORK_BYTES);
    for (size_t i = rows.first; i < rows.first + rows.n; i++)
        for (size_t h = 0; h < a->n_head; h++) {
            float *f = out + i * a->out.ld + h * 6 * d;

            multiply(f, rectify(item->work, x + i * a->x.ld + h * d, d), 2 * d);
            if (a->l2_norm)
                normalise(f, 6 * d);
        }
}

const cpu_step cpu_dpfp = {count, run};
