/* SPDX-License-Identifier: Apache-2.0 */
/* Products of bf16 with fp32 sums on Hopper's tensor cores.
 *
 * Blocks stay and take tiles of ROWS x COLS sums in turn.  One thread of the
 * last warp group fetches blocks of 64 columns of x and w ahead, STAGES of
 * them; each of the other two groups multiplies 64 rows and then finishes its
 * half of the tile while the other is still multiplying.  Pairs of blocks
 * share the rows of x where columns come in pairs.
 *
 * A sum is taken in the order of k whatever the group, so the bits of a cell
 * depend on its operands alone. */
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

/* -------------------------------------------------------------- finish --- */

/* Where a thread's sums lie in its group's half of a tile. */
struct Lane {
    uint32_t row, col; /* first row, and column inside 8 */
};

__device__ inline Lane
lane_of()
{
    uint32_t warp = threadIdx.x / 32 % 4, lane = threadIdx.x % 32;

    return {16 * warp + lane / 4, 2 * (lane % 4)};
}

__device__ inline uint32_t
pack(float a, float b)
{
    __nv_bfloat162 p = __floats2bfloat162_rn(a, b);

    return *reinterpret_cast<uint32_t *>(&p);
}

__device__ inline float2
unpack(uint32_t p)
{
    return __bfloat1622float2(*reinterpret_cast<__nv_bfloat162 *>(&p));
}

/* Half of a tile in device memory: rows of `out` that are there. */
struct Half {
    char *out; /* row 0, column 0 of the tile's half */
    size_t ld; /* bytes */
    uint32_t n_row, n_col;
};

/* PART columns of out to staging, where they are there. */
__device__ inline void
stage_in(const Half &h, uint32_t col, char *staging, bool wide)
{
    uint32_t t = threadIdx.x % 128;

    for (uint32_t i = 0; i < GROUP_ROWS * 16 / 128; i++) {
        uint32_t row = i * 8 + t / 16, at = t % 16 * 8;
        char *to = staging + row * PITCH + at * 2;
        const char *from = h.out + row * h.ld + (col + at) * 2;

        if (row >= h.n_row || col + at >= h.n_col)
            continue;
        if (wide && col + at + 8 <= h.n_col) {
            *reinterpret_cast<uint4 *>(to) =
                *reinterpret_cast<const uint4 *>(from);
        } else {
            for (uint32_t j = 0; j < 8 && col + at + j < h.n_col; j++)
                reinterpret_cast<bf16 *>(to)[j] =
                    reinterpret_cast<const bf16 *>(from)[j];
        }
    }
}

__device__ inline void
stage_out(const Half &h, uint32_t col, const char *staging, bool wide)
{
    uint32_t t = threadIdx.x % 128;

#pragma unroll
    for (uint32_t i = 0; i < GROUP_ROWS * 16 / 128; i++) {
        uint32_t row = i * 8 + t / 16, at = t % 16 * 8;
        const char *from = staging + row * PITCH + at * 2;
        char *to = h.out + row * h.ld + (col + at) * 2;

        if (row >= h.n_row || col + at >= h.n_col)
            continue;
        if (wide && col + at + 8 <= h.n_col) {
            *reinterpret_cast<uint4 *>(to) =
                *reinterpret_cast<const uint4 *>(from);
        } else {
            for (uint32_t j = 0; j < 8 && col + at + j < h.n_col; j++)
                reinterpret_cast<bf16 *>(to)[j] =
                    reinterpret_cast<const bf16 *>(from)[j];
        }
    }
}

/* A group's rows of PART columns in shared memory. */
struct Staging {
    char *at;
    uint32_t bar; /* the group's barrier */
    bool wide;    /* device memory takes 16 bytes at a time */
};

/* N columns of sums from `first` on, rounded, to out; with `add`, to what is
 * there. */
