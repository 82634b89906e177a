/* SPDX-License-Identifier: Apache-2.0 */
/* Where the operands of a cell lie, and numbers of every type as floats. */
#ifndef KERNELS_CUDA_VIEW_CUH
#define KERNELS_CUDA_VIEW_CUH

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "kernels/cuda/cuda.h"

using bf16 = __nv_bfloat16;

/* A view as kernels take it; everything in elements. */
struct Ref {
    char *base; /* NULL: there is none */
    size_t stride, ld;
    int by;
};

static inline Ref
ref_of(const kernel_view &v)
{
    Ref r = {nullptr, v.stride, v.ld, v.by};

    if (v.buf == nullptr)
        return r;
    const cuda_buf *buf = reinterpret_cast<const cuda_buf *>(v.buf);
    r.base = buf->data + v.offset * kernel_type_size(v.type);
    if (v.buf->use == KERNEL_SCRATCH)
        r.stride = buf->step / kernel_type_size(v.type);
    return r;
}

__device__ inline size_t
ref_index(const Ref &r, const kernel_cell &cell, uint32_t place)
{
    switch (r.by) {
    case KERNEL_BY_LAYER:
        return cell.layer;
    case KERNEL_BY_SLOT:
        return cell.slot;
    case KERNEL_BY_STATE:
        return cell.state;
    case KERNEL_BY_KV:
        return cell.kv;
    default:
        return place;
    }
}

/* The cell's item. */
template <class T>
__device__ inline T *
ref_item(const Ref &r, const kernel_cell &cell, uint32_t place)
{
    return reinterpret_cast<T *>(r.base) + ref_index(r, cell, place) * r.stride;
}

__device__ inline uint32_t
rows_of(const kernel_cell &cell, int rows)
{
    if (rows == KERNEL_ROWS_MEM)
        return cell.n_mem;
    return cell.n_row - (rows == KERNEL_ROWS_LATE ? cell.n_skip : 0);
}

/* The first of the rows that an operation takes, counted from the item's. */
__device__ inline size_t
row0_of(const Ref &r, const kernel_cell &cell, int rows)
{
    if (r.by != KERNEL_BY_SLOT)
        return rows == KERNEL_ROWS_LATE ? cell.n_skip : 0;
    return cell.row0 + cell.n_row - rows_of(cell, rows);
}

template <class T>
__device__ inline T *
ref_rows(const Ref &r, const kernel_cell &cell, uint32_t place, int rows)
{
    return ref_item<T>(r, cell, place) + row0_of(r, cell, rows) * r.ld;
}

__device__ inline float
to_float(float x)
{
    return x;
}
__device__ inline float
to_float(bf16 x)
{
    return __bfloat162float(x);
}
__device__ inline float
to_float(__half x)
{
    return __half2float(x);
}
__device__ inline float
to_float(int8_t x)
{
    return static_cast<float>(x);
}

template <class T> __device__ inline T from_float(float x);
template <>
__device__ inline float
from_float<float>(float x)
{
    return x;
}
template <>
__device__ inline bf16
from_float<bf16>(float x)
{
    return __float2bfloat16_rn(x);
}
template <>
__device__ inline __half
from_float<__half>(float x)
{
    return __float2half_rn(x);
}

/* Sum over a warp, the same in every lane and in a fixed order. */
__device__ inline float
warp_sum(float x)
{
    for (int lane = 16; lane > 0; lane >>= 1)
        x += __shfl_xor_sync(0xffffffffU, x, lane);
    return x;
}

__device__ inline float
warp_max(float x)
{
    for (int lane = 16; lane > 0; lane >>= 1)
        x = fmaxf(x, __shfl_xor_sync(0xffffffffU, x, lane));
    return x;
}

/* Sum over a block of N warps. */
template <int N>
__device__ inline float
block_sum(float x, float *shared)
{
    float sum = 0.0F;

    x = warp_sum(x);
    __syncthreads();
    if (threadIdx.x % 32 == 0)
        shared[threadIdx.x / 32] = x;
    __syncthreads();
    for (int i = 0; i < N; i++)
        sum += shared[i];
    return sum;
}

/* f(T{}) for the type that activations have. */
template <class F>
static inline cudaError_t
with_type(kernel_type type, F f)
{
    if (type == KERNEL_F32)
        f(float{});
    else if (type == KERNEL_BF16)
        f(bf16{});
    else
        return cudaErrorInvalidValue;
    return cudaGetLastError();
}

/* f(T{}) for the types that weights have beside these. */
template <class F>
static inline cudaError_t
with_weight_type(kernel_type type, F f)
{
    if (type == KERNEL_F16)
        f(__half{});
    else if (type == KERNEL_I8)
        f(int8_t{});
    else
        return with_type(type, f);
    return cudaGetLastError();
}

static inline uint32_t
ceil_div(size_t a, size_t b)
{
    return static_cast<uint32_t>((a + b - 1) / b);
}

#endif
