/* SPDX-License-Identifier: Apache-2.0 */
/* Cells of one row: an answer's next token.  What counts is how fast weights
 * come from memory, so a launch reads each of them once for up to JOBS cells of
 * one layer, and begins to while the launch before it still runs.
 *
 * A sum is cut by the widths alone: eight columns a block, 64 numbers of k a
 * warp and turn, warps added up in their order.  A row's place among the rows
 * of a tensor core's product changes nothing in its sums. */
#include "kernels/cuda/thin.cuh"

namespace
{

enum { JOBS = CUDA_THIN_JOBS, COLS = CUDA_THIN_COLS, DEPTH = 64, TURN = 4 };

/* ------------------------------------------------------------ products --- */

struct Product {
    Ref out, x, w, bias, norm;
    uint32_t n, k, n_cell;
    float eps;
    uint32_t n_tile, n_turn;
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

/* Where a block is: a tile of columns, and a turn along k. */
struct Place {
    uint32_t tile, turn;
};

/* Weights of a turn: of the lane's column in each tile, 16 numbers of every 64
 * of k. */
template <int TILES> struct Weights {
    uint4 at[TILES][TURN][2];
};

template <int WARPS, int TILES, bool GATED>
__device__ inline void
load(Weights<TILES> &to, const Product &p, const bf16 *w, const Lane &l,
     const Place &at)
{
    if (at.tile >= p.n_tile)
        return;
#pragma unroll
    for (int t = 0; t < TILES; t++) {
        uint32_t col =
            at.tile * COLS * (GATED ? 1 : TILES) + (GATED ? 0 : t * COLS);
        uint32_t row = min(col + l.g, p.n - 1) + (GATED ? t * p.n : 0);
        const bf16 *from = w + row * p.w.ld;

#pragma unroll
        for (int i = 0; i < TURN; i++) {
            uint32_t k = k_of<WARPS>(l, at.turn, i);

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
            squares = thin_squares(x[at], squares);
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
            reinterpret_cast<Eight *>(to + j * pitch)[at] =
                thin_scaled(x[at], w[at], factor);
        }
    }
    __syncthreads();
}

/* One number of a row's result, from the sums of all warps. */
template <int WARPS, int TILES, int FINISH, class T>
__device__ inline void
finish(const Product &p, const Run &run, uint32_t tile,
       const float (*sums)[TILES][JOBS][COLS], uint32_t at)
{
    constexpr int WIDTH = (FINISH == CUDA_SWIGLU ? 1 : TILES) * COLS;
    uint32_t job = at / WIDTH, c = at % WIDTH;
    uint32_t col = tile * WIDTH + c;
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
        sum = thin_swiglu(sum, value);
    if (p.bias.base != nullptr)
        sum += to_float(ref_item<bf16>(p.bias, cell, run.at + job)[col]);
    T *out = ref_rows<T>(p.out, cell, run.at + job, KERNEL_ROWS_ALL) + col;
    *out = from_float<T>(FINISH == CUDA_ADD ? to_float(*out) + sum : sum);
}

/* All tiles of the block for one run; `w` has the first of their weights. */
template <int WARPS, int TILES, int FINISH, class T>
__device__ inline void
multiply_run(const Product &p, const Run &run, const Rows &x, Weights<TILES> &w,
             float (*sums)[TILES][JOBS][COLS])
{
    constexpr bool GATED = FINISH == CUDA_SWIGLU;
    const Lane l = lane_of();
    Place at = {blockIdx.y, 0};

    while (at.tile < p.n_tile) {
        float sum[TILES][4] = {};
        uint32_t tile = at.tile;

        for (uint32_t turn = 0; turn < p.n_turn; turn++) {
            at = turn + 1 < p.n_turn ? Place{tile, turn + 1}
                                     : Place{tile + gridDim.y, 0};
            if (TILES == 1) {
                Weights<TILES> next;

                load<WARPS, TILES, GATED>(next, p, run.w, l, at);
                multiply_turn<WARPS, TILES>(sum, w, x, p, l, turn);
                w = next;
            } else {
                multiply_turn<WARPS, TILES>(sum, w, x, p, l, turn);
                load<WARPS, TILES, GATED>(w, p, run.w, l, at);
            }
        }
#pragma unroll
        for (int t = 0; t < TILES; t++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                sums[l.warp][t][l.g + i / 2 * 8][2 * l.q + i % 2] = sum[t][i];
        __syncthreads();
        for (uint32_t i = threadIdx.x; i < TILES * JOBS * COLS; i += WARPS * 32)
            finish<WARPS, TILES, FINISH, T>(p, run, tile, sums, i);
        __syncthreads();
    }
}

/* Blocks stay and take tiles in turn, with the next one's weights on their way
 * while the sums of one are added up. */
template <int WARPS, int TILES, bool NORM, int FINISH, class T>
__global__ void
__launch_bounds__(WARPS * 32)
    product_kernel(Product p, const kernel_cell *cells)
{
    extern __shared__ __align__(16) char shared[];
    auto *sums = reinterpret_cast<float(*)[TILES][JOBS][COLS]>(shared);
    float *parts = reinterpret_cast<float *>(sums + WARPS);
    bf16 *xs = reinterpret_cast<bf16 *>(parts + JOBS * WARPS);
    uint32_t at = blockIdx.x * JOBS, end = min(at + JOBS, p.n_cell);
    uint32_t pitch = p.k + 8;
    const Lane l = lane_of();
    bool waited = false;

    while (at < end) {
        Run run = {cells, at, 1, ref_item<bf16>(p.w, cells[at], at)};
        Weights<TILES> w;
        Rows x = {};

        while (at + run.n < end &&
               ref_item<bf16>(p.w, cells[at + run.n], at + run.n) == run.w)
            run.n++;
        load<WARPS, TILES, FINISH == CUDA_SWIGLU>(w, p, run.w, l,
                                                  {blockIdx.y, 0});
        if (!waited)
            thin_wait();
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
        multiply_run<WARPS, TILES, FINISH, T>(p, run, x, w, sums);
        at += run.n;
    }
}

template <int WARPS, int TILES, bool NORM, int FINISH, class T>
cudaError_t
launch_product(const cuda_launch *at, const cuda_thin_product *a,
               const Product &of)
{
    enum { FULL = 16 }; /* warps whose registers fill a multiprocessor */
    auto *kernel = product_kernel<WARPS, TILES, NORM, FINISH, T>;
    Product p = of;
    uint32_t width = (FINISH == CUDA_SWIGLU ? 1 : TILES) * COLS;
    uint32_t n_row = at->n_cell < JOBS ? at->n_cell : uint32_t{JOBS};
    size_t shared = cuda_thin_shared(WARPS, TILES, NORM ? n_row : 0, p.k);
    cudaError_t code = cudaFuncSetAttribute(
        kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
        static_cast<int>(shared));

    if (code != cudaSuccess)
        return code;
    uint32_t n_batch = ceil_div(at->n_cell, JOBS);
    uint32_t n_block = at->n_sm * (FULL / WARPS);

    p.n_tile = ceil_div(p.n, width);
    p.n_turn = ceil_div(p.k, WARPS * TURN * DEPTH);
    n_block = n_block < p.n_tile ? n_block : p.n_tile;
    const ThinGrid grid = {a->chained, dim3(n_batch, n_block), WARPS * 32,
                           shared};
    return thin_launch(at, grid, kernel, p, at->cells);
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
    if (a->finish == CUDA_SWIGLU)
        return launch_product<WARPS, CUDA_THIN_TILES, NORM, CUDA_SWIGLU, bf16>(
            at, a, p);
    return p.n >= CUDA_THIN_WIDE
               ? launch_finish<WARPS, CUDA_THIN_TILES, NORM>(at, a, p)
               : launch_finish<WARPS, 1, NORM>(at, a, p);
}

/* -------------------------------------------------------------- memory --- */

enum {
    READ_COLS = CUDA_THIN_READ_COLS,
    READ_PARTS = CUDA_THIN_READ_PARTS,
    READ_MOST = CUDA_THIN_READ_MOST,
    READ_THREADS = 256
};

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
        factor /= fmaf(dot, factor, 1e-5F);
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
        thin_wait();
        return;
    }
#pragma unroll
    for (int i = 0; i < READ_MOST; i++)
        if (part + i * READ_PARTS < r.dk)
            a[i] = *reinterpret_cast<const float4 *>(
                A + (part + i * READ_PARTS) * r.A.ld);
    thin_wait();
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

} // namespace

cudaError_t
cuda_thin_product_run(const cuda_launch *at, const cuda_thin_product *a)
{
    enum { FEW = CUDA_THIN_WARPS, MANY = CUDA_THIN_MORE_WARPS };
    const Product p = {ref_of(a->out),
                       ref_of(a->x),
                       ref_of(a->w),
                       ref_of(a->bias),
                       ref_of(a->norm),
                       a->n,
                       a->k,
                       at->n_cell,
                       a->eps,
                       0,
                       0};
    bool deep = cuda_thin_warps(a->k) == MANY;

    if (a->norm.buf != nullptr)
        return deep ? launch_tiles<MANY, true>(at, a, p)
                    : launch_tiles<FEW, true>(at, a, p);
    return deep ? launch_tiles<MANY, false>(at, a, p)
                : launch_tiles<FEW, false>(at, a, p);
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

    const ThinGrid grid = {chained, dim3(r.d / READ_COLS, at->n_cell),
                           READ_THREADS, 0};
    return thin_launch(at, grid, read_kernel, r, at->cells);
}
