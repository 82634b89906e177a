/* SPDX-License-Identifier: Apache-2.0 */
/* Rotary positions, in place; the angle of a pair is made once for all heads.
 * The products inside a group's large launches rotate what they write
 * themselves (product.cu), from a table that is made here. */
#include "kernels/cuda/fast.h"
#include "kernels/cuda/view.cuh"

namespace
{

enum { THREADS = 128 };

struct Rope {
    Ref x, freq;
    uint32_t n_head, d_head, half;
    float scale;
};

/* Angles of a million positions keep their digits in double only. */
__device__ void
turn(float freq, uint32_t pos, float scale, float *c, float *s)
{
    double sine, cosine;

    sincos(static_cast<double>(pos) * static_cast<double>(freq), &sine,
           &cosine);
    *c = scale * static_cast<float>(cosine);
    *s = scale * static_cast<float>(sine);
}

template <class T>
__global__ void
__launch_bounds__(THREADS) rope_kernel(Rope r, const kernel_cell *cells)
{
    const kernel_cell &cell = cells[blockIdx.y];
    size_t at = static_cast<size_t>(blockIdx.x) * THREADS + threadIdx.x;
    uint32_t row = static_cast<uint32_t>(at / r.half);
    uint32_t i = static_cast<uint32_t>(at % r.half);
    float c, s;

    if (row >= cell.n_row)
        return;
    T *x =
        ref_rows<T>(r.x, cell, blockIdx.y, KERNEL_ROWS_ALL) + row * r.x.ld + i;
    turn(reinterpret_cast<const float *>(r.freq.base)[i], cell.pos + row,
         r.scale, &c, &s);
    for (uint32_t h = 0; h < r.n_head; h++, x += r.d_head) {
        float a = to_float(x[0]), b = to_float(x[r.half]);

        x[0] = from_float<T>(c * a - s * b);
        x[r.half] = from_float<T>(c * b + s * a);
    }
}

__global__ void
table_kernel(float2 *table, const float *freq, uint32_t half, uint32_t n,
             float scale)
{
    uint32_t at = blockIdx.x * blockDim.x + threadIdx.x;

    if (at < n * half)
        turn(freq[at % half], at / half, scale, &table[at].x, &table[at].y);
}

} // namespace

cudaError_t
cuda_rope(const cuda_launch *at, const kernel_rope_args *a)
{
    const Rope r = {ref_of(a->x),
                    ref_of(a->freq),
                    static_cast<uint32_t>(a->n_head),
                    static_cast<uint32_t>(a->d_head),
                    static_cast<uint32_t>(a->d_rot / 2),
                    a->scale};
    size_t n = static_cast<size_t>(at->max_row) * r.half;

    if (n == 0)
        return cudaSuccess;
    return with_type(a->x.type, [&](auto type) {
        rope_kernel<decltype(type)><<<dim3(ceil_div(n, THREADS), at->n_cell),
                                      THREADS, 0, at->stream>>>(r, at->cells);
    });
}

cudaError_t
cuda_rope_table(cudaStream_t stream, float *table, const kernel_rope_args *a,
                uint32_t n_position)
{
    uint32_t half = static_cast<uint32_t>(a->d_rot / 2);

    table_kernel<<<ceil_div(static_cast<size_t>(n_position) * half, 256), 256,
                   0, stream>>>(reinterpret_cast<float2 *>(table),
                                reinterpret_cast<float *>(ref_of(a->freq).base),
                                half, n_position, a->scale);
    return cudaGetLastError();
}
