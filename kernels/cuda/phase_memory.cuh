/* SPDX-License-Identifier: Apache-2.0 */
/* The ends of a single row and the memory that it reads: a token's row of the
 * table, features and A, and the likeliest token. */
#ifndef KERNELS_CUDA_PHASE_MEMORY_CUH
#define KERNELS_CUDA_PHASE_MEMORY_CUH

#include "kernels/cuda/order.cuh"
#include "kernels/cuda/phase_box.cuh"

namespace phase
{

__device__ inline void
embed(const At &at)
{
    const uint32_t tid = me();
    const Embed &e = at.phase->embed;

    wait(at);
    if (blockIdx.x > 0)
        return;
    const int32_t id = fresh(e.id);
    const bf16 *from = e.table + static_cast<size_t>(id) * e.ld;

    if (e.copy != nullptr && tid == 0)
        *e.copy = id;

    for (uint32_t i = tid; i < e.d / 2; i += THREADS) {
        uint32_t pair = __ldg(reinterpret_cast<const uint32_t *>(from) + i);

        if (at.phase->out.at != nullptr)
            put_word(at.phase->out.at, i, pair, at.phase->out.number);
        if (at.phase->kept)
            reinterpret_cast<uint32_t *>(e.x)[i] = pair;
    }
}

/* ------------------------------------------------------------- memory --- */

/* As read_kernel (thin.cu) cuts it. */
enum {
    READ_COLS = CUDA_THIN_READ_COLS,
    READ_PARTS = CUDA_THIN_READ_PARTS,
    READ_MOST = CUDA_THIN_READ_MOST,
    READ_KEYS = READ_PARTS * READ_MOST,
    READ_EACH = (READ_KEYS + THREADS - 1) / THREADS /* features a thread */
};

struct ReadRoom {
    float f[READ_KEYS], u[READ_KEYS];
    float sums[WARPS], parts[READ_PARTS][READ_COLS + 1];
};

static_assert(sizeof(ReadRoom) <= WORK, "a read needs more room");
static_assert(READ_PARTS * READ_COLS == 4 * THREADS, "four columns a thread");

/* What a thread takes of A, four columns of some rows, and of z. */
struct ReadPart {
    float4 a[READ_MOST];
    float z[READ_EACH];
};

__device__ inline void
look(ReadPart &p, const Read &r)
{
    const uint32_t tid = me();
    uint32_t part = tid / (READ_COLS / 4);
    const float *A = r.A + blockIdx.x * READ_COLS + tid % (READ_COLS / 4) * 4;

#pragma unroll
    for (int i = 0; i < READ_MOST; i++)
        p.a[i] = part + i * READ_PARTS < r.dk
                     ? __ldcg(reinterpret_cast<const float4 *>(
                           A + (part + i * READ_PARTS) * r.ld))
                     : make_float4(0.0F, 0.0F, 0.0F, 0.0F);
#pragma unroll
    for (int e = 0; e < READ_EACH; e++) {
        uint32_t at = tid + e * THREADS;

        p.z[e] = r.z != nullptr && at < r.dk ? __ldcg(r.z + at) : 0.0F;
    }
}

/* Features of the row over their denominator. */
__device__ inline void
features(const Read &r, const ReadPart &p, const Box &in, ReadRoom &room)
{
    const uint32_t tid = me();
    uint32_t w2 = 2 * r.w;
    float f[READ_EACH] = {}, squares = 0.0F, dot = 0.0F, factor = 1.0F;

    if (tid < r.w) {
        float value = in.at != nullptr ? __uint_as_float(take_word(in, tid))
                                       : fresh(r.proj + tid);

        room.u[tid] = fmaxf(value, 0.0F);
        room.u[r.w + tid] = fmaxf(-value, 0.0F);
    }
    sync();
#pragma unroll
    for (int e = 0; e < READ_EACH; e++) {
        uint32_t at = tid + e * THREADS, i = at % w2, j = at / w2 + 1;

        if (at >= r.dk)
            continue;
        f[e] = room.u[i] * room.u[i >= j ? i - j : i + w2 - j];
        squares = fmaf(f[e], f[e], squares);
        if (r.z != nullptr)
            dot = fmaf(p.z[e], f[e], dot);
    }
    if (r.l2_norm)
        factor = 1.0F / fmaxf(sqrtf(sum_all(squares, room.sums)), 1e-12F);
    if (r.z != nullptr)
        factor /= fmaf(sum_all(dot, room.sums), factor, 1e-5F);
#pragma unroll
    for (int e = 0; e < READ_EACH; e++)
        if (tid + e * THREADS < r.dk)
            room.f[tid + e * THREADS] = f[e] * factor;
    sync();
}

/* Adds to the block's columns. */
__device__ inline void
add(const At &at, const ReadPart &p, float before, ReadRoom &room)
{
    const Read &r = at.phase->read;
    const uint32_t tid = me();
    uint32_t part = tid / (READ_COLS / 4), col = tid % (READ_COLS / 4) * 4;
    uint32_t own = blockIdx.x * READ_COLS + tid % READ_COLS;
    float sum[4] = {}, all = 0.0F;

#pragma unroll
    for (int i = 0; i < READ_MOST; i++) {
        if (part + i * READ_PARTS >= r.dk)
            continue;
        float f = room.f[part + i * READ_PARTS];

        sum[0] = fmaf(f, p.a[i].x, sum[0]);
        sum[1] = fmaf(f, p.a[i].y, sum[1]);
        sum[2] = fmaf(f, p.a[i].z, sum[2]);
        sum[3] = fmaf(f, p.a[i].w, sum[3]);
    }
#pragma unroll
    for (int i = 0; i < 4; i++)
        room.parts[part][col + i] = sum[i];
    sync();
    if (tid >= READ_COLS)
        return;
#pragma unroll
    for (int i = 0; i < READ_PARTS; i++)
        all += room.parts[i][tid];
    bf16 x = from_float<bf16>(before + all);

    static_assert(READ_COLS == 32, "a warp");
    put_half(at.phase->out, own, true, x);
    if (at.phase->kept)
        r.x[own] = x;
}

__device__ inline void
read(const At &at)
{
    const Read &r = at.phase->read;
    ReadRoom &room = *reinterpret_cast<ReadRoom *>(at.work);
    bool mine = blockIdx.x < r.d / READ_COLS;
    ReadPart part = {};

    if (mine)
        look(part, r);
    wait(at);
    if (!mine)
        return;
    float before = take_half(at.phase->old, r.x,
                             blockIdx.x * READ_COLS + me() % READ_COLS);

    features(r, part, at.phase->in, room);
    add(at, part, before, room);
}

/* --------------------------------------------------------------- pick --- */

/* The largest logit and the lowest id that has it, as one number. */
__device__ inline unsigned long long
key_of(float logit, uint32_t id)
{
    return static_cast<unsigned long long>(order_of(logit)) << 32 |
           (UINT32_MAX - id);
}

/* state[64 ..]: a key and a ticket, zeros between launches. */
__device__ inline void
pick(const At &at)
{
    enum { PART = 4 * THREADS };
    const uint32_t tid = me();
    const Pick &p = at.phase->pick;
    auto *key = reinterpret_cast<unsigned long long *>(at.state + 64);
    auto *best = reinterpret_cast<unsigned long long *>(at.work);
    uint32_t *ticket = at.state + 66, n_part = (p.n + PART - 1) / PART;
    uint32_t n_block = min(n_part, gridDim.x);
    unsigned long long mine = 0;

    wait(at);
    if (blockIdx.x >= n_block)
        return;
    for (uint32_t part = blockIdx.x; part < n_part; part += gridDim.x)
#pragma unroll
        for (uint32_t e = 0; e < PART / THREADS; e++) {
            uint32_t i = part * PART + e * THREADS + tid;

            if (i < p.n)
                mine = max(mine, key_of(fresh(p.logits + i), i));
        }
#pragma unroll
    for (int other = 16; other > 0; other /= 2)
        mine = max(mine, __shfl_xor_sync(0xffffffffU, mine, other));
    if (tid % 32 == 0)
        best[tid / 32] = mine;
    sync();
    if (tid > 0)
        return;
    for (int w = 1; w < WARPS; w++)
        mine = max(mine, best[w]);
    atomicMax(key, mine);
    __threadfence();
    if (atomicAdd(ticket, 1) == n_block - 1) {
        __threadfence();
        int32_t id = static_cast<int32_t>(
            UINT32_MAX - static_cast<uint32_t>(atomicExch(key, 0)));

        *p.id = id;
        if (p.copy != nullptr)
            *p.copy = id;
        *ticket = 0;
    }
}

} // namespace phase

#endif