template <int N, bool ADD, int S>
__device__ inline void
finish_bf16(const Sums<S> &sums, int first, const Half &h, uint32_t col,
            const Staging &to)
{
    const Lane lane = lane_of();

    if (ADD) {
        stage_in(h, col, to.at, to.wide);
        group_sync(to.bar);
    }
#pragma unroll
    for (int j = 0; j < N / 8; j++)
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const float *s = &sums.at[4 * (first / 8 + j) + 2 * i];
            uint32_t *at = reinterpret_cast<uint32_t *>(
                to.at + (lane.row + 8 * i) * PITCH + (8 * j + lane.col) * 2);

            if (ADD) {
                float2 old = unpack(*at);

                *at = pack(old.x + s[0], old.y + s[1]);
            } else {
                *at = pack(s[0], s[1]);
            }
        }
    group_sync(to.bar);
    stage_out(h, col, to.at, to.wide);
    group_sync(to.bar);
}

template <bool ADD, int S>
__device__ inline void
finish_f32(const Sums<S> &sums, const Half &h)
{
    const Lane lane = lane_of();

#pragma unroll
    for (int j = 0; j < S / 8; j++)
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const float *s = &sums.at[4 * j + 2 * i];
            uint32_t row = lane.row + 8 * i, col = 8 * j + lane.col;
            float *to = reinterpret_cast<float *>(h.out + row * h.ld) + col;

            if (row >= h.n_row)
                continue;
            if (col + 1 < h.n_col) {
                float2 v = {s[0], s[1]};

                if (ADD) {
                    float2 old = *reinterpret_cast<float2 *>(to);

                    v = {old.x + v.x, old.y + v.y};
                }
                *reinterpret_cast<float2 *>(to) = v;
            } else if (col < h.n_col) {
                *to = ADD ? *to + s[0] : s[0];
            }
        }
}

template <int S>
__device__ inline void
add_bias(Sums<S> &sums, const bf16 *bias, uint32_t n_col)
{
    const Lane lane = lane_of();

#pragma unroll
    for (int j = 0; j < S / 8; j++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            uint32_t col = 8 * j + lane.col + i % 2;

            if (col < n_col)
                sums.at[4 * j + i] += to_float(bias[col]);
        }
}

/* silu(gate) value, gates in the first half of the columns. */
template <int S>
__device__ inline void
swiglu(Sums<S> &sums)
{
#pragma unroll
    for (int i = 0; i < S / 4; i++) {
        float gate = sums.at[i];

        sums.at[i] =
            __fdividef(gate, 1.0F + __expf(-gate)) * sums.at[S / 4 + i];
    }
}

/* Turns whole heads of 2 HALF columns; `turns` of the lane's first row. */
template <int HALF, int S>
__device__ inline void
turn_heads(Sums<S> &sums, const float2 *turns, const Half &h, uint32_t n_rot)
{
    const Lane lane = lane_of();

#pragma unroll
    for (int i = 0; i < 2; i++) {
        if (lane.row + 8 * i >= h.n_row)
            continue;
#pragma unroll
        for (int j = 0; j < HALF / 8; j++) {
            float4 t = *reinterpret_cast<const float4 *>(
                turns + (lane.row + 8 * i) * HALF + 8 * j + lane.col);

#pragma unroll
            for (int head = 0; head < S / (2 * HALF); head++) {
                float *a = &sums.at[4 * (head * HALF / 4 + j) + 2 * i];
                float *b = a + HALF / 2;

                if (head * 2 * HALF >= n_rot)
                    continue;
                float a0 = a[0], a1 = a[1];
                a[0] = t.x * a0 - t.y * b[0];
                b[0] = t.x * b[0] + t.y * a0;
                a[1] = t.z * a1 - t.w * b[1];
                b[1] = t.z * b[1] + t.w * a1;
            }
        }
    }
}

/* sigmoid(gate) (value - sum / den), split in two numbers of bf16 and written
 * across: row = column of the sum.  Rows that are not there give zeros. */
