/* SPDX-License-Identifier: Apache-2.0 */
/* SwiGLU of a product that holds gates and values side by side. */
#include "kernels/cuda/view.cuh"

namespace
{

enum { THREADS = 256 };

template <class T>
__global__ void
__launch_bounds__(THREADS)
    swiglu_kernel(Ref out, Ref gate_up, size_t d, const kernel_cell *cells)
{
    const kernel_cell &cell = cells[blockIdx.z];
    uint32_t row = blockIdx.x;
    size_t i = static_cast<size_t>(blockIdx.y) * THREADS + threadIdx.x;

    if (row >= cell.n_row || i >= d)
        return;
    const T *in = ref_rows<T>(gate_up, cell, blockIdx.z, KERNEL_ROWS_ALL) +
                  row * gate_up.ld;
    float gate = to_float(in[i]), up = to_float(in[d + i]);

    ref_rows<T>(out, cell, blockIdx.z, KERNEL_ROWS_ALL)[row * out.ld + i] =
        from_float<T>(gate / (1.0F + expf(-gate)) * up);
}

} // namespace

cudaError_t
cuda_swiglu(const cuda_launch *at, const device_op *op)
{
    size_t d = op->u.swiglu.d;

    return with_type(op->u.swiglu.out.type, [&](auto type) {
        swiglu_kernel<decltype(type)>
            <<<dim3(at->max_row, ceil_div(d, THREADS), at->n_cell), THREADS, 0,
               at->stream>>>(ref_of(op->u.swiglu.out),
                             ref_of(op->u.swiglu.gate_up), d, at->cells);
    });
}
