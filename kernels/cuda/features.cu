/* SPDX-License-Identifier: Apache-2.0 */
/* What the associative memory needs around its products in split bf16: a
 * number x is high + low with high = bf16(x) and low = bf16(x - high), and
 * x y is high high + low high + high low, exact to about 2^-17. */
#include "kernels/cuda/fast.h"
#include "kernels/cuda/view.cuh"

namespace
{

enum { WARPS = 4, TILE = 32 };

struct Features {
    Ref proj, z, out, across;
    uint32_t w;
    bool l2_norm, correction, is_write, divide;
    float4 *den; /* denominator, gate of z, factor of the features */
    uint32_t m_pad, max_mem;
};

__device__ inline void
split(float x, bf16 *high, bf16 *low)
{
    *high = from_float<bf16>(x);
    *low = from_float<bf16>(x - to_float(*high));
}

/* u of a row: positive parts, then negative ones. */
__device__ inline void
parts(float *u, const float *x, uint32_t w)
{
    for (uint32_t i = threadIdx.x % 32; i < w; i += 32) {
        float a = x != nullptr ? x[i] : 0.0F;

        u[i] = fmaxf(a, 0.0F);
        u[w + i] = fmaxf(-a, 0.0F);
    }
    __syncwarp();
}

/* u[i] u[i - j], feature number (j - 1) 2 w + i. */
__device__ inline float
feature(const float *u, uint32_t w2, uint32_t i, uint32_t j)
{
    return u[i] * u[i >= j ? i - j : i + w2 - j];
}

__global__ void
__launch_bounds__(WARPS * 32)
    features_kernel(Features f, const kernel_cell *cells)
{
    extern __shared__ float shared[];
    const kernel_cell &cell = cells[blockIdx.y];
    uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32, w2 = 2 * f.w;
    uint32_t row = blockIdx.x * WARPS + warp;
    int rows = f.is_write ? KERNEL_ROWS_MEM : KERNEL_ROWS_ALL;
    bool there = row < rows_of(cell, rows);
    float *u = shared + warp * w2;
    float factor = 1.0F, squares = 0.0F, dot = 0.0F, gate = 1.0F;

    if (cell.bare != 0 || (!there && !(f.is_write && row < f.m_pad)) ||
        (!f.is_write && cell.fresh != 0))
        return;
    parts(u,
          there ? ref_rows<float>(f.proj, cell, blockIdx.y, rows) +
                      row * f.proj.ld
                : nullptr,
          f.w);
    const float *z = ref_item<float>(f.z, cell, blockIdx.y);
    for (uint32_t i = lane; i < w2; i += 32)
#pragma unroll
        for (uint32_t j = 1; j <= 3; j++) {
            float p = feature(u, w2, i, j);

            squares = fmaf(p, p, squares);
            if (f.divide)
                dot = fmaf(z[(j - 1) * w2 + i], p, dot);
        }
    squares = warp_sum(squares);
    dot = warp_sum(dot);
    if (f.l2_norm)
        factor = 1.0F / fmaxf(sqrtf(squares), 1e-12F);
    float den = f.divide ? dot * factor + 1e-5F : 1.0F;
    if (f.is_write) {
        if (cell.fresh == 0 && f.correction && f.divide) {
            float norm = squares * factor * factor + (f.l2_norm ? 0.0F : 1e-5F);

            gate = norm == 0.0F ? 0.0F
                                : fminf(fmaxf(1.0F - den / norm, 0.0F), 1.0F);
        }
        if (there && lane == 0)
            f.den[static_cast<size_t>(blockIdx.y) * f.max_mem + row] =
                make_float4(den, gate, factor, 0.0F);
    } else {
        factor /= den;
    }
    bf16 *out = ref_item<bf16>(f.out, cell, blockIdx.y) + row * f.out.ld;
    bf16 *across = ref_item<bf16>(f.across, cell, blockIdx.y) + row;
    for (uint32_t i = 2 * lane; i < w2; i += 64)
#pragma unroll
        for (uint32_t j = 1; j <= 3; j++) {
            __nv_bfloat162 high, low;
            uint32_t at = (j - 1) * w2 + i;

            split(feature(u, w2, i, j) * factor, &high.x, &low.x);
            split(feature(u, w2, i + 1, j) * factor, &high.y, &low.y);
            if (there) {
                *reinterpret_cast<__nv_bfloat162 *>(out + at) = high;
                *reinterpret_cast<__nv_bfloat162 *>(out + 3 * w2 + at) = low;
            }
            if (f.is_write) {
                bf16 *to = across + at * f.across.ld;

                to[0] = high.x;
                to[f.m_pad] = low.x;
                to[f.across.ld] = high.y;
                to[f.across.ld + f.m_pad] = low.y;
            }
        }
}

/* An A in bf16 has no low part. */
__device__ inline void
put(float x, bf16 *at, uint32_t dk)
{
    split(x, &at[0], &at[dk]);
}

__device__ inline void
put(bf16 x, bf16 *at, uint32_t)
{
    at[0] = x;
}

template <class T>
__global__ void
split_kernel(Ref A, Ref out, uint32_t dk, uint32_t d, const kernel_cell *cells)
{
    __shared__ T tile[TILE][TILE + 4 / sizeof(T)];
    const kernel_cell &cell = cells[blockIdx.z];
    uint32_t k0 = blockIdx.x * TILE, c0 = blockIdx.y * TILE;

    if (cell.fresh != 0 || cell.bare != 0)
        return;
    const T *from = ref_item<T>(A, cell, blockIdx.z);
    bf16 *to = ref_item<bf16>(out, cell, blockIdx.z);
    for (uint32_t r = threadIdx.y; r < TILE; r += blockDim.y)
        if (k0 + r < dk && c0 + threadIdx.x < d)
            tile[r][threadIdx.x] = from[(k0 + r) * A.ld + c0 + threadIdx.x];
    __syncthreads();
    for (uint32_t r = threadIdx.y; r < TILE; r += blockDim.y)
        if (c0 + r < d && k0 + threadIdx.x < dk) {
            put(tile[threadIdx.x][r], to + (c0 + r) * out.ld + k0 + threadIdx.x,
                dk);
        }
}

/* In fp32 from the projections again, in the order of the rows. */
__global__ void
update_z_kernel(Features f, const kernel_cell *cells)
{
    const kernel_cell &cell = cells[blockIdx.y];
    uint32_t at = blockIdx.x * blockDim.x + threadIdx.x, w2 = 2 * f.w;
    uint32_t i = at % w2, j = at / w2 + 1, i2 = i >= j ? i - j : i + w2 - j;
    float sum = 0.0F;

    if (at >= 3 * w2 || cell.n_mem == 0 || cell.bare != 0)
        return;
    const float *x = ref_item<float>(f.proj, cell, blockIdx.y);
    const float4 *den = f.den + static_cast<size_t>(blockIdx.y) * f.max_mem;
#pragma unroll 8
    for (uint32_t m = 0; m < cell.n_mem; m++, x += f.proj.ld) {
        float a = i < f.w ? x[i] : -x[i - f.w];
        float b = i2 < f.w ? x[i2] : -x[i2 - f.w];

        sum = fmaf(den[m].y * den[m].z, fmaxf(a, 0.0F) * fmaxf(b, 0.0F), sum);
    }
    ref_item<float>(f.z, cell, blockIdx.y)[at] += sum;
}

Features
features_of(const cuda_launch *at, const cuda_features *f)
{
    return {ref_of(f->proj),
            ref_of(f->z),
            ref_of(f->out),
            ref_of(f->across),
            f->d_mem,
            f->l2_norm,
            f->correction,
            f->is_write,
            f->z.buf != nullptr,
            reinterpret_cast<float4 *>(f->den),
            f->m_pad,
            at->max_mem};
}

} // namespace

