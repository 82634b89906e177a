/* SPDX-License-Identifier: Apache-2.0 */
/* The feature map of the associative memory, one warp a head of a row. */
#include "kernels/cuda/view.cuh"

namespace
{

enum { WARPS = 4 };
static_assert(WARPS * 2 * CUDA_MAX_FEATURE * sizeof(float) <= 48 << 10,
              "what a block has without asking for more");

struct Dpfp {
    Ref out, x;
    uint32_t w, n_head; /* w: of a head */
    bool l2_norm;
    int rows;
};

__global__ void
__launch_bounds__(WARPS * 32) dpfp_kernel(Dpfp f, const kernel_cell *cells)
{
    extern __shared__ float shared[];
    const kernel_cell &cell = cells[blockIdx.y];
    uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    uint32_t at = blockIdx.x * WARPS + warp;
    uint32_t row = at / f.n_head, head = at % f.n_head, w2 = 2 * f.w;
    float *u = shared + warp * w2;
    float factor = 1.0F;

    if (row >= rows_of(cell, f.rows))
        return;
    const float *x = ref_rows<float>(f.x, cell, blockIdx.y, f.rows) +
                     row * f.x.ld + head * f.w;
    float *out = ref_rows<float>(f.out, cell, blockIdx.y, f.rows) +
                 row * f.out.ld + head * 6 * f.w;
    for (uint32_t i = lane; i < f.w; i += 32) {
        u[i] = fmaxf(x[i], 0.0F);
        u[f.w + i] = fmaxf(-x[i], 0.0F);
    }
    __syncwarp();
    if (f.l2_norm) {
        float squares = 0.0F;

        for (uint32_t i = lane; i < w2; i += 32)
            for (uint32_t j = 1; j <= 3; j++) {
                float p = u[i] * u[(i + 3 * w2 - j) % w2];

                squares += p * p;
            }
        factor = 1.0F / fmaxf(sqrtf(warp_sum(squares)), 1e-12F);
    }
    for (uint32_t i = lane; i < w2; i += 32)
        for (uint32_t j = 1; j <= 3; j++)
            out[(j - 1) * w2 + i] = u[i] * u[(i + 3 * w2 - j) % w2] * factor;
}

} // namespace

cudaError_t
cuda_dpfp(const cuda_launch *at, const kernel_dpfp_args *a)
{
    const Dpfp f = {ref_of(a->out),
                    ref_of(a->x),
                    static_cast<uint32_t>(a->d_mem / a->n_head),
                    static_cast<uint32_t>(a->n_head),
                    a->l2_norm,
                    a->rows};
    uint32_t n_row = a->rows == KERNEL_ROWS_MEM ? at->max_mem : at->max_row;
    size_t shared = WARPS * 2 * f.w * sizeof(float);

    if (n_row == 0)
        return cudaSuccess;
    if (f.w > CUDA_MAX_FEATURE)
        return cudaErrorInvalidValue;
    dpfp_kernel<<<dim3(ceil_div(static_cast<size_t>(n_row) * f.n_head, WARPS),
                       at->n_cell),
                  WARPS * 32, shared, at->stream>>>(f, at->cells);
    return cudaGetLastError();
}
