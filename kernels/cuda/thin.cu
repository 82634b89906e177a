/* SPDX-License-Identifier: Apache-2.0 */
/* Cells of one row: an answer's next token.  What counts is how fast weights
 * come from memory, so a launch reads each of them once for up to JOBS cells of
 * one layer, and begins to while the launch before it still runs.
 *
 * A sum is cut by the widths alone: eight columns a block, 64 numbers of k a
 * warp and turn, warps added up in their order.  A row's place among the rows
 * of a tensor core's product changes nothing in its sums. */
#include "kernels/cuda/attention.cuh"
#include "kernels/cuda/thin.h"

namespace
{

enum { JOBS = 16, DEPTH = 64, TURN = 4, COLS = 8 };

/* What the launches before this one wrote is there from here on. */
__device__ inline void
wait_for_others()
{
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

/* Of a launch; `chained` as thin.h says. */
struct Grid {
    bool chained;
    dim3 blocks;
    uint32_t threads;
    size_t shared;
};

template <class... P, class... A>
cudaError_t
launch(const cuda_launch *at, const Grid &g, void (*kernel)(P...), A... args)
{
    cudaLaunchAttribute early;
    cudaLaunchConfig_t cfg = {};

    early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    early.val.programmaticStreamSerializationAllowed = 1;
    cfg.gridDim = g.blocks;
    cfg.blockDim = dim3(g.threads);
    cfg.dynamicSmemBytes = g.shared;
    cfg.stream = at->stream;
    cfg.attrs = &early;
    cfg.numAttrs = g.chained && at->arch >= 90 ? 1 : 0;
    return cudaLaunchKernelEx(&cfg, kernel, args...);
}

/* ------------------------------------------------------------ products --- */

struct Product {
    Ref out, x, w, bias, norm;
    uint32_t n, k, n_cell;
    float eps;
};

/* Cells `at` .. of a block that share their weights. */
struct Run {
    const kernel_cell *cells;
    uint32_t at, n;
    const bf16 *w;
};

struct Lane {
    uint32_t warp, g, q; /* row or column of eight, and quarter of k */
};

__device__ inline Lane
lane_of()
{
    uint32_t lane = threadIdx.x % 32;

    return {threadIdx.x / 32, lane / 4, lane % 4};
}

template <int WARPS>
__device__ inline uint32_t
k_of(const Lane &l, uint32_t turn, uint32_t i)
{
    return ((turn * TURN + i) * WARPS + l.warp) * DEPTH + 8 * l.q;
}

/* Weights of a turn: of the lane's column in each tile, 16 numbers of every 64
 * of k. */
template <int TILES> struct Weights {
    uint4 at[TILES][TURN][2];
};

template <int WARPS, int TILES, bool GATED>
__device__ inline void
load(Weights<TILES> &to, const Product &p, const bf16 *w, const Lane &l,
     uint32_t turn)
{
#pragma unroll
    for (int t = 0; t < TILES; t++) {
        uint32_t col =
            blockIdx.y * COLS * (GATED ? 1 : TILES) + (GATED ? 0 : t * COLS);
        uint32_t row = min(col + l.g, p.n - 1) + (GATED ? t * p.n : 0);
        const bf16 *from = w + row * p.w.ld;

#pragma unroll
        for (int i = 0; i < TURN; i++) {
            uint32_t k = k_of<WARPS>(l, turn, i);

            if (k >= p.k)
                continue;
            to.at[t][i][0] = *reinterpret_cast<const uint4 *>(from + k);
            to.at[t][i][1] =
                *reinterpret_cast<const uint4 *>(from + k + DEPTH / 2);
        }
    }
}

__device__ inline void
multiply(float (&sum)[4], const uint4 &a, const uint4 &b, const uint4 &w)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
                 : "r"(a.x), "r"(b.x), "r"(a.y), "r"(b.y), "r"(w.x), "r"(w.y));
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
                 : "r"(a.z), "r"(b.z), "r"(a.w), "r"(b.w), "r"(w.z), "r"(w.w));
}

/* The rows of the lane: numbers g and g + 8 of the run; NULL: none. */
struct Rows {
    const bf16 *at[2];
};

__device__ inline uint4
piece(const bf16 *row, uint32_t k)
{
    return row != nullptr ? *reinterpret_cast<const uint4 *>(row + k)
                          : make_uint4(0, 0, 0, 0);
}