template <int S>
__device__ inline void
finish_delta(const Work &w, const Sums<S> &sums, const Half &h,
             const kernel_cell &cell, const Tile &t, uint32_t row0)
{
    const Lane lane = lane_of();
    const float *value = ref_item<float>(w.value, cell, t.place);
    const float *gate = ref_item<float>(w.gate, cell, t.place);
    bf16 *out = ref_item<bf16>(w.out, cell, t.place);

#pragma unroll
    for (int i = 0; i < 2; i++) {
        uint32_t row = row0 + lane.row + 8 * i;
        bool there = row < cell.n_mem;
        float factor = 0.0F, den = 1.0F;

        if (row >= w.m_pad)
            continue;
        if (there) {
            den = w.den[4 * (t.place * w.max_mem + row)];
            factor = 1.0F / (1.0F + expf(-gate[row * w.gate.ld]));
        }
#pragma unroll
        for (int j = 0; j < S / 8; j++)
#pragma unroll
            for (int c = 0; c < 2; c++) {
                uint32_t col = 8 * j + lane.col + c;
                float u = 0.0F, sum = sums.at[4 * j + 2 * i + c];

                if (col >= h.n_col)
                    continue;
                if (there) {
                    u = value[row * w.value.ld + t.col + col];
                    u = factor * (cell.fresh != 0 ? u : u - sum / den);
                }
                bf16 high = from_float<bf16>(u);
                bf16 *to = out + (t.col + col) * w.out.ld + row;

                to[0] = high;
                to[w.m_pad] = from_float<bf16>(u - to_float(high));
            }
    }
}

template <int COLS, int FINISH, bool WIDE>
__device__ inline void
finish(const Work &w, Sums<COLS> &sums, const kernel_cell &cell, const Tile &t,
       uint32_t group, char *staging)
{
    uint32_t row = t.row + group * GROUP_ROWS, rows = work_rows(w, cell);
    size_t size = WIDE ? 4 : 2;
    const Half h = {
        w.out.base +
            ((ref_index(w.out, cell, t.place) * w.out.stride +
              (row0_of(w.out, cell, w.rows) + row) * w.out.ld + t.col) *
             size),
        w.out.ld * size, row < rows ? rows - row : 0,
        w.n > t.col ? w.n - t.col : 0};
    const Staging to = {staging, 1 + group, w.wide_store};

    if (FINISH == CUDA_DELTA) {
        finish_delta(w, sums, h, cell, t, row);
        return;
    }
    if (w.bias.base != nullptr)
        add_bias(sums, ref_item<bf16>(w.bias, cell, t.place) + t.col, h.n_col);
    if (WIDE) {
        finish_f32<FINISH == CUDA_ADD>(sums, h);
        return;
    }
    if (FINISH == CUDA_SWIGLU) {
        swiglu(sums);
        finish_bf16<COLS / 2, false>(sums, 0, h, 0, to);
        return;
    }
    if (FINISH == CUDA_ROPE && t.col < w.n_rot) {
        const float2 *turns = w.turns + (cell.pos + row) * w.half;

        if (w.half == 32)
            turn_heads<32>(sums, turns, h, w.n_rot - t.col);
        else if (COLS >= 128)
            turn_heads<64>(sums, turns, h, w.n_rot - t.col);
    }
#pragma unroll
    for (int first = 0; first < COLS; first += PART)
        finish_bf16<(COLS < PART ? COLS : PART), FINISH == CUDA_ADD>(
            sums, first, h, first, to);
}

/* -------------------------------------------------------------- stages --- */

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

template <int COLS, int PAIR>
__device__ inline void
multiply_tile(const Work &w, Sums<COLS> &sums, uint32_t group, Ring *ring)
{
    using S = Shape<COLS>;
    uint32_t before = 0;

    for (uint32_t k = 0; k < w.n_step; k++) {
        char *xs = ring->stages + ring->stage * S::stage;
        uint64_t x = matrix_at(xs + group * GROUP_ROWS * DEPTH * 2);
        uint64_t ws = matrix_at(xs + ROWS * DEPTH * 2);

        barrier_wait(&ring->full[ring->stage], ring->parity);
        product_fence();
#pragma unroll
        for (int i = 0; i < DEPTH / 16; i++)
            product_step(sums, x + 2 * i, ws + 2 * i, k > 0 || i > 0);
        product_commit();
        if (k > 0) {
            product_wait<1>();
            release<PAIR>(&ring->empty[before]);
        }
        before = ring->stage;
        advance<S::n_stage>(ring);
    }
    product_wait<0>();
    release<PAIR>(&ring->empty[before]);
}

