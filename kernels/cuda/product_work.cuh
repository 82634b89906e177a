/* SPDX-License-Identifier: Apache-2.0 */
/* What a launch of products has to do, and its tiles. */
#ifndef KERNELS_CUDA_PRODUCT_WORK_CUH
#define KERNELS_CUDA_PRODUCT_WORK_CUH

#include "kernels/cuda/fast.h"
#include "kernels/cuda/wgmma.cuh"

namespace
{

enum {
    ROWS = 128,
    DEPTH = 64,
    GROUP_ROWS = 64,
    THREADS = 384,
    PART = 128, /* columns that a group finishes at a time */
    PITCH = PART * 2 + 16,
    STAGING = GROUP_ROWS * PITCH,
    FETCH_REGISTERS = 40,
    MULTIPLY_REGISTERS = 232
};

template <int COLS> struct Shape {
    static constexpr int stage = (ROWS + COLS) * DEPTH * 2;
    static constexpr int n_stage = COLS == 256 ? 4 : 6;
    static constexpr int bytes = n_stage * stage + 2 * STAGING + 256;
};

/* Of a launch, besides the maps. */
struct Work {
    Ref out, bias, value, gate;
    int x_by, w_by, rows;
    bool x_one, w_one, read, write, swiglu;
    uint32_t m, n, n_run, n_step;
    uint32_t x_col[CUDA_MAX_RUN], w_col[CUDA_MAX_RUN], run_step[CUDA_MAX_RUN];
    uint32_t n_cell, n_mtile, n_ntile;
    const float2 *turns;
    uint32_t half, n_rot;
    const float *den;
    uint32_t m_pad, max_mem;
    bool wide_store; /* out may be written 16 bytes at a time */
};

struct Tile {
    uint32_t place, row, col; /* of the tile's first sum */
};

__device__ inline uint32_t
work_rows(const Work &w, const kernel_cell &cell)
{
    return w.m > 0 ? w.m : rows_of(cell, w.rows);
}

/* Tile number `i`; false where the cell has no such rows.  Blocks that run at
 * the same time have the same columns of w and all rows of x. */
template <int COLS, int PAIR>
__device__ inline bool
tile_of(const Work &w, const kernel_cell *cells, uint32_t i, uint32_t rank,
        Tile *t)
{
    uint32_t n_pair = w.n_ntile / PAIR;
    uint32_t m = i % w.n_mtile, n = i / w.n_mtile % n_pair;
    uint32_t place = i / w.n_mtile / n_pair;
    const kernel_cell &cell = cells[place];

    *t = {place, m * ROWS, (n * PAIR + rank) * (w.swiglu ? COLS / 2 : COLS)};
    if (w.read && (cell.fresh != 0 || cell.bare != 0))
        return false;
    if (w.write && (cell.n_mem == 0 || cell.bare != 0))
        return false;
    return t->row < work_rows(w, cell);
}

__device__ inline uint32_t
item_of(int by, bool one, const kernel_cell &cell, uint32_t place)
{
    const Ref r = {nullptr, 0, 0, by};

    return one ? 0 : static_cast<uint32_t>(ref_index(r, cell, place));
}

} // namespace

#endif
