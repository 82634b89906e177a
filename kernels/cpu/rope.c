/* SPDX-License-Identifier: Apache-2.0 */
/* Rotary position embedding, half-split. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/simd.h"

static uint32_t
count(const device_op *op, const kernel_cell *cell)
{
    (void)op;
    return cpu_row_blocks(cell->n_row);
}

/* cos and sin of pos * freq[i].  The angle is taken in double and brought to
 * |r| <= pi / 4 there, since positions are large; the series end below half
 * an ulp of F32.  Adding 1.5 * 2^52 rounds to an integer, whose low bits tell
 * the quadrant. */
SIMD_CLONES static void
turn(float *restrict cosine, float *restrict sine, const float *restrict freq,
     double pos, size_t n)
{
    const double round = 6755399441055744.0;

#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        double quarter = pos * (double)freq[i] * 0.63661977236758134308;
        double shifted = quarter + round;
        float r =
            (float)((quarter - (shifted - round)) * 1.57079632679489661923);
        int32_t q = (int32_t)(shifted - round);
        float r2 = r * r;
        float s, c, s_turned, c_turned;

        s = r2 * (1.0F / 362880.0F) - 1.0F / 5040.0F;
        s = r + r * r2 * ((s * r2 + 1.0F / 120.0F) * r2 - 1.0F / 6.0F);
        c = r2 * (-1.0F / 3628800.0F) + 1.0F / 40320.0F;
        c = (c * r2 - 1.0F / 720.0F) * r2 + 1.0F / 24.0F;
        c = 1.0F - r2 * (0.5F - r2 * c);
        s_turned = (q & 1) != 0 ? c : s;
        c_turned = (q & 1) != 0 ? s : c;
        sine[i] = (q & 2) != 0 ? -s_turned : s_turned;
        cosine[i] = ((q + 1) & 2) != 0 ? -c_turned : c_turned;
    }
}

SIMD_CLONES static void
scale(float *restrict x, size_t n, float factor)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        x[i] *= factor;
}

SIMD_CLONES static void
rotate(float *restrict x, const float *restrict cosine,
       const float *restrict sine, const kernel_rope_args *a)
{
    size_t half = a->d_rot / 2;

    for (size_t h = 0; h < a->n_head; h++, x += a->d_head) {
#pragma omp simd
        for (size_t i = 0; i < half; i++) {
            float u = x[i], v = x[half + i];

            x[i] = u * cosine[i] - v * sine[i];
            x[half + i] = v * cosine[i] + u * sine[i];
        }
    }
}

static void
run(const cpu_item *item)
{
    const kernel_rope_args *a = &item->op->u.rope;
    float *x = cpu_at(&a->x, item, KERNEL_ROWS_ALL);
    const float *freq = cpu_at(&a->freq, item, KERNEL_ROWS_ALL);
    size_t half = a->d_rot / 2;
    float *cosine = item->work, *sine = item->work + half;
    cpu_range rows = cpu_row_block(item->cell->n_row, item->index);

    ASSERT(2 * half * sizeof(float) <= CPU_WORK_BYTES);
    for (size_t i = rows.first; i < rows.first + rows.n; i++) {
        turn(cosine, sine, freq, (double)item->cell->pos + (double)i, half);
        if (a->scale != 1.0F) /* NOLINT: exactly 1 means no YaRN */
            scale(cosine, 2 * half, a->scale);
        rotate(x + i * a->x.ld, cosine, sine, a);
    }
}

const cpu_step cpu_rope = {count, run};
