/* SPDX-License-Identifier: Apache-2.0 */
/* Key and value rows into a cache, or into the window of the next segment. */
#include "kernels/cuda/view.cuh"

namespace
{

struct Kv {
    Ref to[2], from[2];
    size_t d;
    bool keep;
};

template <class T>
__global__ void
kv_kernel(Kv kv, const kernel_cell *cells)
{
    const kernel_cell &cell = cells[blockIdx.y];
    uint32_t row = blockIdx.x, from = row, to = cell.n_past + row;
    uint32_t n = cell.n_row;

    if (kv.keep) {
        n = cell.n_row - cell.n_prefix - cell.n_mem;
        from = cell.n_prefix + row;
        to = row;
    }
    if (row >= n)
        return;
    for (int i = 0; i < 2; i++) {
        const T *in =
            ref_rows<T>(kv.from[i], cell, blockIdx.y, KERNEL_ROWS_ALL) +
            from * kv.from[i].ld;
        T *out = ref_item<T>(kv.to[i], cell, blockIdx.y) + to * kv.to[i].ld;

        for (size_t j = threadIdx.x; j < kv.d; j += blockDim.x)
            out[j] = in[j];
    }
}

} // namespace

cudaError_t
cuda_kv(const cuda_launch *at, const device_op *op)
{
    const Kv kv = {{ref_of(op->u.kv.k_to), ref_of(op->u.kv.v_to)},
                   {ref_of(op->u.kv.k), ref_of(op->u.kv.v)},
                   op->u.kv.d_kv,
                   op->kind == DEVICE_KV_KEEP};

    return with_type(op->u.kv.k.type, [&](auto type) {
        kv_kernel<decltype(type)>
            <<<dim3(at->max_row, at->n_cell), 128, 0, at->stream>>>(kv,
                                                                    at->cells);
    });
}
