/* SPDX-License-Identifier: Apache-2.0 */
/* GELU by the error function or by tanh. */
#include "kernels/cuda/view.cuh"

namespace
{

enum { THREADS = 256 };

__device__ float
gelu(float x, bool by_tanh)
{
    if (!by_tanh)
        return 0.5F * x * (1.0F + erff(x * 0.70710678118654752F));
    return 0.5F * x *
           (1.0F + tanhf(0.79788456080286536F * (x + 0.044715F * x * x * x)));
}

template <class T>
__global__ void
__launch_bounds__(THREADS) gelu_kernel(Ref out, Ref x, size_t d, bool by_tanh,
                                       const kernel_cell *cells)
{
    const kernel_cell &cell = cells[blockIdx.z];
    uint32_t row = blockIdx.x;
    size_t i = static_cast<size_t>(blockIdx.y) * THREADS + threadIdx.x;

    if (row >= cell.n_row || i >= d)
        return;
    float in = to_float(
        ref_rows<T>(x, cell, blockIdx.z, KERNEL_ROWS_ALL)[row * x.ld + i]);

    ref_rows<T>(out, cell, blockIdx.z, KERNEL_ROWS_ALL)[row * out.ld + i] =
        from_float<T>(gelu(in, by_tanh));
}

} // namespace

cudaError_t
cuda_gelu(const cuda_launch *at, const device_op *op)
{
    size_t d = op->u.gelu.d;

    return with_type(op->u.gelu.out.type, [&](auto type) {
        gelu_kernel<decltype(type)>
            <<<dim3(at->max_row, ceil_div(d, THREADS), at->n_cell), THREADS, 0,
               at->stream>>>(ref_of(op->u.gelu.out), ref_of(op->u.gelu.x), d,
                             op->u.gelu.by_tanh, at->cells);
    });
}
