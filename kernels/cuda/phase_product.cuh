/* SPDX-License-Identifier: Apache-2.0 */
/* Products of a single row.  The row stays in shared memory, and warps go
 * through units of columns without waiting for each other; sums of UNITS of
 * them are finished at a time.
 *
 * Sums are those of product_kernel (thin.cu) to the bit: chunks of 64 numbers
 * of k, a warp and turn, and warps added up in their order.  Where that has
 * sixteen warps (`deep`), a warp here does the work of two. */
#ifndef KERNELS_CUDA_PHASE_PRODUCT_CUH
#define KERNELS_CUDA_PHASE_PRODUCT_CUH

#include "kernels/cuda/phase_box.cuh"
#include "kernels/cuda/phase_ring.cuh"

namespace phase
{

enum { UNITS = 8, PARTS = EACH * WARPS, NORMED = 2 };

/* Sums of warps, or of both halves of them, and behind them the row. */
struct Sums {
    float at[UNITS][PARTS][2 * COLS];
};

enum { ROW_BYTES = WORK - sizeof(Sums) };

static_assert(PARTS == uint32_t{CUDA_THIN_MORE_WARPS},
              "halves of deep products");

#if __CUDA_ARCH__ >= 900

/* ---------------------------------------------------------------- row --- */

/* A thread's parts of the row, or of the norm's weight. */
struct Part {
    uint4 at[NORMED];
};

__device__ inline Part
part_of(const Box &box, const bf16 *from, uint32_t k, uint32_t tid)
{
    Part p;

#pragma unroll
    for (int e = 0; e < NORMED; e++) {
        uint32_t i = tid + e * THREADS;

        p.at[e] = i * 8 < k ? take_eight(box, from, i) : make_uint4(0, 0, 0, 0);
    }
    return p;
}

/* As normalise() of thin.cu. */
__device__ inline void
stage_normed(const At &at, const Part &scale, float *room, uint4 *to)
{
    const uint32_t tid = me();
    const Product &p = at.phase->product;
    const Part x = part_of(at.phase->in, p.x, p.k, tid);
    float squares = 0.0F;

#pragma unroll
    for (int e = 0; e < NORMED; e++)
        squares =
            thin_squares(reinterpret_cast<const Eight &>(x.at[e]), squares);
    squares = sum_all(squares, room);
    float factor = 1.0F / sqrtf(squares / static_cast<float>(p.k) + p.eps);

#pragma unroll
    for (int e = 0; e < NORMED; e++) {
        uint32_t i = tid + e * THREADS;

        if (i * 8 < p.k) {
            Eight y = thin_scaled(reinterpret_cast<const Eight &>(x.at[e]),
                                  reinterpret_cast<const Eight &>(scale.at[e]),
                                  factor);
            to[i] = reinterpret_cast<const uint4 &>(y);
        }
    }
}

__device__ inline void
stage_row(const At &at, uint4 *to)
{
    const Product &p = at.phase->product;

#pragma unroll 2
    for (uint32_t i = me(); i * 8 < p.k; i += THREADS)
        to[i] = take_eight(at.phase->in, p.x, i);
}

/* ------------------------------------------------------------ columns --- */

/* The chunk's products, each of the rows of `x` alike. */
__device__ inline void
multiply(float (&sum)[4], const uint4 &x, const uint4 &w)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
                 : "r"(x.x), "r"(0), "r"(x.y), "r"(0), "r"(w.x), "r"(w.y));
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
                 : "r"(x.z), "r"(0), "r"(x.w), "r"(0), "r"(w.z), "r"(w.w));
}

/* The warp's sums of a unit; row: in shared memory. */
template <int TILES, bool DEEP>
__device__ inline void
add_unit(float (&sum)[TILES][EACH][4], uint32_t row, Ring &ring,
         uint32_t n_chunk, const Lane &l)
{
#pragma unroll 2
    for (uint32_t i = 0; i < n_chunk; i += PARTS) {
        uint32_t from = row + (i + l.warp) * (CHUNK * 2) + l.q * 16;
        uint32_t slot[TILES];
        Taken x, w[TILES];

#pragma unroll
        for (int e = 0; e < EACH; e++) {
            x.at[e][0] = shared_four(from + e * WARPS * CHUNK * 2);
            x.at[e][1] = shared_four(from + e * WARPS * CHUNK * 2 + CHUNK);
        }
#pragma unroll
        for (int t = 0; t < TILES; t++) {
            ring.take(w[t], l);
            slot[t] = ring.slot;
            ring.next();
        }
#pragma unroll
        for (int e = 0; e < EACH; e++)
            if (i + e * WARPS + l.warp < n_chunk)
#pragma unroll
                for (int half = 0; half < 2; half++)
#pragma unroll
                    for (int t = 0; t < TILES; t++)
                        multiply(sum[t][DEEP ? e : 0], x.at[e][half],
                                 w[t].at[e][half]);
#pragma unroll
        for (int t = 0; t < TILES; t++)
            ring.leave(slot[t], l);
    }
}

