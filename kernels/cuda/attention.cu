/* SPDX-License-Identifier: Apache-2.0 */
/* Attention for any shape and type: a block a row and head, its warps share
 * the keys, and their softmaxes are joined at the end in a fixed order. */
#include "kernels/cuda/attention.cuh"

namespace
{

enum { WARPS = 4, MAX_PART = CUDA_MAX_HEAD / 32 };

/* One warp's softmax so far; a lane has every 32nd number of the output. */
struct Soft {
    float top, sum, out[MAX_PART];
};

/* Rows of keys and values; those before `end` are seen. */
template <class T> struct Keys {
    const T *k, *v;
    size_t ld_k, ld_v;
    uint32_t end;
};

/* Takes in keys first .. end - 1 of a block of 32, a key a lane. */
template <class T>
__device__ void
take(Soft &s, const Attention &a, const Keys<T> &keys, const float *q,
     uint32_t first)
{
    uint32_t lane = threadIdx.x % 32;
    float score = -INFINITY;

    if (first + lane < keys.end) {
        const T *row = keys.k + (first + lane) * keys.ld_k;

        score = 0.0F;
        for (uint32_t i = 0; i < a.d_head; i++)
            score = fmaf(q[i], to_float(row[i]), score);
        score *= a.scale;
    }
    float top = fmaxf(s.top, warp_max(score));
    float kept = expf(s.top - top);
    float p = expf(score - top); /* 0 where there is no key */

    s.sum = s.sum * kept + warp_sum(p);
    s.top = top;
#pragma unroll
    for (int i = 0; i < MAX_PART; i++)
        s.out[i] *= kept;
    for (uint32_t j = 0; j < min(32U, keys.end - first); j++) {
        float pj = __shfl_sync(0xffffffffU, p, j);
        const T *row = keys.v + (first + j) * keys.ld_v;

#pragma unroll
        for (int i = 0; i < MAX_PART; i++)
            if (i * 32 + lane < a.d_head)
                s.out[i] = fmaf(pj, to_float(row[i * 32 + lane]), s.out[i]);
    }
}

template <class T>
__global__ void
__launch_bounds__(WARPS * 32)
    attention_kernel(Attention a, uint32_t limit, const kernel_cell *cells)
{
    extern __shared__ float shared[]; /* q, then the outputs of the warps */
    __shared__ float tops[WARPS], sums[WARPS];
    const kernel_cell &cell = cells[blockIdx.z];
    uint32_t row = blockIdx.x, head = blockIdx.y, warp = threadIdx.x / 32;
    uint32_t lane = threadIdx.x % 32, kv0 = head / a.group * a.d_head;
    Soft s = {-INFINITY, 0.0F, {}};

    if (row >= cell.n_row || cell.n_row >= limit)
        return;
    const T *q = ref_rows<T>(a.q, cell, blockIdx.z, KERNEL_ROWS_ALL) +
                 row * a.q.ld + head * a.d_head;
    for (uint32_t i = threadIdx.x; i < a.d_head; i += WARPS * 32)
        shared[i] = to_float(q[i]);
    __syncthreads();
    const Seen seen = attention_seen(a, cell, row);
    const Keys<T> own = {
        ref_rows<T>(a.k, cell, blockIdx.z, KERNEL_ROWS_ALL) + kv0,
        ref_rows<T>(a.v, cell, blockIdx.z, KERNEL_ROWS_ALL) + kv0, a.k.ld,
        a.v.ld, seen.end};

    for (uint32_t at = seen.first + 32 * warp; at < seen.end; at += 32 * WARPS)
        take(s, a, own, shared, at);
    if (seen.window < seen.n_window) {
        const Keys<T> window = {ref_item<T>(a.window_k, cell, blockIdx.z) + kv0,
                                ref_item<T>(a.window_v, cell, blockIdx.z) + kv0,
                                a.window_k.ld, a.window_v.ld, seen.n_window};

        for (uint32_t at = seen.window + 32 * warp; at < seen.n_window;
             at += 32 * WARPS)
            take(s, a, window, shared, at);
    }
    float *outs = shared + a.d_head;
    tops[warp] = s.top;
    sums[warp] = s.sum;
    for (int i = 0; i < MAX_PART; i++)
        if (i * 32 + lane < a.d_head)
            outs[warp * a.d_head + i * 32 + lane] = s.out[i];
    __syncthreads();
    float top = tops[0], sum = 0.0F;
    for (int w = 1; w < WARPS; w++)
        top = fmaxf(top, tops[w]);
    for (int w = 0; w < WARPS; w++)
        sum += sums[w] * expf(tops[w] - top);
    T *out = ref_rows<T>(a.out, cell, blockIdx.z, KERNEL_ROWS_ALL) +
             row * a.out.ld + head * a.d_head;
    for (uint32_t i = threadIdx.x; i < a.d_head; i += WARPS * 32) {
        float o = 0.0F;

        for (int w = 0; w < WARPS; w++)
            o += outs[w * a.d_head + i] * expf(tops[w] - top);
        out[i] = from_float<T>(o / sum);
    }
}

} // namespace

cudaError_t
cuda_attention(const cuda_launch *at, const kernel_attention_args *args,
               uint32_t limit)
{
    const Attention a = attention_of(args);
    dim3 grid(at->max_row < limit ? at->max_row : limit - 1,
              static_cast<uint32_t>(args->n_head), at->n_cell);
    size_t shared = (1 + WARPS) * args->d_head * sizeof(float);

    if (args->d_head > CUDA_MAX_HEAD)
        return cudaErrorInvalidValue;
    return with_type(args->q.type, [&](auto type) {
        attention_kernel<decltype(type)>
            <<<grid, WARPS * 32, shared, at->stream>>>(a, limit, at->cells);
    });
}