template <int WARPS, int TILES>
__device__ inline void
multiply_turn(float (&sum)[TILES][4], const Weights<TILES> &w, const Rows &x,
              const Product &p, const Lane &l, uint32_t turn)
{
#pragma unroll
    for (int i = 0; i < TURN; i++) {
        uint32_t k = k_of<WARPS>(l, turn, i);

        if (k - 8 * l.q >= p.k)
            continue;
#pragma unroll
        for (int half = 0; half < 2; half++) {
            uint4 a = piece(x.at[0], k + half * DEPTH / 2);
            uint4 b = piece(x.at[1], k + half * DEPTH / 2);

#pragma unroll
            for (int t = 0; t < TILES; t++)
                multiply(sum[t], a, b, w.at[t][i][half]);
        }
    }
}

struct alignas(16) Eight {
    bf16 at[8];
};

/* Rows of the run, normalised, into shared memory: [JOBS, pitch]. */
template <int WARPS>
__device__ inline void
normalise(const Product &p, const Run &run, bf16 *to, uint32_t pitch,
          float *parts)
{
    const Eight *w = reinterpret_cast<const Eight *>(
        ref_item<bf16>(p.norm, run.cells[run.at], run.at));

    for (uint32_t j = 0; j < run.n; j++) {
        const kernel_cell &cell = run.cells[run.at + j];
        const Eight *x = reinterpret_cast<const Eight *>(
            ref_rows<bf16>(p.x, cell, run.at + j, KERNEL_ROWS_ALL));
        float squares = 0.0F;

        for (uint32_t at = threadIdx.x; cell.n_row > 0 && at * 8 < p.k;
             at += WARPS * 32) {
            Eight e = x[at];

#pragma unroll
            for (int i = 0; i < 8; i++)
                squares += to_float(e.at[i]) * to_float(e.at[i]);
        }
        squares = warp_sum(squares);
        if (threadIdx.x % 32 == 0)
            parts[j * WARPS + threadIdx.x / 32] = squares;
    }
    __syncthreads();
    for (uint32_t j = 0; j < run.n; j++) {
        const kernel_cell &cell = run.cells[run.at + j];
        const Eight *x = reinterpret_cast<const Eight *>(
            ref_rows<bf16>(p.x, cell, run.at + j, KERNEL_ROWS_ALL));
        float squares = 0.0F;

        for (int i = 0; i < WARPS; i++)
            squares += parts[j * WARPS + i];
        float factor = 1.0F / sqrtf(squares / static_cast<float>(p.k) + p.eps);
        for (uint32_t at = threadIdx.x; cell.n_row > 0 && at * 8 < p.k;
             at += WARPS * 32) {
            Eight e = x[at], scale = w[at];

#pragma unroll
            for (int i = 0; i < 8; i++)
                e.at[i] = from_float<bf16>(to_float(scale.at[i]) *
                                           (to_float(e.at[i]) * factor));
            reinterpret_cast<Eight *>(to + j * pitch)[at] = e;
        }
    }
    __syncthreads();
}

/* One number of a row's result, from the sums of all warps. */
template <int WARPS, int TILES, int FINISH, class T>
__device__ inline void
finish(const Product &p, const Run &run, const float (*sums)[TILES][JOBS][COLS],
       uint32_t at)
{
    constexpr int WIDTH = (FINISH == CUDA_SWIGLU ? 1 : TILES) * COLS;
    uint32_t job = at / WIDTH, c = at % WIDTH;
    uint32_t col = blockIdx.y * WIDTH + c;
    float sum = 0.0F, value = 0.0F;

    if (job >= run.n || col >= p.n || run.cells[run.at + job].n_row == 0)
        return;
    const kernel_cell &cell = run.cells[run.at + job];
    for (int w = 0; w < WARPS; w++) {
        sum += sums[w][c / COLS][job][c % COLS];
        if (FINISH == CUDA_SWIGLU)
            value += sums[w][TILES - 1][job][c % COLS];
    }
    if (FINISH == CUDA_SWIGLU)
        sum = __fdividef(sum, 1.0F + __expf(-sum)) * value;
    if (p.bias.base != nullptr)
        sum += to_float(ref_item<bf16>(p.bias, cell, run.at + job)[col]);
    T *out = ref_rows<T>(p.out, cell, run.at + job, KERNEL_ROWS_ALL) + col;
    *out = from_float<T>(FINISH == CUDA_ADD ? to_float(*out) + sum : sum);
}