cudaError_t
cuda_features_run(const cuda_launch *at, const cuda_features *f)
{
    uint32_t n_row = f->is_write ? f->m_pad : at->max_row;

    features_kernel<<<dim3(ceil_div(n_row, WARPS), at->n_cell), WARPS * 32,
                      WARPS * 2 * f->d_mem * sizeof(float), at->stream>>>(
        features_of(at, f), at->cells);
    return cudaGetLastError();
}

cudaError_t
cuda_split_run(const cuda_launch *at, const kernel_assoc *mem,
               const kernel_view *out)
{
    uint32_t dk = static_cast<uint32_t>(mem->d_key);
    uint32_t d = static_cast<uint32_t>(mem->d_model);

    return with_type(mem->A.type, [&](auto type) {
        split_kernel<decltype(type)>
            <<<dim3(ceil_div(dk, TILE), ceil_div(d, TILE), at->n_cell),
               dim3(TILE, 8), 0, at->stream>>>(ref_of(mem->A), ref_of(*out), dk,
                                               d, at->cells);
    });
}

cudaError_t
cuda_update_z(const cuda_launch *at, const cuda_features *f)
{
    update_z_kernel<<<dim3(ceil_div(6 * f->d_mem, 128), at->n_cell), 128, 0,
                      at->stream>>>(features_of(at, f), at->cells);
    return cudaGetLastError();
}
