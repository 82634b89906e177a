/* SPDX-License-Identifier: Apache-2.0 */
/* Pieces of x and w on their way through shared memory to the sums. */
#ifndef KERNELS_CUDA_PRODUCT_STAGES_CUH
#define KERNELS_CUDA_PRODUCT_STAGES_CUH

#include "kernels/cuda/product_work.cuh"

namespace
{

/* The stages in shared memory, and where somebody who goes round is. */
struct Ring {
    char *stages;
    uint64_t *full, *empty;
    uint32_t rank; /* of the block in its pair */
    uint32_t stage, parity;
};

template <int N>
__device__ inline void
advance(Ring *r)
{
    if (++r->stage == N) {
        r->stage = 0;
        r->parity ^= 1;
    }
}

template <int COLS, int PAIR>
__device__ inline void
fetch_tile(const Work &w, const CUtensorMap *x, const CUtensorMap *wm,
           const kernel_cell &cell, const Tile &t, Ring *ring)
{
    using S = Shape<COLS>;
    uint32_t x_item = item_of(w.x_by, w.x_one, cell, t.place);
    uint32_t w_item = item_of(w.w_by, w.w_one, cell, t.place);
    const Ref x_ref = {nullptr, 0, 0, w.x_by};
    uint32_t row =
        static_cast<uint32_t>(w.m > 0 ? 0 : row0_of(x_ref, cell, w.rows)) +
        t.row;

    for (uint32_t r = 0; r < w.n_run; r++)
        for (uint32_t k = 0; k < w.run_step[r]; k++) {
            char *xs = ring->stages + ring->stage * S::stage;
            char *ws = xs + ROWS * DEPTH * 2;
            uint64_t *bar = &ring->full[ring->stage];
            uint32_t xc = w.x_col[r] + k * DEPTH, wc = w.w_col[r] + k * DEPTH;

            barrier_wait(&ring->empty[ring->stage], ring->parity ^ 1);
            barrier_expect(bar, S::stage);
            if (PAIR == 1)
                tensor_load(xs, x, bar, xc, row, x_item);
            else
                tensor_load_all(xs + ring->rank * ROWS / 2 * DEPTH * 2, x, bar,
                                xc, row + ring->rank * ROWS / 2, x_item, 3);
            if (w.swiglu) {
                tensor_load(ws, wm, bar, wc, t.col, w_item);
                tensor_load(ws + COLS / 2 * DEPTH * 2, wm, bar, wc, w.n + t.col,
                            w_item);
            } else {
                tensor_load(ws, wm, bar, wc, t.col, w_item);
            }
            advance<S::n_stage>(ring);
        }
}

template <int PAIR>
__device__ inline void
release(uint64_t *empty)
{
    if (threadIdx.x % 128 != 0)
        return;
    if (PAIR == 1) {
        barrier_arrive(empty);
    } else {
        barrier_arrive_at(empty, 0);
        barrier_arrive_at(empty, 1);
    }
}

/* The stage at hand, begun. */
template <int COLS>
__device__ inline void
multiply_stage(Sums<COLS> &sums, uint32_t group, const Ring *ring, bool add)
{
    using S = Shape<COLS>;
    char *xs = ring->stages + ring->stage * S::stage;
    uint64_t x = matrix_at(xs + group * GROUP_ROWS * DEPTH * 2);
    uint64_t ws = matrix_at(xs + ROWS * DEPTH * 2);

    barrier_wait(&ring->full[ring->stage], ring->parity);
    product_fence();
#pragma unroll
    for (int i = 0; i < DEPTH / 16; i++)
        product_step(sums, x + 2 * i, ws + 2 * i, add || i > 0);
    product_commit();
}

template <int COLS, int PAIR>
__device__ inline void
multiply_tile(const Work &w, Sums<COLS> &sums, uint32_t group, Ring *ring)
{
    using S = Shape<COLS>;
    uint32_t before = ring->stage;

    multiply_stage<COLS>(sums, group, ring, false);
    advance<S::n_stage>(ring);
    for (uint32_t k = 1; k < w.n_step; k++) {
        multiply_stage<COLS>(sums, group, ring, true);
        product_wait<1>();
        release<PAIR>(&ring->empty[before]);
        before = ring->stage;
        advance<S::n_stage>(ring);
    }
    product_wait<0>();
    release<PAIR>(&ring->empty[before]);
}

} // namespace

#endif
