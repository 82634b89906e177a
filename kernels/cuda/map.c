/* SPDX-License-Identifier: Apache-2.0 */
/* Tensor maps: views as Hopper's copy engine takes them. */
#include <string.h>

#include "kernels/cuda/host.h"

enum { COLS = 64 }; /* of a box: 128 bytes, the width of the swizzle */

status
cuda_map_open(cuda_encode **out)
{
    enum cudaDriverEntryPointQueryResult found;
    void *entry = NULL;
    cudaError_t code;

#if CUDART_VERSION >= 12050
    code = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &entry,
                                            12000, cudaEnableDefault, &found);
#else
    code = cudaGetDriverEntryPoint("cuTensorMapEncodeTiled", &entry,
                                   cudaEnableDefault, &found);
#endif
    if (code != cudaSuccess || found != cudaDriverEntryPointSuccess)
        entry = NULL; /* the plain kernels need none */
    (void)cudaGetLastError();
    memcpy(out, &entry, sizeof entry);
    return ST_OK;
}

/* Whole rows that every item has at least, and items. */
static void
extent(const cuda_view_rows *r, size_t *n_row, size_t *n_item)
{
    const kernel_view *v = r->view;
    bool scratch = v->buf->use == KERNEL_SCRATCH;
    size_t room = v->buf->bytes / kernel_type_size(v->type) - v->offset;
    size_t last = room;

    *n_item = scratch ? v->buf->n_item : 1;
    if (!scratch && v->stride > 0) {
        *n_item = (room + v->stride - 1) / v->stride;
        last = room - (*n_item - 1) * v->stride;
        last = last < v->stride ? last : v->stride;
    }
    if (last<r->n_col && * n_item> 1) { /* a tail that is no item */
        (*n_item)--;
        last = v->stride;
    }
    *n_row = last < r->n_col ? 0 : (last - r->n_col) / v->ld + 1;
}

bool
cuda_map_view(CUtensorMap *out, cuda_encode *encode, const cuda_view_rows *r,
              uint32_t box_rows)
{
    const kernel_view *v = r->view;
    const cuda_buf *buf = (const cuda_buf *)v->buf;
    size_t stride = v->stride * sizeof(uint16_t), n_row, n_item;
    char *base = buf->data + v->offset * sizeof(uint16_t);

    if (encode == NULL || v->type != KERNEL_BF16)
        return false;
    extent(r, &n_row, &n_item);
    if (v->buf->use == KERNEL_SCRATCH)
        stride = buf->step;
    if (stride == 0)
        stride = 16;
    if (n_row < r->n_row || n_item == 0 || stride % 16 != 0 || v->ld % 8 != 0 ||
        (uintptr_t)base % 16 != 0)
        return false;
    if (r->exact)
        n_row = r->n_row;
    const cuuint64_t dims[3] = {r->n_col, n_row, n_item};
    const cuuint64_t steps[2] = {v->ld * sizeof(uint16_t), stride};
    const cuuint32_t box[3] = {COLS, box_rows, 1}, one[3] = {1, 1, 1};
    return encode(out, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 3, base, dims, steps,
                  box, one, CU_TENSOR_MAP_INTERLEAVE_NONE,
                  CU_TENSOR_MAP_SWIZZLE_128B,
                  CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                  CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS;
}
