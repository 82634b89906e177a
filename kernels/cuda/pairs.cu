/* SPDX-License-Identifier: Apache-2.0 */
/* Products of bf16 for any shape whose columns go in pairs into what is behind
 * them, gates with their values, or the two numbers of a head that turn
 * together: only what comes out is rounded. */
#include "kernels/cuda/plain.cuh"

namespace
{

enum { PAIRS = PLAIN_TILE / 2, PART = PLAIN_PART / 2 }; /* a tile, a thread */

/* Columns are pieces of 2 half, in which i and half + i are a pair. */
struct Pairs {
    Ref out, x, w, bias;
    const float2 *turns; /* [position, half] cos and sin */
    uint32_t n, half, k; /* n: pairs */
    int rows;
};

/* The two numbers of a pair turn, or they are a gate and its value. */
template <bool TURN>
__global__ void
__launch_bounds__(PLAIN_THREADS) pairs_kernel(Pairs p, const kernel_cell *cells)
{
    const kernel_cell &cell = cells[blockIdx.z];
    uint32_t row0 = blockIdx.x * PLAIN_TILE, pair0 = blockIdx.y * PAIRS;
    uint32_t m = rows_of(cell, p.rows), t = threadIdx.x;
    __shared__ uint32_t columns[PLAIN_TILE];
    float sum[PLAIN_PART][PLAIN_PART];

    if (row0 >= m)
        return;
    /* The first columns of all pairs, then their second ones, so that a thread
     * has both of each. */
    if (t < PLAIN_TILE) {
        uint32_t i = pair0 + t % PAIRS;

        columns[t] = i < p.n ? i + (i / p.half + t / PAIRS) * p.half : 2 * p.n;
    }
    __syncthreads();
    const PlainOperands<bf16, bf16> o = {
        ref_rows<bf16>(p.x, cell, blockIdx.z, p.rows),
        ref_item<bf16>(p.w, cell, blockIdx.z),
        p.x.ld,
        1,
        p.w.ld,
        1,
        m,
        2 * p.n,
        p.k};
    const bf16 *bias = ref_item<bf16>(p.bias, cell, blockIdx.z);
    bf16 *out = ref_rows<bf16>(p.out, cell, blockIdx.z, p.rows);

    plain_columns(
        o, row0, [&](uint32_t c) { return columns[c]; }, sum);
    for (int i = 0; i < PLAIN_PART; i++)
        for (int j = 0; j < PART; j++) {
            uint32_t row = row0 + t / 16 + 16 * i;
            uint32_t c = columns[t % 16 + 16 * j];
            float a = sum[i][j], b = sum[i][PART + j];

            if (row >= m || c >= 2 * p.n)
                continue;
            if (p.bias.base != nullptr) {
                a += to_float(bias[c]);
                b += to_float(bias[c + p.half]);
            }
            bf16 *to = out + row * p.out.ld + c;
            if (TURN) {
                const float2 turn =
                    p.turns[static_cast<size_t>(cell.pos + row) * p.half +
                            c % (2 * p.half)];

                to[0] = from_float<bf16>(turn.x * a - turn.y * b);
                to[p.half] = from_float<bf16>(turn.x * b + turn.y * a);
            } else {
                to[0] = from_float<bf16>(a / (1.0F + expf(-a)) * b);
            }
        }
}

template <bool TURN>
cudaError_t
launch(const cuda_launch *at, const Pairs &p)
{
    dim3 grid(ceil_div(at->max_row, PLAIN_TILE), ceil_div(p.n, PAIRS),
              at->n_cell);

    if (at->max_row == 0)
        return cudaSuccess;
    pairs_kernel<TURN><<<grid, PLAIN_THREADS, 0, at->stream>>>(p, at->cells);
    return cudaGetLastError();
}

} // namespace

cudaError_t
cuda_pairs_swiglu(const cuda_launch *at, const kernel_linear_args *a,
                  const kernel_view *out)
{
    const uint32_t n = static_cast<uint32_t>(a->n / 2);

    return launch<false>(at, {ref_of(*out), ref_of(a->x), ref_of(a->w),
                              ref_of(a->bias), nullptr, n, n,
                              static_cast<uint32_t>(a->k), a->rows});
}

cudaError_t
cuda_pairs_rope(const cuda_launch *at, const kernel_linear_args *a,
                const float *turns, size_t half, size_t n_rot)
{
    cudaError_t code = launch<true>(
        at, {ref_of(a->out), ref_of(a->x), ref_of(a->w), ref_of(a->bias),
             reinterpret_cast<const float2 *>(turns),
             static_cast<uint32_t>(n_rot / 2), static_cast<uint32_t>(half),
             static_cast<uint32_t>(a->k), a->rows});
    kernel_linear_args rest = *a;

    rest.n -= n_rot;
    rest.out.offset += n_rot;
    rest.w.offset += n_rot * rest.w.ld;
    rest.bias.offset += n_rot;
    return code != cudaSuccess || rest.n == 0 ? code : cuda_linear(at, &rest);
}
