/* SPDX-License-Identifier: Apache-2.0 */
/* How a product of single rows (thin.cu) is cut, and the shared memory that a
 * block of it takes.  Plain arithmetic on shapes, so that what a device can
 * hold is decided, and tested, without one. */
#ifndef KERNELS_CUDA_THIN_SHARED_H
#define KERNELS_CUDA_THIN_SHARED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CUDA_THIN_JOBS = 16, /* cells of one layer that a block computes at once */
    CUDA_THIN_COLS = 8,  /* columns of a tile */
    CUDA_THIN_TILES = 2, /* of a block, at most */
    CUDA_THIN_WARPS = 8, /* of a block; */
    CUDA_THIN_DEEP = 4096, /* from this k on ... */
    CUDA_THIN_MORE_WARPS = 16,
    CUDA_THIN_WIDE = 16384,    /* columns enough to fill a device with pairs */
    CUDA_THIN_READ_COLS = 32,  /* of a block that reads a memory; */
    CUDA_THIN_READ_PARTS = 32, /* its threads' parts of the keys, */
    CUDA_THIN_READ_MOST = 12,  /* and keys of a part, at most */
    CUDA_THIN_SHARES = 16,     /* of a head's keys, at most, */
    CUDA_THIN_UNIT = 32        /* each a multiple of these */
};

static inline uint32_t
cuda_thin_warps(size_t k)
{
    return k >= CUDA_THIN_DEEP ? CUDA_THIN_MORE_WARPS : CUDA_THIN_WARPS;
}

/* Bytes of a block of n_warp warps: the sums of every warp over n_tile tiles,
 * its squares for the norm, and n_row normalised rows of k numbers of bf16,
 * each with 16 bytes behind it that keep rows out of each other's banks. */
static inline size_t
cuda_thin_shared(uint32_t n_warp, uint32_t n_tile, uint32_t n_row, size_t k)
{
    const size_t sums = CUDA_THIN_JOBS * (n_tile * CUDA_THIN_COLS + 1);

    return n_warp * sums * 4 + n_row * (k + 8) * 2;
}

/* Whether a block that may have `limit` bytes can normalise rows of k numbers
 * itself.  For as many rows as it could ever have, whatever the group at hand
 * has: a norm apart adds up in another order, and a row's bits may not depend
 * on who else is in its group. */
static inline bool
cuda_thin_norm_fits(size_t k, size_t limit)
{
    return cuda_thin_shared(cuda_thin_warps(k), CUDA_THIN_TILES, CUDA_THIN_JOBS,
                            k) <= limit;
}

/* In a program (program.h) a block, one a multiprocessor, has the read of some
 * columns of a memory, and a head of attention, and none has two: a part of a
 * GPU may have too few, and launches do the group. */
static inline bool
cuda_program_read_fits(size_t d_model, uint32_t n_sm)
{
    return d_model / CUDA_THIN_READ_COLS <= n_sm;
}

static inline bool
cuda_program_attend_fits(size_t n_head, uint32_t n_sm)
{
    return n_head <= n_sm;
}

#endif