template <int WARPS, int TILES, bool NORM, int FINISH, class T>
__global__ void
__launch_bounds__(WARPS * 32)
    product_kernel(Product p, const kernel_cell *cells)
{
    extern __shared__ __align__(16) char shared[];
    auto *sums = reinterpret_cast<float(*)[TILES][JOBS][COLS]>(shared);
    float *parts = reinterpret_cast<float *>(sums + WARPS);
    bf16 *xs = reinterpret_cast<bf16 *>(parts + JOBS * WARPS);
    constexpr bool GATED = FINISH == CUDA_SWIGLU;
    uint32_t at = blockIdx.x * JOBS, end = min(at + JOBS, p.n_cell);
    uint32_t pitch = p.k + 8;
    uint32_t n_turn = (p.k + WARPS * TURN * DEPTH - 1) / (WARPS * TURN * DEPTH);
    const Lane l = lane_of();
    bool waited = false;

    while (at < end) {
        Run run = {cells, at, 1, ref_item<bf16>(p.w, cells[at], at)};
        float sum[TILES][4] = {};
        Weights<TILES> w;
        Rows x = {};

        while (at + run.n < end &&
               ref_item<bf16>(p.w, cells[at + run.n], at + run.n) == run.w)
            run.n++;
        load<WARPS, TILES, GATED>(w, p, run.w, l, 0);
        if (!waited)
            wait_for_others();
        waited = true;
        if (NORM)
            normalise<WARPS>(p, run, xs, pitch, parts);
#pragma unroll
        for (int i = 0; i < 2; i++) {
            uint32_t j = l.g + 8 * i;

            if (j < run.n && cells[at + j].n_row > 0)
                x.at[i] = NORM ? xs + j * pitch
                               : ref_rows<bf16>(p.x, cells[at + j], at + j,
                                                KERNEL_ROWS_ALL);
        }
        for (uint32_t turn = 0; turn < n_turn; turn++) {
            if (TILES == 1) {
                Weights<TILES> next;

                load<WARPS, TILES, GATED>(next, p, run.w, l, turn + 1);
                multiply_turn<WARPS, TILES>(sum, w, x, p, l, turn);
                w = next;
            } else {
                multiply_turn<WARPS, TILES>(sum, w, x, p, l, turn);
                load<WARPS, TILES, GATED>(w, p, run.w, l, turn + 1);
            }
        }
#pragma unroll
        for (int t = 0; t < TILES; t++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                sums[l.warp][t][l.g + i / 2 * 8][2 * l.q + i % 2] = sum[t][i];
        __syncthreads();
        for (uint32_t i = threadIdx.x; i < TILES * JOBS * COLS; i += WARPS * 32)
            finish<WARPS, TILES, FINISH, T>(p, run, sums, i);
        __syncthreads();
        at += run.n;
    }
}

template <int WARPS, int TILES, bool NORM, int FINISH, class T>
cudaError_t
launch_product(const cuda_launch *at, const cuda_thin_product *a,
               const Product &p)
{
    auto *kernel = product_kernel<WARPS, TILES, NORM, FINISH, T>;
    uint32_t width = (FINISH == CUDA_SWIGLU ? 1 : TILES) * COLS;
    size_t shared =
        WARPS * (TILES * JOBS * COLS + JOBS) * sizeof(float) +
        (NORM ? static_cast<size_t>(at->n_cell < JOBS ? at->n_cell
                                                      : uint32_t{JOBS}) *
                    (p.k + 8) * sizeof(bf16)
              : 0);
    cudaError_t code = cudaFuncSetAttribute(
        kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
        static_cast<int>(shared));

    if (code != cudaSuccess)
        return code;
    const Grid grid = {a->chained,
                       dim3(ceil_div(at->n_cell, JOBS), ceil_div(p.n, width)),
                       WARPS * 32, shared};
    return launch(at, grid, kernel, p, at->cells);
}

template <int WARPS, int TILES, bool NORM>
cudaError_t
launch_finish(const cuda_launch *at, const cuda_thin_product *a,
              const Product &p)
{
    if (a->finish == CUDA_ADD)
        return launch_product<WARPS, TILES, NORM, CUDA_ADD, bf16>(at, a, p);
    if (a->out.type == KERNEL_F32)
        return launch_product<WARPS, TILES, NORM, CUDA_STORE, float>(at, a, p);
    return launch_product<WARPS, TILES, NORM, CUDA_STORE, bf16>(at, a, p);
}

template <int WARPS, bool NORM>
cudaError_t
launch_tiles(const cuda_launch *at, const cuda_thin_product *a,
             const Product &p)
{
    enum { WIDE = 16384 }; /* columns enough to fill a device with pairs */

    if (a->finish == CUDA_SWIGLU)
        return launch_product<WARPS, 2, NORM, CUDA_SWIGLU, bf16>(at, a, p);
    return p.n >= WIDE ? launch_finish<WARPS, 2, NORM>(at, a, p)
                       : launch_finish<WARPS, 1, NORM>(at, a, p);
}

/* -------------------------------------------------------------- memory --- */

enum { READ_COLS = 32, READ_PARTS = 32, READ_MOST = 12, READ_THREADS = 256 };

struct Read {
    Ref x, A, z, proj;
    uint32_t w, dk, d; /* dk = 6 w <= READ_PARTS * READ_MOST */
    bool l2_norm;
};

/* Features of the row over their denominator, into f; u: 2 w numbers. */
__device__ inline void
features(const Read &r, const kernel_cell &cell, uint32_t place, float *u,
         float *f)
{
    __shared__ float sums[READ_THREADS / 32];
    const float *x = ref_rows<float>(r.proj, cell, place, KERNEL_ROWS_ALL);
    const float *z = ref_item<float>(r.z, cell, place);
    uint32_t w2 = 2 * r.w;
    float squares = 0.0F, dot = 0.0F, factor = 1.0F;

    for (uint32_t i = threadIdx.x; i < r.w; i += READ_THREADS) {
        u[i] = fmaxf(x[i], 0.0F);
        u[r.w + i] = fmaxf(-x[i], 0.0F);
    }
    __syncthreads();
    for (uint32_t at = threadIdx.x; at < r.dk; at += READ_THREADS) {
        uint32_t i = at % w2, j = at / w2 + 1;

        f[at] = u[i] * u[i >= j ? i - j : i + w2 - j];
        squares = fmaf(f[at], f[at], squares);
        if (r.z.base != nullptr)
            dot = fmaf(z[at], f[at], dot);
    }
    squares = block_sum<READ_THREADS / 32>(squares, sums);
    dot = block_sum<READ_THREADS / 32>(dot, sums);
    if (r.l2_norm)
        factor = 1.0F / fmaxf(sqrtf(squares), 1e-12F);
    if (r.z.base != nullptr)
        factor /= dot * factor + 1e-5F;
    for (uint32_t at = threadIdx.x; at < r.dk; at += READ_THREADS)
        f[at] *= factor;
    __syncthreads();
}

__global__ void
__launch_bounds__(READ_THREADS) read_kernel(Read r, const kernel_cell *cells)
{
    __shared__ float f[READ_PARTS * READ_MOST], u[READ_PARTS * READ_MOST];
    __shared__ float sums[READ_PARTS][READ_COLS + 1];
    const kernel_cell &cell = cells[blockIdx.y];
    uint32_t part = threadIdx.x / 8, col = threadIdx.x % 8 * 4;
    const float *A =
        ref_item<float>(r.A, cell, blockIdx.y) + blockIdx.x * READ_COLS + col;
    float4 a[READ_MOST];
    float sum[4] = {};

    if (cell.n_row == 0 || cell.fresh != 0 || cell.bare != 0) {
        wait_for_others();
        return;
    }
#pragma unroll
    for (int i = 0; i < READ_MOST; i++)
        if (part + i * READ_PARTS < r.dk)
            a[i] = *reinterpret_cast<const float4 *>(
                A + (part + i * READ_PARTS) * r.A.ld);
    wait_for_others();
    features(r, cell, blockIdx.y, u, f);
#pragma unroll
    for (int i = 0; i < READ_MOST; i++) {
        uint32_t k = part + i * READ_PARTS;

        if (k >= r.dk)
            continue;
        sum[0] = fmaf(f[k], a[i].x, sum[0]);
        sum[1] = fmaf(f[k], a[i].y, sum[1]);
        sum[2] = fmaf(f[k], a[i].z, sum[2]);
        sum[3] = fmaf(f[k], a[i].w, sum[3]);
    }
#pragma unroll
    for (int i = 0; i < 4; i++)
        sums[part][col + i] = sum[i];
    __syncthreads();
    if (threadIdx.x >= READ_COLS)
        return;
    bf16 *x = ref_rows<bf16>(r.x, cell, blockIdx.y, KERNEL_ROWS_ALL) +
              blockIdx.x * READ_COLS + threadIdx.x;
    float all = 0.0F;
    for (int i = 0; i < READ_PARTS; i++)
        all += sums[i][threadIdx.x];
    *x = from_float<bf16>(to_float(*x) + all);
}

/* ----------------------------------------------------------- attention --- */

enum { SHARES = 16, WARPS = 8, UNIT = 32 }; /* keys are shared out in UNITs */

struct Attend {
    Attention a;
    Ref k_new, v_new; /* before the rotation; a.k and a.v: the cache */
    const float2 *turns;
    float *room;       /* [cell, kv head, share, G (D + 2)] */
    uint32_t *tickets; /* [cell, kv head], 0 between launches */
    uint32_t n_kv;
};

/* Half of a head's pair i of (i, i + D / 2) turned. */
template <int D>
__device__ inline float
turned(const bf16 *x, const float2 *turns, uint32_t i)
{
    float2 t = turns[i % (D / 2)];
    float a = to_float(x[i]), b = to_float(x[(i + D / 2) % D]);

    return to_float(from_float<bf16>(t.x * a + (i < D / 2 ? -t.y : t.y) * b));
}

template <int D, int G> struct Room {
    bf16 k[D], v[D];
    float q[G][D];
    float top[WARPS * 256 / D][G], sum[WARPS * 256 / D][G];
    float out[WARPS * 256 / D][G][D];
    bool last;
};

/* A lane's eighth or sixteenth of a softmax over the keys of its lanes. */
template <int G> struct Soft {
    float top[G], sum[G], out[G][8];
};

struct Key {
    const bf16 *k, *v;
    bool there;
};

template <int D, int G>
__device__ inline void
take(Soft<G> &s, const Room<D, G> &r, const Key &key, float scale)
{
    uint32_t at = threadIdx.x % (D / 8) * 8;
    Eight ke = *reinterpret_cast<const Eight *>(key.k + at);
    Eight ve = *reinterpret_cast<const Eight *>(key.v + at);

#pragma unroll
    for (int g = 0; g < G; g++) {
        float score = 0.0F;

#pragma unroll
        for (int i = 0; i < 8; i++)
            score = fmaf(r.q[g][at + i], to_float(ke.at[i]), score);
#pragma unroll
        for (int lane = D / 16; lane > 0; lane >>= 1)
            score += __shfl_xor_sync(0xffffffffU, score, lane);
        if (!key.there)
            continue;
        score *= scale;
        float top = fmaxf(s.top[g], score);
        float kept = expf(s.top[g] - top), p = expf(score - top);

        s.top[g] = top;
        s.sum[g] = s.sum[g] * kept + p;
#pragma unroll
        for (int i = 0; i < 8; i++)
            s.out[g][i] = s.out[g][i] * kept + p * to_float(ve.at[i]);
    }
}

/* Softmaxes of n parts, of one number of a head each. */
struct Parts {
    const float *top, *sum, *out;
    size_t step, out_step;
    uint32_t n;
};

/* To one, in their order. */
__device__ inline float
join(const Parts &p, float *best, float *total)
{
    float o = 0.0F;

    *best = -INFINITY;
    *total = 0.0F;
    for (uint32_t i = 0; i < p.n; i++)
        *best = fmaxf(*best, p.top[i * p.step]);
    for (uint32_t i = 0; i < p.n; i++) {
        if (p.top[i * p.step] == -INFINITY)
            continue;
        float e = expf(p.top[i * p.step] - *best);

        *total += p.sum[i * p.step] * e;
        o += p.out[i * p.out_step] * e;
    }
    return o;
}

template <int D, int G>
__device__ inline void
new_rows(const Attend &f, const kernel_cell &cell, Room<D, G> &r, bool last)
{
    uint32_t kv = blockIdx.y * D, place = blockIdx.z;
    const bf16 *q =
        ref_rows<bf16>(f.a.q, cell, place, KERNEL_ROWS_ALL) + kv * G;
    const bf16 *k = ref_rows<bf16>(f.k_new, cell, place, KERNEL_ROWS_ALL) + kv;
    const bf16 *v = ref_rows<bf16>(f.v_new, cell, place, KERNEL_ROWS_ALL) + kv;
    const float2 *turns = f.turns + static_cast<size_t>(cell.pos) * (D / 2);

    for (uint32_t i = threadIdx.x; i < G * D; i += WARPS * 32)
        r.q[i / D][i % D] = turned<D>(q + i / D * D, turns, i % D);
    if (last && threadIdx.x < D) {
        r.k[threadIdx.x] = from_float<bf16>(turned<D>(k, turns, threadIdx.x));
        r.v[threadIdx.x] = v[threadIdx.x];
        ref_item<bf16>(f.a.k, cell,
                       place)[cell.n_past * f.a.k.ld + kv + threadIdx.x] =
            r.k[threadIdx.x];
        ref_item<bf16>(f.a.v, cell,
                       place)[cell.n_past * f.a.v.ld + kv + threadIdx.x] =
            r.v[threadIdx.x];
    }
    __syncthreads();
}

/* The joined softmax of this share, or of all when it is the last to come. */
template <int D, int G>
__device__ inline void
leave(const Attend &f, const kernel_cell &cell, Room<D, G> &r, uint32_t share,
      uint32_t n_share)
{
    constexpr uint32_t N = WARPS * 256 / D, EACH = G * (D + 2);
    uint32_t head = blockIdx.z * f.n_kv + blockIdx.y;
    float *room = f.room + static_cast<size_t>(head) * SHARES * EACH;
    bf16 *out = ref_rows<bf16>(f.a.out, cell, blockIdx.z, KERNEL_ROWS_ALL) +
                blockIdx.y * G * D;
    float top, sum;

    for (uint32_t i = threadIdx.x; i < G * D; i += WARPS * 32) {
        uint32_t g = i / D;
        const Parts parts = {
            &r.top[0][g], &r.sum[0][g], &r.out[0][g][i % D], G, G * D, N};
        float o = join(parts, &top, &sum);

        if (n_share == 1) {
            out[i] = from_float<bf16>(o / sum);
            continue;
        }
        room[share * EACH + i] = o;
        if (i % D == 0) {
            room[share * EACH + G * D + g] = top;
            room[share * EACH + G * D + G + g] = sum;
        }
    }
    if (n_share == 1)
        return;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0)
        r.last = atomicAdd(&f.tickets[head], 1) == n_share - 1;
    __syncthreads();
    if (!r.last)
        return;
    __threadfence();
    for (uint32_t i = threadIdx.x; i < G * D; i += WARPS * 32) {
        const float *tops = room + G * D + i / D;
        const Parts parts = {tops, tops + G, room + i, EACH, EACH, n_share};
        float o = join(parts, &top, &sum);

        out[i] = from_float<bf16>(o / sum);
    }
    if (threadIdx.x == 0)
        f.tickets[head] = 0;
}

