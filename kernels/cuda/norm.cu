/* SPDX-License-Identifier: Apache-2.0 */
/* Root mean square and layer normalisation, one block a piece of a row. */
#include "kernels/cuda/view.cuh"

namespace
{

enum { THREADS = 256, WARPS = THREADS / 32, MAX_VECTOR = 4 };

struct Norm {
    Ref out, x, w, bias;
    size_t d, n_head;
    float eps;
    int rows;
};

/* Any width and alignment: the row is read again for every sum. */
template <class T, class TO, bool CENTRED>
__global__ void
__launch_bounds__(THREADS) norm_plain(Norm n, const kernel_cell *cells)
{
    __shared__ float shared[WARPS];
    const kernel_cell &cell = cells[blockIdx.z];
    uint32_t row = blockIdx.x;
    float sum = 0.0F, squares = 0.0F, mean = 0.0F;

    if (row >= rows_of(cell, n.rows))
        return;
    const T *x = ref_rows<T>(n.x, cell, blockIdx.z, n.rows) + row * n.x.ld +
                 blockIdx.y * n.d;
    TO *out = ref_rows<TO>(n.out, cell, blockIdx.z, n.rows) + row * n.out.ld +
              blockIdx.y * n.d;
    const T *w = ref_item<T>(n.w, cell, blockIdx.z);
    const T *bias = ref_item<T>(n.bias, cell, blockIdx.z);
    if (CENTRED) {
        for (size_t i = threadIdx.x; i < n.d; i += THREADS)
            sum += to_float(x[i]);
        mean = block_sum<WARPS>(sum, shared) / static_cast<float>(n.d);
    }
    for (size_t i = threadIdx.x; i < n.d; i += THREADS) {
        float a = to_float(x[i]) - mean;

        squares += a * a;
    }
    squares = block_sum<WARPS>(squares, shared);
    float root = sqrtf(squares / static_cast<float>(n.d) + n.eps);
    for (size_t i = threadIdx.x; i < n.d; i += THREADS) {
        float a = to_float(w[i]) * ((to_float(x[i]) - mean) / root);

        out[i] =
            from_float<TO>(n.bias.base != nullptr ? a + to_float(bias[i]) : a);
    }
}

struct alignas(16) Eight {
    bf16 at[8];
};

/* Rows of bf16 whose pieces of eight lie at multiples of 16 bytes; the row
 * stays in registers. */
template <int N>
__global__ void
__launch_bounds__(THREADS) rmsnorm_bf16(Norm n, const kernel_cell *cells)
{
    __shared__ float shared[WARPS];
    const kernel_cell &cell = cells[blockIdx.z];
    uint32_t row = blockIdx.x;
    Eight x[N];
    float squares = 0.0F;

    if (row >= rows_of(cell, n.rows))
        return;
    const Eight *in = reinterpret_cast<const Eight *>(
        ref_rows<bf16>(n.x, cell, blockIdx.z, n.rows) + row * n.x.ld +
        blockIdx.y * n.d);
    Eight *out = reinterpret_cast<Eight *>(
        ref_rows<bf16>(n.out, cell, blockIdx.z, n.rows) + row * n.out.ld +
        blockIdx.y * n.d);
    const Eight *w =
        reinterpret_cast<const Eight *>(ref_item<bf16>(n.w, cell, blockIdx.z));
#pragma unroll
    for (int j = 0; j < N; j++) {
        size_t at = threadIdx.x + j * THREADS;

        if (at * 8 >= n.d)
            continue;
        x[j] = in[at];
#pragma unroll
        for (int i = 0; i < 8; i++) {
            float a = to_float(x[j].at[i]);

            squares += a * a;
        }
    }
    squares = block_sum<WARPS>(squares, shared);
    float factor = 1.0F / sqrtf(squares / static_cast<float>(n.d) + n.eps);
#pragma unroll
    for (int j = 0; j < N; j++) {
        size_t at = threadIdx.x + j * THREADS;

        if (at * 8 >= n.d)
            continue;
        Eight scale = w[at], y;
#pragma unroll
        for (int i = 0; i < 8; i++)
            y.at[i] = from_float<bf16>(to_float(scale.at[i]) *
                                       (to_float(x[j].at[i]) * factor));
        out[at] = y;
    }
}

bool
is_aligned(const Ref &r)
{
    return reinterpret_cast<uintptr_t>(r.base) % 16 == 0 && r.stride % 8 == 0 &&
           r.ld % 8 == 0;
}

} // namespace

cudaError_t
cuda_norm(const cuda_launch *at, const kernel_norm_args *a, bool centred)
{
    const Norm n = {ref_of(a->out), ref_of(a->x), ref_of(a->w), ref_of(a->bias),
                    a->d,           a->n_head,    a->eps,       a->rows};
    uint32_t n_row = a->rows == KERNEL_ROWS_MEM ? at->max_mem : at->max_row;
    dim3 grid(n_row, static_cast<uint32_t>(a->n_head), at->n_cell);
    uint32_t n_vector = ceil_div(a->d, 8 * THREADS);

    if (n_row == 0)
        return cudaSuccess;
    if (!centred && a->x.type == KERNEL_BF16 && a->out.type == KERNEL_BF16 &&
        a->d % 8 == 0 && n_vector <= MAX_VECTOR && is_aligned(n.x) &&
        is_aligned(n.out) && is_aligned(n.w)) {
        if (n_vector == 1)
            rmsnorm_bf16<1><<<grid, THREADS, 0, at->stream>>>(n, at->cells);
        else if (n_vector == 2)
            rmsnorm_bf16<2><<<grid, THREADS, 0, at->stream>>>(n, at->cells);
        else
            rmsnorm_bf16<MAX_VECTOR>
                <<<grid, THREADS, 0, at->stream>>>(n, at->cells);
        return cudaGetLastError();
    }
    return with_type(a->x.type, [&](auto x) {
        using T = decltype(x);
        with_type(a->out.type, [&](auto out) {
            using TO = decltype(out);
            if (centred)
                norm_plain<T, TO, true>
                    <<<grid, THREADS, 0, at->stream>>>(n, at->cells);
            else
                norm_plain<T, TO, false>
                    <<<grid, THREADS, 0, at->stream>>>(n, at->cells);
        });
    });
}
