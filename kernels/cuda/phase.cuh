/* SPDX-License-Identifier: Apache-2.0 */
/* What the phases of a program share: where they are told, and how blocks wait
 * for each other.
 *
 * What a phase writes others read in the same launch, so it is never read
 * through a cache of the multiprocessor (fresh()). */
#ifndef KERNELS_CUDA_PHASE_CUH
#define KERNELS_CUDA_PHASE_CUH

#include "kernels/cuda/phase.h"
#include "kernels/cuda/thin.cuh"

namespace phase
{

enum {
    WARPS = CUDA_THIN_WARPS, /* that compute; more of them bring weights */
    THREADS = WARPS * 32,
    BRINGERS = 4,
    COLS = CUDA_THIN_COLS,
    CHUNK = 64, /* numbers of k that a warp takes at a time */
    WORK = 28 << 10
};

/* ------------------------------------------------------------- phases --- */

enum Kind { PRODUCT, EMBED, READ, ATTEND, PICK };

struct Product {
    void *out;
    const bf16 *x, *bias, *norm;
    uint32_t n, k, n_unit, first; /* the block that has unit 0 */
    float eps;
    int finish;
    bool wide; /* out is F32 */
    bool pairs;
};

struct Embed {
    bf16 *x;
    const int32_t *id;
    int32_t *copy; /* of the id, or NULL */
    const bf16 *table;
    size_t ld;
    uint32_t d;
};

struct Read {
    bf16 *x;
    const float *A, *z, *proj;
    size_t ld;
    uint32_t w, dk, d; /* dk = 6 w */
    bool l2_norm;
};

struct Attend {
    bf16 *out, *k, *v; /* k, v: the cache */
    const bf16 *q;     /* of all heads, before the rotation; from there: */
    uint32_t k_new, v_new;
    const float2 *turns; /* of the row's position */
    uint32_t k_ld, v_ld, n_head, group, n_past;
    float scale;
};

struct Pick {
    int32_t *id, *copy; /* a copy of it, perhaps on the host, or NULL */
    const float *logits;
    uint32_t n;
};

/* A result's words, [n / 2] or of floats [n], with the number of the phase that
 * writes them; NULL: it is in plain memory, or for nobody in this launch. */
struct Box {
    unsigned long long *at;
    uint32_t number;
};

struct Phase {
    int kind;
    bool waits;       /* for all blocks, with all before it */
    bool kept;        /* what it writes goes to plain memory, too */
    Box in, old, out; /* what it reads, adds to and writes */
    union {
        Product product;
        Embed embed;
        Read read;
        Attend attend;
        Pick pick;
    };
};

/* A phase's weights, n columns of k numbers, in units of eight columns or of a
 * pair of these: neighbours, or where gated of the first and the second n. */
struct Weights {
    const bf16 *w;
    uint32_t ld, n, n_unit, first; /* the block that has unit 0 */
    uint16_t n_chunk;
    bool pairs, gated;
};

static_assert(sizeof(Phase) <= sizeof(cuda_phase), "a phase is larger");
static_assert(sizeof(Weights) <= sizeof(cuda_weights), "weights are larger");

struct Program {
    const cuda_phase *phases;
    const cuda_weights *weights;
    uint32_t n_phase, n_weights;
    uint32_t *state; /* arrivals; at 32 blocks that ended; at 64 a pick's */
};

/* ------------------------------------------------------------- memory --- */

/* What another block may have written in this launch. */
template <class T>
__device__ inline T
fresh(const T *at)
{
    return __ldcg(at);
}
template <>
__device__ inline bf16
fresh(const bf16 *at)
{
    return __ushort_as_bfloat16(
        __ldcg(reinterpret_cast<const unsigned short *>(at)));
}

__device__ inline uint32_t
shared_at(const void *p)
{
    return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}

/* In the order of the barriers of shared memory, which a load through a generic
 * address is not. */
__device__ inline uint4
shared_four(uint32_t at)
{
    uint4 x;

    asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(x.x), "=r"(x.y), "=r"(x.z), "=r"(x.w)
                 : "r"(at)
                 : "memory");
    return x;
}

/* ------------------------------------------------------------- blocks --- */

/* The thread's number.  Asked for in every phase anew: what follows from it is
 * not kept from phase to phase, in registers that there are not. */
__device__ inline uint32_t
me()
{
    uint32_t tid;

    asm volatile("mov.u32 %0, %%tid.x;" : "=r"(tid));
    return tid;
}

/* The block's first unit of those that are dealt out from block `first` on. */
__device__ inline uint32_t
unit_of(uint32_t first)
{
    return blockIdx.x + (blockIdx.x < first ? gridDim.x : 0) - first;
}

/* A barrier of the threads that compute. */
__device__ inline void
sync()
{
    static_assert(THREADS == 256, "as the barrier says");
    asm volatile("bar.sync 1, 256;" ::: "memory");
}

/* Sum over these threads, the same in all. */
__device__ inline float
sum_all(float x, float *room)
{
    const uint32_t tid = me();
    float sum = 0.0F;

    x = warp_sum(x);
    sync();
    if (tid % 32 == 0)
        room[tid / 32] = x;
    sync();
#pragma unroll
    for (int i = 0; i < WARPS; i++)
        sum += room[i];
    return sum;
}

/* All that the block wrote is there for whoever waits; one thread, behind a
 * barrier of the block. */
__device__ inline void
arrive(uint32_t *count)
{
    asm volatile("red.release.gpu.global.add.u32 [%0], 1;" ::"l"(count)
                 : "memory");
}

/* Where a phase stands: how many arrivals it waits for, 0: none, and WORK
 * bytes. */
struct At {
    const Phase *phase;
    uint32_t *state;
    uint32_t n_wait;
    char *work;
};

/* Waits until all blocks have arrived.  Blocks of a launch run together, so one
 * that stays away for seconds is a mistake. */
__device__ inline void
wait(const At &at)
{
    enum { MOST = 1 << 26 };

    if (at.n_wait == 0)
        return;
    if (me() == 0) {
        uint32_t seen = 0, want = at.n_wait * gridDim.x, i = 0;

        do {
            asm volatile("ld.acquire.gpu.global.u32 %0, [%1];"
                         : "=r"(seen)
                         : "l"(at.state)
                         : "memory");
            if (++i == MOST)
                __trap();
        } while (seen < want);
    }
    sync();
}

} // namespace phase

#endif
