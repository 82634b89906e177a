/* SPDX-License-Identifier: Apache-2.0 */
/* What the sums of a tile become. */
#ifndef KERNELS_CUDA_PRODUCT_FINISH_CUH
#define KERNELS_CUDA_PRODUCT_FINISH_CUH

#include "kernels/cuda/product_store.cuh"

namespace
{

template <int S>
__device__ inline void
add_bias(Sums<S> &sums, const bf16 *bias, uint32_t n_col)
{
    const Lane lane = lane_of();

#pragma unroll
    for (int j = 0; j < S / 8; j++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            uint32_t col = 8 * j + lane.col + i % 2;

            if (col < n_col)
                sums.at[4 * j + i] += to_float(bias[col]);
        }
}

/* silu(gate) value, gates in the first half of the columns. */
template <int S>
__device__ inline void
swiglu(Sums<S> &sums)
{
#pragma unroll
    for (int i = 0; i < S / 4; i++) {
        float gate = sums.at[i];

        sums.at[i] =
            __fdividef(gate, 1.0F + __expf(-gate)) * sums.at[S / 4 + i];
    }
}

/* Turns whole heads of 2 HALF columns; `turns` of the lane's first row. */
template <int HALF, int S>
__device__ inline void
turn_heads(Sums<S> &sums, const float2 *turns, const Half &h, uint32_t n_rot)
{
    const Lane lane = lane_of();

#pragma unroll
    for (int i = 0; i < 2; i++) {
        if (lane.row + 8 * i >= h.n_row)
            continue;
#pragma unroll
        for (int j = 0; j < HALF / 8; j++) {
            float4 t = *reinterpret_cast<const float4 *>(
                turns + (lane.row + 8 * i) * HALF + 8 * j + lane.col);

#pragma unroll
            for (int head = 0; head < S / (2 * HALF); head++) {
                float *a = &sums.at[4 * (head * HALF / 4 + j) + 2 * i];
                float *b = a + HALF / 2;

                if (head * 2 * HALF >= n_rot)
                    continue;
                float a0 = a[0], a1 = a[1];
                a[0] = t.x * a0 - t.y * b[0];
                b[0] = t.x * b[0] + t.y * a0;
                a[1] = t.z * a1 - t.w * b[1];
                b[1] = t.z * b[1] + t.w * a1;
            }
        }
    }
}

/* sigmoid(gate) (value - sum / den), split in two numbers of bf16 and written
 * across: row = column of the sum.  Rows that are not there give zeros. */
template <int S>
__device__ inline void
finish_delta(const Work &w, const Sums<S> &sums, const Half &h,
             const kernel_cell &cell, const Tile &t, uint32_t row0)
{
    const Lane lane = lane_of();
    const float *value = ref_item<float>(w.value, cell, t.place);
    const float *gate = ref_item<float>(w.gate, cell, t.place);
    bf16 *out = ref_item<bf16>(w.out, cell, t.place);

#pragma unroll
    for (int i = 0; i < 2; i++) {
        uint32_t row = row0 + lane.row + 8 * i;
        bool there = row < cell.n_mem;
        float factor = 0.0F, den = 1.0F;

        if (row >= w.m_pad)
            continue;
        if (there) {
            den = w.den[4 * (t.place * w.max_mem + row)];
            factor = 1.0F / (1.0F + expf(-gate[row * w.gate.ld]));
        }
#pragma unroll
        for (int j = 0; j < S / 8; j++)
#pragma unroll
            for (int c = 0; c < 2; c++) {
                uint32_t col = 8 * j + lane.col + c;
                float u = 0.0F, sum = sums.at[4 * j + 2 * i + c];

                if (col >= h.n_col)
                    continue;
                if (there) {
                    u = value[row * w.value.ld + t.col + col];
                    u = factor * (cell.fresh != 0 ? u : u - sum / den);
                }
                bf16 high = from_float<bf16>(u);
                bf16 *to = out + (t.col + col) * w.out.ld + row;

                to[0] = high;
                to[w.m_pad] = from_float<bf16>(u - to_float(high));
            }
    }
}

template <int COLS, int FINISH, bool WIDE>
__device__ inline void
finish(const Work &w, Sums<COLS> &sums, const kernel_cell &cell, const Tile &t,
       uint32_t group, char *staging)
{
    uint32_t row = t.row + group * GROUP_ROWS, rows = work_rows(w, cell);
    size_t size = WIDE ? 4 : 2;
    const Half h = {
        w.out.base +
            ((ref_index(w.out, cell, t.place) * w.out.stride +
              (row0_of(w.out, cell, w.rows) + row) * w.out.ld + t.col) *
             size),
        w.out.ld * size, row < rows ? rows - row : 0,
        w.n > t.col ? w.n - t.col : 0};
    const Staging to = {staging, 1 + group, w.wide_store};

    if (FINISH == CUDA_DELTA) {
        finish_delta(w, sums, h, cell, t, row);
        return;
    }
    if (w.bias.base != nullptr)
        add_bias(sums, ref_item<bf16>(w.bias, cell, t.place) + t.col, h.n_col);
    if (WIDE) {
        finish_f32<FINISH == CUDA_ADD>(sums, h);
        return;
    }
    if (FINISH == CUDA_SWIGLU) {
        swiglu(sums);
        finish_bf16<COLS / 2, false>(sums, 0, h, 0, to);
        return;
    }
    if (FINISH == CUDA_ROPE && t.col < w.n_rot) {
        const float2 *turns = w.turns + (cell.pos + row) * w.half;

        if (w.half == 32)
            turn_heads<32>(sums, turns, h, w.n_rot - t.col);
        else if (COLS >= 128)
            turn_heads<64>(sums, turns, h, w.n_rot - t.col);
    }
#pragma unroll
    for (int first = 0; first < COLS; first += PART)
        finish_bf16<(COLS < PART ? COLS : PART), FINISH == CUDA_ADD>(
            sums, first, h, first, to);
}

} // namespace

#endif
