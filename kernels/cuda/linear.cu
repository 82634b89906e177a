/* SPDX-License-Identifier: Apache-2.0 */
/* x w^T for any types: fp32 products without TF32, weights of other types. */
#include "kernels/cuda/plain.cuh"

namespace
{

enum { NARROW = 8 }; /* columns */

struct Linear {
    Ref out, x, w, bias, scale;
    uint32_t n, k;
    int rows;
    bool accumulate;
};

template <class TX, class TW, class TO>
__global__ void
__launch_bounds__(PLAIN_THREADS)
    linear_kernel(Linear l, const kernel_cell *cells)
{
    const kernel_cell &cell = cells[blockIdx.z];
    uint32_t row0 = blockIdx.x * PLAIN_TILE, col0 = blockIdx.y * PLAIN_TILE;
    uint32_t m = rows_of(cell, l.rows);
    float sum[PLAIN_PART][PLAIN_PART];

    if (row0 >= m)
        return;
    const PlainOperands<TX, TW> o = {
        ref_rows<TX>(l.x, cell, blockIdx.z, l.rows),
        ref_item<TW>(l.w, cell, blockIdx.z),
        l.x.ld,
        1,
        l.w.ld,
        1,
        m,
        l.n,
        l.k};
    const TX *bias = ref_item<TX>(l.bias, cell, blockIdx.z);
    const float *scale = ref_item<float>(l.scale, cell, blockIdx.z);
    TO *out = ref_rows<TO>(l.out, cell, blockIdx.z, l.rows);

    plain_tile(o, row0, col0, sum);
    plain_each(row0, col0, m, l.n, sum, [&](uint32_t r, uint32_t c, float s) {
        TO *to = out + r * l.out.ld + c;

        if (l.scale.base != nullptr)
            s *= scale[c];
        if (l.bias.base != nullptr)
            s += to_float(bias[c]);
        *to = from_float<TO>(l.accumulate ? to_float(*to) + s : s);
    });
}

/* Few columns: a warp a row and column. */
template <class TX, class TW, class TO>
__global__ void __launch_bounds__(256)
    narrow_kernel(Linear l, const kernel_cell *cells)
{
    const kernel_cell &cell = cells[blockIdx.z];
    uint32_t row = blockIdx.x * 8 + threadIdx.x / 32, col = blockIdx.y;
    float sum = 0.0F;

    if (row >= rows_of(cell, l.rows))
        return;
    const TX *x = ref_rows<TX>(l.x, cell, blockIdx.z, l.rows) + row * l.x.ld;
    const TW *w = ref_item<TW>(l.w, cell, blockIdx.z) + col * l.w.ld;
    for (uint32_t i = threadIdx.x % 32; i < l.k; i += 32)
        sum = fmaf(to_float(x[i]), to_float(w[i]), sum);
    sum = warp_sum(sum);
    if (threadIdx.x % 32 != 0)
        return;
    TO *to =
        ref_rows<TO>(l.out, cell, blockIdx.z, l.rows) + row * l.out.ld + col;
    if (l.scale.base != nullptr)
        sum *= ref_item<float>(l.scale, cell, blockIdx.z)[col];
    if (l.bias.base != nullptr)
        sum += to_float(ref_item<TX>(l.bias, cell, blockIdx.z)[col]);
    *to = from_float<TO>(l.accumulate ? to_float(*to) + sum : sum);
}

} // namespace

cudaError_t
cuda_linear(const cuda_launch *at, const kernel_linear_args *a)
{
    const Linear l = {ref_of(a->out),
                      ref_of(a->x),
                      ref_of(a->w),
                      ref_of(a->bias),
                      ref_of(a->scale),
                      static_cast<uint32_t>(a->n),
                      static_cast<uint32_t>(a->k),
                      a->rows,
                      a->accumulate};
    uint32_t n_row = a->rows == KERNEL_ROWS_MEM ? at->max_mem : at->max_row;
    dim3 grid(ceil_div(n_row, PLAIN_TILE), ceil_div(a->n, PLAIN_TILE),
              at->n_cell);

    if (n_row == 0)
        return cudaSuccess;
    return with_type(a->x.type, [&](auto x) {
        with_type(a->out.type, [&](auto out) {
            with_weight_type(a->w.type, [&](auto w) {
                if (l.n <= NARROW)
                    narrow_kernel<decltype(x), decltype(w), decltype(out)>
                        <<<dim3(ceil_div(n_row, 8), l.n, at->n_cell), 256, 0,
                           at->stream>>>(l, at->cells);
                else
                    linear_kernel<decltype(x), decltype(w), decltype(out)>
                        <<<grid, PLAIN_THREADS, 0, at->stream>>>(l, at->cells);
            });
        });
    });
}
