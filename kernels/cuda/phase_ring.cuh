/* SPDX-License-Identifier: Apache-2.0 */
/* Weights on their way: warps of their own bring those of all phases, in the
 * order in which the others take them, as far ahead as there is room. */
#ifndef KERNELS_CUDA_PHASE_RING_CUH
#define KERNELS_CUDA_PHASE_RING_CUH

#include "kernels/cuda/phase.cuh"

namespace phase
{

enum {
    DEPTH = 11,                  /* pieces on their way, */
    AHEAD = 6,                   /* and behind them asked for */
    EACH = 2,                    /* chunks of a piece that are a warp's */
    SPAN = EACH * WARPS * CHUNK, /* numbers of k in a piece */
    PITCH = SPAN * 2 + 64,       /* bytes: eight rows in different banks */
    PIECE = COLS * PITCH,
    ROWS = COLS / BRINGERS /* of a piece that a warp brings */
};

struct Pieces {
    alignas(128) char at[DEPTH][PIECE];
    unsigned long long full[DEPTH], empty[DEPTH];
};

struct Lane {
    uint32_t warp, g, q; /* row or column of eight, and quarter of k */
};

#if __CUDA_ARCH__ >= 900

__device__ inline void
pieces_init(Pieces &p)
{
    for (int i = 0; i < DEPTH; i++) {
        asm volatile(
            "mbarrier.init.shared.b64 [%0], %1;" ::"r"(shared_at(&p.full[i])),
            "r"(static_cast<uint32_t>(BRINGERS))
            : "memory");
        asm volatile(
            "mbarrier.init.shared.b64 [%0], %1;" ::"r"(shared_at(&p.empty[i])),
            "r"(static_cast<uint32_t>(WARPS))
            : "memory");
    }
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

__device__ inline void
pieces_wait(const unsigned long long &barrier, uint32_t parity)
{
    asm volatile("{\n"
                 ".reg .pred done;\n"
                 "again:\n"
                 "mbarrier.try_wait.parity.shared.b64 done, [%0], %1;\n"
                 "@!done bra again;\n"
                 "}\n" ::"r"(shared_at(&barrier)),
                 "r"(parity)
                 : "memory");
}

/* The pieces of a block, in the order in which they are taken: those of a
 * unit's columns go along k, and of a pair both columns' come at each place. */
struct Walk {
    const Weights *weights;
    uint32_t n_weights, at, unit, i;
    Weights w;

    /* The block's first piece from weights `at` on. */
    __device__ void find()
    {
        for (; at < n_weights; at++) {
            w = weights[at];
            unit = unit_of(w.first);
            if (unit < w.n_unit)
                break;
        }
        i = 0;
    }

    __device__ bool ends() const
    {
        return at >= n_weights;
    }

    __device__ void next()
    {
        uint32_t n_span = (w.n_chunk * CHUNK + SPAN - 1) / SPAN;

        if (++i < (w.pairs ? 2 * n_span : n_span))
            return;
        i = 0;
        unit += gridDim.x;
        if (unit >= w.n_unit) {
            at++;
            find();
        }
    }

    __device__ uint32_t place() const
    {
        return (w.pairs ? i / 2 : i) * SPAN;
    }

    /* A row of the piece, and how long it is. */
    __device__ const bf16 *row(uint32_t r) const
    {
        uint32_t t = w.pairs ? i % 2 : 0, col = unit * COLS;

        if (w.pairs && !w.gated)
            col = 2 * col + t * COLS;
        col = min(col + r, w.n - 1) + (w.gated ? t * w.n : 0);
        return w.w + static_cast<size_t>(col) * w.ld + place();
    }
    __device__ uint32_t bytes() const
    {
        return min(w.n_chunk * CHUNK - place(), static_cast<uint32_t>(SPAN)) *
               2;
    }
};

/* Weights are read once a step: what was read makes room first. */
__device__ inline unsigned long long
once()
{
    unsigned long long policy;

    asm volatile("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;"
                 : "=l"(policy));
    return policy;
}

__device__ inline void
bring(Pieces &p, uint32_t slot, uint32_t row, const bf16 *from, uint32_t bytes,
      unsigned long long policy)
{
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_"
                 "tx::bytes.L2::cache_hint [%0], [%1], %2, [%3], %4;" ::"r"(
                     shared_at(&p.at[slot][row * PITCH])),
                 "l"(from), "r"(bytes), "r"(shared_at(&p.full[slot])),
                 "l"(policy)
                 : "memory");
}

/* Into the second cache. */
__device__ inline void
fetch(const bf16 *from, uint32_t bytes)
{
    asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(from),
                 "r"(bytes)
                 : "memory");
}

/* A warp of those that bring: some rows of every piece, one a lane, since the
 * copies of a warp's lanes are begun one after another.
 *
 * While phases that read little run, the ring is full and memory would rest: so
 * pieces that come behind it are asked for, not more of them than the second
 * cache keeps.  Wide products alone fill the ring without end, and would only
 * lose by it. */
__device__ inline void
bring_all(Pieces &p, const Weights *weights, uint32_t n)
{
    const unsigned long long policy = once();
    const uint32_t lane = threadIdx.x % 32;
    const uint32_t row = (threadIdx.x - THREADS) / 32 * ROWS + lane;
    uint32_t slot = 0, parity = 1;
    Walk here = {weights, n, 0, 0, 0, {}};

    here.find();
    Walk far = here;
    for (uint32_t i = 0; i < AHEAD && !far.ends(); i++)
        far.next();
    for (; !here.ends(); here.next()) {
        pieces_wait(p.empty[slot], parity);
        if (lane == 0)
            asm volatile(
                "mbarrier.arrive.expect_tx.shared.b64 _, [%0], %1;" ::"r"(
                    shared_at(&p.full[slot])),
                "r"(here.bytes() * ROWS)
                : "memory");
        __syncwarp();
        if (lane < ROWS)
            bring(p, slot, row, here.row(row), here.bytes(), policy);
        if (!far.ends()) {
            if (lane < ROWS && far.w.n < CUDA_THIN_WIDE)
                fetch(far.row(row), far.bytes());
            far.next();
        }
        if (++slot == DEPTH) {
            slot = 0;
            parity ^= 1;
        }
    }
}

/* The lane's part of a warp's chunks, in halves. */
struct Taken {
    uint4 at[EACH][2];
};

/* Where one of the other warps is. */
struct Ring {
    Pieces *p;
    uint32_t slot, parity;

    /* The piece at hand, when it is there. */
    __device__ void take(Taken &w, const Lane &l) const
    {
        uint32_t from = shared_at(p->at[slot]) + l.g * PITCH +
                        l.warp * (CHUNK * 2) + l.q * 16;

        pieces_wait(p->full[slot], parity);
#pragma unroll
        for (int e = 0; e < EACH; e++) {
            w.at[e][0] = shared_four(from + e * WARPS * CHUNK * 2);
            w.at[e][1] = shared_four(from + e * WARPS * CHUNK * 2 + CHUNK);
        }
    }

    __device__ void next()
    {
        if (++slot == DEPTH) {
            slot = 0;
            parity ^= 1;
        }
    }

    /* Room for another piece there, once this one's weights were used. */
    __device__ void leave(uint32_t at, const Lane &l) const
    {
        __syncwarp();
        if (l.g + l.q == 0)
            asm volatile("mbarrier.arrive.shared.b64 _, [%0];" ::"r"(
                             shared_at(&p->empty[at]))
                         : "memory");
    }
};

#endif

} // namespace phase

#endif