template <int COLS, int PAIR, int FINISH, bool WIDE>
__global__ void
__launch_bounds__(THREADS, 1)
    product_kernel(const __grid_constant__ CUtensorMap x,
                   const __grid_constant__ CUtensorMap wm,
                   const __grid_constant__ Work w, const kernel_cell *cells)
{
    extern __shared__ __align__(1024) char shared[];
    using S = Shape<COLS>;
    char *staging = shared + S::n_stage * S::stage;
    uint64_t *full = reinterpret_cast<uint64_t *>(staging + 2 * STAGING);
    uint64_t *empty = full + S::n_stage;
    uint32_t group = threadIdx.x / 128, rank = PAIR == 1 ? 0 : cluster_rank();
    uint32_t n_tile = w.n_cell * w.n_mtile * (w.n_ntile / PAIR);
    uint32_t first = blockIdx.x / PAIR, step = gridDim.x / PAIR;
    Ring ring = {shared, full, empty, rank, 0, 0};
    Tile t;

    if (threadIdx.x == 0) {
        for (int i = 0; i < S::n_stage; i++) {
            barrier_init(&full[i], 1);
            barrier_init(&empty[i], 2 * PAIR);
        }
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
        asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
    }
    if (PAIR == 1)
        __syncthreads();
    else
        cluster_sync();
    if (group == 2) {
        asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(
            static_cast<int>(FETCH_REGISTERS)));
        if (threadIdx.x == 256) {
            for (uint32_t i = first; i < n_tile; i += step)
                if (tile_of<COLS, PAIR>(w, cells, i, rank, &t))
                    fetch_tile<COLS, PAIR>(w, &x, &wm, cells[t.place], t,
                                           &ring);
        }
    } else {
        asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(
            static_cast<int>(MULTIPLY_REGISTERS)));
        for (uint32_t i = first; i < n_tile; i += step) {
            Sums<COLS> sums;

            if (!tile_of<COLS, PAIR>(w, cells, i, rank, &t))
                continue;
            multiply_tile<COLS, PAIR>(w, sums, group, &ring);
            finish<COLS, FINISH, WIDE>(w, sums, cells[t.place], t, group,
                                       staging + group * STAGING);
        }
    }
    /* No block leaves while another one of its pair may still write here. */
    if (PAIR > 1)
        cluster_sync();
}

/* -------------------------------------------------------------- launch --- */

template <int COLS, int PAIR, int FINISH, bool WIDE>
cudaError_t
launch(const cuda_launch *at, const cuda_product *p, const Work &w)
{
    auto *kernel = product_kernel<COLS, PAIR, FINISH, WIDE>;
    uint32_t n_tile = w.n_cell * w.n_mtile * (w.n_ntile / PAIR);
    uint32_t n_block = at->n_sm / PAIR < n_tile ? at->n_sm / PAIR : n_tile;
    cudaLaunchAttribute cluster;
    cudaLaunchConfig_t cfg = {};
    cudaError_t code = cudaFuncSetAttribute(
        kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
        Shape<COLS>::bytes);

    if (code != cudaSuccess)
        return code;
    cluster.id = cudaLaunchAttributeClusterDimension;
    cluster.val.clusterDim = {PAIR, 1, 1};
    cfg.gridDim = dim3(n_block * PAIR);
    cfg.blockDim = dim3(THREADS);
    cfg.dynamicSmemBytes = Shape<COLS>::bytes;
    cfg.stream = at->stream;
    cfg.attrs = &cluster;
    cfg.numAttrs = 1;
    return cudaLaunchKernelEx(&cfg, kernel, p->x, p->w, w, at->cells);
}

template <int COLS, int FINISH, bool WIDE>
cudaError_t
launch_pairs(const cuda_launch *at, const cuda_product *p, const Work &w)
{
    if (COLS == 256 && w.n_ntile % 2 == 0)
        return launch < COLS, COLS == 256 ? 2 : 1, FINISH, WIDE > (at, p, w);
    return launch<COLS, 1, FINISH, WIDE>(at, p, w);
}

