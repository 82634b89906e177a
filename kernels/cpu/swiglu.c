/* SPDX-License-Identifier: Apache-2.0 */
/* silu(gate) * up (Shazeer 2020, arXiv:2002.05202). */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/simd.h"
#include "kernels/cpu/vexp.h"

static uint32_t
count(const device_op *op, const kernel_cell *cell)
{
    (void)op;
    return cpu_row_blocks(cpu_rows(cell, KERNEL_ROWS_LATE));
}

/* Compilers evaluate what follows a clamp for its bounds too, in every lane.
 * At exp(88) the quotient would be denormal there, which costs hundreds of
 * cycles; beyond exp(60) it is 0 for all purposes. */
SIMD_CLONES static void
row(float *restrict out, const float *restrict gate, const float *restrict up,
    size_t d)
{
#pragma omp simd
    for (size_t i = 0; i < d; i++)
        out[i] =
            gate[i] / (1.0F + vexp_within(-gate[i], -87.33654F, 60.0F)) * up[i];
}

static void
run(const cpu_item *item)
{
    const kernel_view *out_view = &item->op->u.swiglu.out;
    const kernel_view *in_view = &item->op->u.swiglu.gate_up;
    size_t d = item->op->u.swiglu.d;
    float *out = cpu_at(out_view, item, KERNEL_ROWS_LATE);
    const float *in = cpu_at(in_view, item, KERNEL_ROWS_LATE);
    cpu_range rows =
        cpu_row_block(cpu_rows(item->cell, KERNEL_ROWS_LATE), item->index);

    for (size_t i = rows.first; i < rows.first + rows.n; i++) {
        const float *gate = in + i * in_view->ld;

        row(out + i * out_view->ld, gate, gate + d, d);
    }
}

const cpu_step cpu_swiglu = {count, run};
