/* SPDX-License-Identifier: Apache-2.0 */
/* Products for any shape, type and alignment, on plain fp32 units: what the
 * fp32 path computes with, and what is left over of the others.
 *
 * Operands are given by strides, so that one kernel serves x w^T, f A and
 * k^T v.  A block makes a tile of TILE x TILE sums, each by one thread in the
 * order of k, so a sum is a function of its row, its column and k alone. */
#ifndef KERNELS_CUDA_PLAIN_CUH
#define KERNELS_CUDA_PLAIN_CUH

#include "kernels/cuda/view.cuh"

enum { PLAIN_TILE = 64, PLAIN_DEPTH = 16, PLAIN_THREADS = 256, PLAIN_PART = 4 };

/* One cell's and head's operands: x(row, k), w(col, k). */
template <class TX, class TW> struct PlainOperands {
    const TX *x;
    const TW *w;
    size_t x_row, x_k, w_col, w_k;
    uint32_t m, n, k;
};

/* Sums of the tile of rows row0 .. and columns column(0) .. column(TILE - 1)
 * of w, in any order (n or more: none): thread t has rows row0 + (t / 16) +
 * 16 i and columns column((t % 16) + 16 j). */
template <class TX, class TW, class C>
__device__ inline void
plain_columns(const PlainOperands<TX, TW> &o, uint32_t row0, C column,
              float (&sum)[PLAIN_PART][PLAIN_PART])
{
    __shared__ float xs[PLAIN_DEPTH][PLAIN_TILE + 1];
    __shared__ float ws[PLAIN_DEPTH][PLAIN_TILE + 1];
    uint32_t t = threadIdx.x;

    for (int i = 0; i < PLAIN_PART; i++)
        for (int j = 0; j < PLAIN_PART; j++)
            sum[i][j] = 0.0F;
    for (uint32_t k0 = 0; k0 < o.k; k0 += PLAIN_DEPTH) {
        for (uint32_t at = t; at < PLAIN_TILE * PLAIN_DEPTH;
             at += PLAIN_THREADS) {
            /* Neighbouring threads read along the stride that is 1. */
            uint32_t xr = o.x_k == 1 ? at / PLAIN_DEPTH : at % PLAIN_TILE;
            uint32_t xk = o.x_k == 1 ? at % PLAIN_DEPTH : at / PLAIN_TILE;
            uint32_t wc = o.w_k == 1 ? at / PLAIN_DEPTH : at % PLAIN_TILE;
            uint32_t wk = o.w_k == 1 ? at % PLAIN_DEPTH : at / PLAIN_TILE;

            xs[xk][xr] =
                row0 + xr < o.m && k0 + xk < o.k
                    ? to_float(o.x[(row0 + xr) * o.x_row + (k0 + xk) * o.x_k])
                    : 0.0F;
            uint32_t col = column(wc);
            ws[wk][wc] = col < o.n && k0 + wk < o.k
                             ? to_float(o.w[col * o.w_col + (k0 + wk) * o.w_k])
                             : 0.0F;
        }
        __syncthreads();
#pragma unroll
        for (int kk = 0; kk < PLAIN_DEPTH; kk++) {
            float x[PLAIN_PART], w[PLAIN_PART];

#pragma unroll
            for (int i = 0; i < PLAIN_PART; i++) {
                x[i] = xs[kk][t / 16 + 16 * i];
                w[i] = ws[kk][t % 16 + 16 * i];
            }
#pragma unroll
            for (int i = 0; i < PLAIN_PART; i++)
#pragma unroll
                for (int j = 0; j < PLAIN_PART; j++)
                    sum[i][j] = fmaf(x[i], w[j], sum[i][j]);
        }
        __syncthreads();
    }
}

/* Columns as they come, from col0 on. */
template <class TX, class TW>
__device__ inline void
plain_tile(const PlainOperands<TX, TW> &o, uint32_t row0, uint32_t col0,
           float (&sum)[PLAIN_PART][PLAIN_PART])
{
    plain_columns(
        o, row0, [=](uint32_t c) { return col0 + c; }, sum);
}

/* f(row, column, sum) for every sum of this thread inside the product. */
template <class F>
__device__ inline void
plain_each(uint32_t row0, uint32_t col0, uint32_t m, uint32_t n,
           const float (&sum)[PLAIN_PART][PLAIN_PART], F f)
{
    for (int i = 0; i < PLAIN_PART; i++)
        for (int j = 0; j < PLAIN_PART; j++) {
            uint32_t row = row0 + threadIdx.x / 16 + 16 * i;
            uint32_t col = col0 + threadIdx.x % 16 + 16 * j;

            if (row < m && col < n)
                f(row, col, sum[i][j]);
        }
}

#endif