template <int D, int G>
__global__ void
__launch_bounds__(WARPS * 32) attend_kernel(Attend f, const kernel_cell *cells)
{
    extern __shared__ __align__(16) char shared[];
    Room<D, G> &r = *reinterpret_cast<Room<D, G> *>(shared);
    constexpr uint32_t N = WARPS * 256 / D; /* keys at a time */
    const kernel_cell &cell = cells[blockIdx.z];
    uint32_t mine = threadIdx.x / (D / 8);

    wait_for_others();
    if (cell.n_row == 0)
        return;
    const Seen seen = attention_seen(f.a, cell, 0);
    uint32_t n = seen.end - seen.first;
    uint32_t each = (n + SHARES * UNIT - 1) / (SHARES * UNIT) * UNIT;
    uint32_t n_share = (n + each - 1) / each;
    if (blockIdx.x >= n_share)
        return;
    uint32_t first = seen.first + blockIdx.x * each;
    uint32_t end = min(first + each, seen.end);
    const bf16 *k = ref_item<bf16>(f.a.k, cell, blockIdx.z) + blockIdx.y * D;
    const bf16 *v = ref_item<bf16>(f.a.v, cell, blockIdx.z) + blockIdx.y * D;
    Soft<G> s;

    new_rows<D, G>(f, cell, r, end == seen.end);
#pragma unroll
    for (int g = 0; g < G; g++) {
        s.top[g] = -INFINITY;
        s.sum[g] = 0.0F;
#pragma unroll
        for (int i = 0; i < 8; i++)
            s.out[g][i] = 0.0F;
    }
    for (uint32_t key0 = first; key0 < end; key0 += N) {
        uint32_t key = min(key0 + mine, end - 1);
        bool is_new = key == cell.n_past;

        const Key of = {is_new ? r.k : k + key * f.a.k.ld,
                        is_new ? r.v : v + key * f.a.v.ld, key0 + mine < end};

        take<D, G>(s, r, of, f.a.scale);
    }
#pragma unroll
    for (int g = 0; g < G; g++) {
        r.top[mine][g] = s.top[g];
        r.sum[mine][g] = s.sum[g];
#pragma unroll
        for (int i = 0; i < 8; i++)
            r.out[mine][g][threadIdx.x % (D / 8) * 8 + i] = s.out[g][i];
    }
    __syncthreads();
    leave<D, G>(f, cell, r, blockIdx.x, n_share);
}

