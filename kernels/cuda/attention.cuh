/* SPDX-License-Identifier: Apache-2.0 */
/* What a row of an attention sees: two runs of keys, whatever the options. */
#ifndef KERNELS_CUDA_ATTENTION_CUH
#define KERNELS_CUDA_ATTENTION_CUH

#include "kernels/cuda/view.cuh"

struct Attention {
    Ref out, q, k, v, window_k, window_v;
    uint32_t d_head, group; /* query heads of a key/value head */
    float scale;
    uint32_t n_sink, span;
    bool open_mem, cached;
};

static inline Attention
attention_of(const kernel_attention_args *a)
{
    return {ref_of(a->out),
            ref_of(a->q),
            ref_of(a->k),
            ref_of(a->v),
            ref_of(a->window_k),
            ref_of(a->window_v),
            static_cast<uint32_t>(a->d_head),
            static_cast<uint32_t>(a->n_head / a->n_kv),
            a->scale,
            a->n_sink,
            a->span,
            a->open_mem,
            a->k.by != KERNEL_BY_CELL};
}

/* Own keys first .. end - 1 and window rows window .. n_window - 1. */
struct Seen {
    uint32_t first, end, window, n_window;
};

__device__ inline Seen
attention_seen(const Attention &a, const kernel_cell &cell, uint32_t row)
{
    uint32_t past = a.cached ? cell.n_past : 0;
    uint32_t p = past + row;
    bool is_mem = row >= cell.n_row - cell.n_mem;
    Seen s = {0, p + 1, 0, 0};

    if (a.span > 0 && p + 1 > a.span)
        s.first = p + 1 - a.span;
    if (is_mem && a.open_mem) {
        s.first = 0;
        s.end = past + cell.n_row;
    }
    if (a.window_k.base == nullptr || cell.n_window == 0 || p < a.n_sink)
        return s;
    s.n_window = cell.n_window;
    if (is_mem)
        return s;
    s.window = min(p - a.n_sink, cell.n_window);
    if (a.cached && p - a.n_sink > cell.n_window)
        s.first = max(s.first, p - a.n_sink - cell.n_window);
    return s;
}

#endif
