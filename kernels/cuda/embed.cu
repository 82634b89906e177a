/* SPDX-License-Identifier: Apache-2.0 */
/* Rows that enter the model: prefixes, tokens, memory tokens, positions. */
#include "kernels/cuda/view.cuh"

namespace
{

struct Embed {
    Ref x, ids, table, prefix, memory, carried, position;
    uint32_t table_type, mem_pos;
    size_t d;
};

__device__ float
table_at(const Embed &e, size_t at)
{
    if (e.table_type == KERNEL_BF16)
        return to_float(reinterpret_cast<const bf16 *>(e.table.base)[at]);
    if (e.table_type == KERNEL_F16)
        return to_float(reinterpret_cast<const __half *>(e.table.base)[at]);
    return reinterpret_cast<const float *>(e.table.base)[at];
}

/* Of a row that is no token: row `at` of what is carried, or of `own`. */
template <class T>
__device__ float
other_at(const Embed &e, const Ref &own, const kernel_cell &cell,
         uint32_t place, uint32_t at, size_t col)
{
    if (e.carried.base != nullptr && cell.fresh == 0)
        return ref_item<float>(e.carried, cell, place)[at * e.carried.ld + col];
    return to_float(reinterpret_cast<const T *>(own.base)[at * own.ld + col]);
}

template <class T>
__global__ void
embed_kernel(Embed e, const kernel_cell *cells)
{
    const kernel_cell &cell = cells[blockIdx.y];
    uint32_t row = blockIdx.x, mem0 = cell.n_row - cell.n_mem;
    uint32_t pos = cell.pos + row;

    if (row >= cell.n_row)
        return;
    T *x = ref_rows<T>(e.x, cell, blockIdx.y, KERNEL_ROWS_ALL) + row * e.x.ld;
    const int32_t *ids = ref_item<int32_t>(e.ids, cell, blockIdx.y);
    if (row >= mem0 && e.mem_pos > 0)
        pos = e.mem_pos + row - mem0;
    for (size_t i = threadIdx.x; i < e.d; i += blockDim.x) {
        float value;

        if (row < cell.n_prefix)
            value = other_at<T>(e, e.prefix, cell, blockIdx.y, row, i);
        else if (row >= mem0)
            value = other_at<T>(e, e.memory, cell, blockIdx.y, row - mem0, i);
        else
            value = table_at(
                e, static_cast<size_t>(ids[cell.row0 + row - cell.n_prefix]) *
                           e.table.ld +
                       i);
        if (e.position.base != nullptr)
            value += to_float(reinterpret_cast<const T *>(
                e.position.base)[pos * e.position.ld + i]);
        x[i] = from_float<T>(value);
    }
}

} // namespace

cudaError_t
cuda_embed(const cuda_launch *at, const kernel_embed_args *a)
{
    const Embed e = {ref_of(a->x),        ref_of(a->ids),
                     ref_of(a->table),    ref_of(a->prefix),
                     ref_of(a->memory),   ref_of(a->carried),
                     ref_of(a->position), static_cast<uint32_t>(a->table.type),
                     a->mem_pos,          a->d};

    return with_type(a->x.type, [&](auto type) {
        embed_kernel<decltype(type)>
            <<<dim3(at->max_row, at->n_cell), 256, 0, at->stream>>>(e,
                                                                    at->cells);
    });
}