/* The number of the result that a thread finishes. */
struct Goal {
    uint32_t unit, c, col; /* of UNITS; of the unit's columns, and of all */
    bool there;
    float before, bias;
};

__device__ inline Goal
goal_of(const At &at, uint32_t first)
{
    const Product &p = at.phase->product;
    const uint32_t tid = me();
    uint32_t width = p.pairs && p.finish != CUDA_SWIGLU ? 2 * COLS : COLS;
    uint32_t unit = first + tid / width * gridDim.x;
    Goal g = {tid / width, tid % width, 0, false, 0.0F, 0.0F};

    g.col = unit * width + g.c;
    g.there = g.unit < UNITS && unit < p.n_unit && g.col < p.n;
    if (g.there && p.finish == CUDA_ADD)
        g.before =
            take_half(at.phase->old, static_cast<const bf16 *>(p.out), g.col);
    if (g.there && p.bias != nullptr)
        g.bias = to_float(p.bias[g.col]);
    return g;
}

/* As finish() of thin.cu. */
template <int TILES, bool DEEP>
__device__ inline void
finish(const At &at, const Goal &g, const Sums &s)
{
    const Product &p = at.phase->product;
    const Box &box = at.phase->out;
    float sum = 0.0F, value = 0.0F;

#pragma unroll
    for (int w = 0; w < (DEEP ? PARTS : WARPS); w++) {
        sum += s.at[g.unit % UNITS][w][g.c];
        if (TILES == 2)
            value += s.at[g.unit % UNITS][w][COLS + g.c % COLS];
    }
    if (p.finish == CUDA_SWIGLU)
        sum = thin_swiglu(sum, value);
    if (p.bias != nullptr)
        sum += g.bias;
    bf16 half = from_float<bf16>(p.finish == CUDA_ADD ? g.before + sum : sum);

    if (!p.wide)
        put_half(box, g.col, g.there, half);
    if (!g.there)
        return;
    if (p.wide && box.at != nullptr)
        put_word(box.at, g.col, __float_as_uint(sum), box.number);
    if (p.wide && at.phase->kept)
        static_cast<float *>(p.out)[g.col] = sum;
    else if (at.phase->kept)
        static_cast<bf16 *>(p.out)[g.col] = half;
}

template <int TILES, bool DEEP>
__device__ inline void
put(Sums &s, uint32_t unit, const float (&sum)[TILES][EACH][4], const Lane &l)
{
    if (l.g != 0)
        return;
#pragma unroll
    for (int t = 0; t < TILES; t++)
#pragma unroll
        for (int e = 0; e < (DEEP ? EACH : 1); e++)
            *reinterpret_cast<float2 *>(
                &s.at[unit][e * WARPS + l.warp][t * COLS + 2 * l.q]) =
                make_float2(sum[t][e][0], sum[t][e][1]);
}

template <int TILES, bool DEEP>
__device__ inline Ring
multiply_all(const At &at, Goal goal, Ring ring)
{
    const Product &p = at.phase->product;
    Sums &s = *reinterpret_cast<Sums *>(at.work);
    const uint32_t tid = me(), row = shared_at(at.work + sizeof(Sums));
    const Lane l = {tid / 32, tid % 32 / 4, tid % 4};
    const uint32_t begin = unit_of(p.first);

#pragma unroll 1
    for (uint32_t first = begin; first < p.n_unit; first += UNITS * gridDim.x) {
        if (first != begin) {
            goal = goal_of(at, first);
            sync();
        }
#pragma unroll 1
        for (uint32_t u = 0; u < UNITS && first + u * gridDim.x < p.n_unit;
             u++) {
            float sum[TILES][EACH][4] = {};

            add_unit<TILES, DEEP>(sum, row, ring, p.k / CHUNK, l);
            put<TILES, DEEP>(s, u, sum, l);
        }
        sync();
        finish<TILES, DEEP>(at, goal, s);
    }
    return ring;
}

__device__ inline Ring
product(const At &at, const Ring &ring)
{
    const Product &p = at.phase->product;
    uint4 *row = reinterpret_cast<uint4 *>(at.work + sizeof(Sums));
    const uint32_t begin = unit_of(p.first);
    bool mine = begin < p.n_unit, deep = p.k >= CUDA_THIN_DEEP;
    Part scale = {};

    if (mine && p.norm != nullptr)
        scale = part_of({nullptr, 0}, p.norm, p.k, me());
    wait(at);
    if (!mine)
        return ring;
    const Goal goal = goal_of(at, begin);

    if (p.norm != nullptr)
        stage_normed(at, scale, reinterpret_cast<float *>(at.work), row);
    else
        stage_row(at, row);
    sync();
    if (p.pairs)
        return deep ? multiply_all<2, true>(at, goal, ring)
                    : multiply_all<2, false>(at, goal, ring);
    return deep ? multiply_all<1, true>(at, goal, ring)
                : multiply_all<1, false>(at, goal, ring);
}

#endif

} // namespace phase

#endif
