/* SPDX-License-Identifier: Apache-2.0 */
/* Attention of a single row over its cache, heads of 64, with the rotation of
 * the row and its place in the cache.  A block has a query head, a warp of it
 * shares of the keys, a lane one of 32 keys at a time.
 *
 * Sums are those of attend_kernel (thin_attend.cu) to the bit: shares by the
 * number of keys alone, 32 softmaxes a share, joined in their order, and shares
 * in theirs.
 *
 * Loops stay loops where they can: instructions that are taken once a layer
 * come from memory, and straight ones took longer than what they do. */
#ifndef KERNELS_CUDA_PHASE_ATTEND_CUH
#define KERNELS_CUDA_PHASE_ATTEND_CUH

#include "kernels/cuda/phase_keys.cuh"
#include "kernels/cuda/thin_softmax.cuh"

namespace phase
{

__device__ inline float
low(uint32_t pair)
{
    return __uint_as_float(pair << 16);
}
__device__ inline float
high(uint32_t pair)
{
    return __uint_as_float(pair & 0xffff0000U);
}

/* Numbers 2 i and 2 i + 1 of a head that begins at `head`, and those that are
 * their others, turned and put into to[64]. */
template <class T>
__device__ inline void
put_turned(const At &at, uint32_t head, uint32_t i, const float4 &t, T *to)
{
    const Attend &a = at.phase->attend;
    uint2 w = take_pairs(at.phase->in, a.q, head / 2 + i, D / 4);

    to[2 * i] = from_float<T>(thin_turn({t.x, t.y}, low(w.x), low(w.y), true));
    to[2 * i + 1] =
        from_float<T>(thin_turn({t.z, t.w}, high(w.x), high(w.y), true));
    to[2 * i + D / 2] =
        from_float<T>(thin_turn({t.x, t.y}, low(w.y), low(w.x), false));
    to[2 * i + 1 + D / 2] =
        from_float<T>(thin_turn({t.z, t.w}, high(w.y), high(w.x), false));
}

/* The row's own query, key and value, a quarter of a head's numbers a thread.
 */
__device__ inline void
new_rows(const At &at, AttendRoom &r, uint32_t head)
{
    enum { EACH = D / 4 };
    const uint32_t tid = me();
    const Attend &a = at.phase->attend;
    uint32_t i = tid % EACH, kv = head / a.group * D;

    if (tid < 2 * EACH) {
        float4 t = __ldg(reinterpret_cast<const float4 *>(a.turns) + i);

        if (tid < EACH)
            put_turned(at, head * D, i, t, r.q);
        else
            put_turned(at, a.k_new + kv, i, t, r.k);
    } else if (tid < 3 * EACH) {
        uint2 w = take_pairs(at.phase->in, a.q, (a.v_new + kv) / 2 + i, EACH);
        uint32_t *v = reinterpret_cast<uint32_t *>(r.v);

        v[i] = w.x;
        v[i + EACH] = w.y;
    }
    sync();
}

/* The first head of a key head's puts these away. */
__device__ inline void
put_away(const Attend &a, const AttendRoom &r, uint32_t head)
{
    const uint32_t tid = me();
    uint32_t kv = head / a.group * D;

    if (head % a.group != 0 || tid >= D)
        return;
    a.k[static_cast<size_t>(a.n_past) * a.k_ld + kv + tid] = r.k[tid];
    a.v[static_cast<size_t>(a.n_past) * a.v_ld + kv + tid] = r.v[tid];
}

/* The lanes' softmaxes of the warp's shares, step by step for those who add up
 * values.  `next`: the first keys. */
__device__ inline void
weigh_all(const Attend &a, AttendRoom &r, const Shares &s, Key next,
          uint32_t kv)
{
    const uint32_t lane = me() % LANES, warp = me() / LANES;
    float top = -INFINITY, sum = 0.0F;
    uint32_t share = warp, round = 0;

#pragma unroll 1
    for (uint32_t left = s.n_mine * s.n_round; left > 0; left--) {
        uint32_t key = share * s.each + round * LANES + lane;
        uint32_t end = min((share + 1) * s.each, s.n);
        bool last = round + 1 == s.n_round;
        uint32_t then = last ? (share + WARPS) * s.each + lane : key + LANES;
        Key k = next;
        float kept = 1.0F, p = 0.0F;

        next = look_key(a, kv, then, left > 1 && then < a.n_past);
        if (key == a.n_past)
#pragma unroll
            for (int e = 0; e < D / 8; e++)
                k.at[e] = reinterpret_cast<const uint4 *>(r.k)[e];
        float score = score_of(k, r.q) * a.scale;

        if (key < end) {
            float best = fmaxf(top, score);

            kept = expf(top - best);
            p = expf(score - best);
            top = best;
            sum = fmaf(sum, kept, p);
        }
        r.turns[share][round][lane] = {kept, p};
        round++;
        if (!last)
            continue;
        float best = warp_max(top);

        r.soft[share][lane] = {top == -INFINITY ? 0.0F : expf(top - best), sum};
        if (lane == 0)
            r.top[share] = best;
        top = -INFINITY;
        sum = 0.0F;
        share += WARPS;
        round = 0;
    }
    __syncwarp();
}

/* Adds up the values of the warp's shares, two columns a lane, and joins the
 * softmaxes.  `next`: the first values. */
__device__ inline void
add_all(const Attend &a, AttendRoom &r, const Shares &s, Values next,
        uint32_t kv)
{
    const uint32_t lane = me() % LANES, warp = me() / LANES;
    uint32_t own = reinterpret_cast<const uint32_t *>(r.v)[lane];
    float2 sum[HALF] = {}, out = {0.0F, 0.0F};
    uint32_t share = warp, round = 0, half = 0;
    float all = 0.0F;

#pragma unroll 1
    for (uint32_t left = s.n_mine * s.n_round * 2; left > 0; left--) {
        uint32_t first = share * s.each + round * LANES + half * HALF;
        bool last = round + 1 == s.n_round, ends = last && half == 1;
        uint32_t then = ends   ? (share + WARPS) * s.each
                        : last ? share * s.each + HALF
                               : first + LANES;
        const Turn *turns = &r.turns[share][round][half * HALF];
        const Soft *soft = &r.soft[share][half * HALF];
        const Values v = next;

        next = look_values(a, kv, left > 1 ? then : a.n_past);
#pragma unroll
        for (uint32_t i = 0; i < HALF; i++) {
            Turn t = turns[i];
            uint32_t pair = first + i == a.n_past ? own : v.at[i];

            sum[i].x = fmaf(sum[i].x, t.kept, t.p * low(pair));
            sum[i].y = fmaf(sum[i].y, t.kept, t.p * high(pair));
        }
        round++;
        if (!last)
            continue;
#pragma unroll
        for (uint32_t i = 0; i < HALF; i++) {
            Soft each = soft[i];

            all = fmaf(each.sum, each.part, all);
            out.x = fmaf(sum[i].x, each.part, out.x);
            out.y = fmaf(sum[i].y, each.part, out.y);
            sum[i] = {0.0F, 0.0F};
        }
        round = 0;
        half ^= 1;
        if (!ends)
            continue;
        *reinterpret_cast<float2 *>(&r.out[share][2 * lane]) = out;
        if (lane == 0)
            r.sum[share] = all;
        out = {0.0F, 0.0F};
        all = 0.0F;
        share += WARPS;
    }
    sync();
}

/* All shares to the head's result. */
__device__ inline void
leave(const At &at, const AttendRoom &r, const Shares &s, uint32_t head)
{
    const Attend &a = at.phase->attend;
    const uint32_t tid = me();
    uint32_t n_share = (s.n + s.each - 1) / s.each;
    float best, sum;

    if (tid >= D)
        return;
    const ThinParts parts = {r.top, r.sum, &r.out[0][tid], 1, D, n_share};
    float o = n_share == 1 ? r.out[0][tid] : thin_join(parts, &best, &sum);

    if (n_share == 1)
        sum = r.sum[0];
    bf16 x = from_float<bf16>(o / sum);

    put_half(at.phase->out, head * D + tid, true, x);
    if (at.phase->kept)
        a.out[head * D + tid] = x;
}

/* Asks for what the warp will read behind its first keys and values. */
__device__ inline void
ask_for_all(const Attend &a, const Shares &s, uint32_t kv)
{
    const uint32_t lane = me() % LANES, warp = me() / LANES;

#pragma unroll 1
    for (uint32_t i = 0; i < s.n_mine * s.n_round; i++) {
        uint32_t key = (warp + i / s.n_round * WARPS) * s.each +
                       i % s.n_round * LANES + lane;

        if (key >= a.n_past)
            continue;
        asm volatile("prefetch.global.L2 [%0];" ::"l"(
            a.k + kv + static_cast<size_t>(key) * a.k_ld));
        asm volatile("prefetch.global.L2 [%0];" ::"l"(
            a.v + kv + static_cast<size_t>(key) * a.v_ld));
    }
}

/* Keys of earlier launches are there before the row is; where some are of this
 * launch the phase waits (cuda_phase_link()). */
__device__ inline void
attend(const At &at)
{
    const uint32_t tid = me(), warp = tid / LANES, lane = tid % LANES;
    const Attend &a = at.phase->attend;
    AttendRoom &r = *reinterpret_cast<AttendRoom *>(at.work);
    uint32_t kv = blockIdx.x / a.group * D;
    Key key = {};
    Values v = {};

    wait(at);
    if (blockIdx.x >= a.n_head)
        return;
    const Shares s = shares_of(a, warp);

    ask_for_all(a, s, kv);
    if (s.n_mine > 0) {
        uint32_t first = warp * s.each;

        key = look_key(a, kv, first + lane, first + lane < a.n_past);
        v = look_values(a, kv, first);
    }
    new_rows(at, r, blockIdx.x);
    put_away(a, r, blockIdx.x);
    weigh_all(a, r, s, key, kv);
    add_all(a, r, s, v, kv);
    leave(at, r, s, blockIdx.x);
}

} // namespace phase

#endif