template <int COLS>
cudaError_t
launch_plain(const cuda_launch *at, const cuda_product *p, const Work &w)
{
    bool wide = p->out.type == KERNEL_F32;

    if (p->finish == CUDA_STORE)
        return wide ? launch_pairs<COLS, CUDA_STORE, true>(at, p, w)
                    : launch_pairs<COLS, CUDA_STORE, false>(at, p, w);
    if (p->finish == CUDA_ADD)
        return wide ? launch_pairs<COLS, CUDA_ADD, true>(at, p, w)
                    : launch_pairs<COLS, CUDA_ADD, false>(at, p, w);
    return cudaErrorInvalidValue;
}

cudaError_t
launch_finish(const cuda_launch *at, const cuda_product *p, const Work &w)
{
    if (p->finish == CUDA_SWIGLU)
        return launch_pairs<256, CUDA_SWIGLU, false>(at, p, w);
    if (p->finish == CUDA_ROPE)
        return launch_pairs<256, CUDA_ROPE, false>(at, p, w);
    if (p->finish == CUDA_DELTA)
        return launch_pairs<256, CUDA_DELTA, false>(at, p, w);
    return launch_plain<256>(at, p, w);
}

} // namespace

uint32_t
cuda_product_cols(uint32_t n, cuda_finish finish)
{
    if (finish == CUDA_SWIGLU || finish == CUDA_ROPE || finish == CUDA_DELTA)
        return 256;
    return n > 128 ? 256 : n > 64 ? 128 : 64;
}

uint32_t
cuda_product_rows(uint32_t n, cuda_finish finish)
{
    uint32_t cols = cuda_product_cols(n, finish);
    uint32_t n_tile = ceil_div(n, finish == CUDA_SWIGLU ? cols / 2 : cols);

    return cols == 256 && n_tile % 2 == 0 ? ROWS / 2 : ROWS;
}

cudaError_t
cuda_product_run(const cuda_launch *at, const cuda_product *p)
{
    uint32_t n_row = p->m > 0                     ? p->m
                     : p->rows == KERNEL_ROWS_MEM ? at->max_mem
                                                  : at->max_row;
    uint32_t cols = cuda_product_cols(p->n, p->finish);
    bool swiglu = p->finish == CUDA_SWIGLU;
    Work w = {};

    if (n_row == 0)
        return cudaSuccess;
    w.out = ref_of(p->out);
    w.bias = ref_of(p->bias);
    w.value = ref_of(p->value);
    w.gate = ref_of(p->gate);
    w.x_by = p->x_by;
    w.w_by = p->w_by;
    w.rows = p->rows;
    w.x_one = p->x_one;
    w.w_one = p->w_one;
    w.read = p->read;
    w.write = p->write;
    w.swiglu = swiglu;
    w.m = p->m;
    w.n = p->n;
    w.n_run = p->n_run;
    for (uint32_t r = 0; r < p->n_run; r++) {
        w.x_col[r] = p->run[r].x_col;
        w.w_col[r] = p->run[r].w_col;
        w.run_step[r] = p->run[r].n_step;
        w.n_step += p->run[r].n_step;
    }
    w.n_cell = at->n_cell;
    w.n_mtile = ceil_div(n_row, ROWS);
    w.n_ntile = ceil_div(p->n, swiglu ? cols / 2 : cols);
    w.turns = reinterpret_cast<const float2 *>(p->turns);
    w.half = p->half;
    w.n_rot = p->n_rot;
    w.den = p->den;
    w.m_pad = p->m_pad;
    w.max_mem = at->max_mem;
    w.wide_store = reinterpret_cast<uintptr_t>(w.out.base) % 16 == 0 &&
                   w.out.stride % 8 == 0 && w.out.ld % 8 == 0;
    if (cols == 256)
        return launch_finish(at, p, w);
    if (cols == 128)
        return launch_plain<128>(at, p, w);
    return launch_plain<64>(at, p, w);
}
