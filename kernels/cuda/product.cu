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
#include "kernels/cuda/product_finish.cuh"
#include "kernels/cuda/product_stages.cuh"

namespace
{

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