template <int D, int G>
cudaError_t
launch_attend(const cuda_launch *at, bool chained, const Attend &f)
{
    auto *kernel = attend_kernel<D, G>;
    cudaError_t code = cudaFuncSetAttribute(
        kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
        static_cast<int>(sizeof(Room<D, G>)));

    if (code != cudaSuccess)
        return code;
    const Grid grid = {chained, dim3(SHARES, f.n_kv, at->n_cell), WARPS * 32,
                       sizeof(Room<D, G>)};
    return launch(at, grid, kernel, f, at->cells);
}

template <int D>
cudaError_t
launch_group(const cuda_launch *at, bool chained, const Attend &f)
{
    switch (f.a.group) {
    case 1:
        return launch_attend<D, 1>(at, chained, f);
    case 2:
        return launch_attend<D, 2>(at, chained, f);
    case 4:
        return launch_attend<D, 4>(at, chained, f);
    default:
        return cudaErrorInvalidValue;
    }
}

} // namespace

cudaError_t
cuda_thin_product_run(const cuda_launch *at, const cuda_thin_product *a)
{
    enum { DEEP = 4096 };
    const Product p = {
        ref_of(a->out),  ref_of(a->x), ref_of(a->w), ref_of(a->bias),
        ref_of(a->norm), a->n,         a->k,         at->n_cell,
        a->eps};
    bool deep = a->k >= DEEP;

    if (a->norm.buf != nullptr)
        return deep ? launch_tiles<16, true>(at, a, p)
                    : launch_tiles<8, true>(at, a, p);
    return deep ? launch_tiles<16, false>(at, a, p)
                : launch_tiles<8, false>(at, a, p);
}

bool
cuda_thin_read_fits(const kernel_assoc *m)
{
    return m->n_head == 1 && m->d_key % 6 == 0 &&
           m->d_key <= READ_PARTS * READ_MOST && m->d_model % READ_COLS == 0 &&
           m->A.ld % 4 == 0 && m->A.offset % 4 == 0 && m->A.stride % 4 == 0;
}

cudaError_t
cuda_thin_read(const cuda_launch *at, bool chained, const kernel_view *x,
               const kernel_assoc *m, const kernel_dpfp_args *d)
{
    const Read r = {ref_of(*x),
                    ref_of(m->A),
                    ref_of(m->z),
                    ref_of(d->x),
                    static_cast<uint32_t>(d->d_mem),
                    static_cast<uint32_t>(m->d_key),
                    static_cast<uint32_t>(m->d_model),
                    d->l2_norm};

    const Grid grid = {chained, dim3(r.d / READ_COLS, at->n_cell), READ_THREADS,
                       0};
    return launch(at, grid, read_kernel, r, at->cells);
}

size_t
cuda_thin_room(uint32_t n_cell, const kernel_attention_args *a)
{
    return static_cast<size_t>(n_cell) * a->n_kv *
           (1 + SHARES * (a->n_head / a->n_kv) * (a->d_head + 2)) *
           sizeof(float);
}

cudaError_t
cuda_thin_attend(const cuda_launch *at, bool chained,
                 const cuda_thin_attention *t)
{
    size_t n_ticket = static_cast<size_t>(at->n_cell) * t->args->n_kv;
    const Attend f = {attention_of(t->args),
                      ref_of(t->k_new),
                      ref_of(t->v_new),
                      reinterpret_cast<const float2 *>(t->turns),
                      t->room + n_ticket,
                      reinterpret_cast<uint32_t *>(t->room),
                      static_cast<uint32_t>(t->args->n_kv)};

    return t->args->d_head == 64 ? launch_group<64>(at, chained, f)
                                 : launch_group<128>(at, chained, f);
}
