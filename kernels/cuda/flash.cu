/* SPDX-License-Identifier: Apache-2.0 */
/* Attention on Hopper's tensor cores, block by block with a running softmax
 * (Dao et al. 2022, arXiv:2205.14135): no score reaches device memory.
 *
 * A block has 128 rows of one head: two warp groups of 64, and one thread that
 * fetches blocks of KEYS keys and values ahead.  Rows of a head are computed
 * the same way whatever else is in the launch. */
#include "kernels/cuda/attention.cuh"
#include "kernels/cuda/fast.h"
#include "kernels/cuda/wgmma.cuh"

namespace
{

enum {
    ROWS = 128,
    GROUP_ROWS = 64,
    KEYS = 128,
    N_STAGE = 2,
    THREADS = 384,
    /* All that a block was given at its start, and not one more: a group that
     * waits for registers which nobody has waits for ever. */
    FETCH_REGISTERS = 24,
    MULTIPLY_REGISTERS = 240
};

/* Panels of 64 columns: [D / 64][rows][64] bf16. */
template <int D> struct Shape {
    static constexpr int panels = D / 64;
    static constexpr int q = ROWS * D * 2;
    static constexpr int kv = KEYS * D * 2; /* keys or values of a stage */
    static constexpr int bytes = q + N_STAGE * 2 * kv + 128;
};

struct Flash {
    Attention a;
    uint32_t n_head;
    int q_by, k_by;
};

/* Blocks of keys: of the window first, then own ones. */
struct Span {
    uint32_t window0, n_window_block; /* first row, blocks */
    uint32_t own0, n_own_block;
};

/* What the rows row0 .. of a block see between them, in whole blocks. */
__device__ inline Span
span_of(const Flash &f, const kernel_cell &cell, uint32_t row0)
{
    uint32_t end = min(row0 + ROWS, cell.n_row), first = ~0U, last = 0;
    uint32_t window = ~0U, n_window = 0;
    const uint32_t mem0 = cell.n_row - cell.n_mem;
    /* Runs are monotonous in the row but where kinds of rows change. */
    const uint32_t probe[] = {row0, end - 1, min(max(mem0, row0), end - 1),
                              min(max(mem0, row0 + 1), end) - 1,
                              min(max(f.a.n_sink, row0), end - 1)};

    for (uint32_t row : probe) {
        const Seen s = attention_seen(f.a, cell, row);

        first = min(first, s.first);
        last = max(last, s.end);
        if (s.n_window > s.window) {
            window = min(window, s.window);
            n_window = max(n_window, s.n_window);
        }
    }
    Span s = {0, 0, first / KEYS * KEYS, 0};
    s.n_own_block = (last - s.own0 + KEYS - 1) / KEYS;
    if (n_window > 0) {
        s.window0 = window / KEYS * KEYS;
        s.n_window_block = (n_window - s.window0 + KEYS - 1) / KEYS;
    }
    return s;
}

/* What a block works on, and where in shared memory. */
struct Job {
    uint32_t place, head, row0;
    char *qs, *stages;
    uint64_t *q_full, *full, *empty;
};

struct Maps {
    CUtensorMap q, k, v, window_k, window_v;
};

template <int D>
__device__ inline void
fetch(const Flash &f, const Maps &maps, const kernel_cell &cell, const Job &job)
{
    using S = Shape<D>;
    uint64_t *q_full = job.q_full, *full = job.full, *empty = job.empty;
    const Ref q_ref = {nullptr, 0, 0, f.q_by}, k_ref = {nullptr, 0, 0, f.k_by};
    const Ref w_ref = {nullptr, 0, 0, KERNEL_BY_STATE};
    uint32_t q_item = static_cast<uint32_t>(ref_index(q_ref, cell, job.place));
    uint32_t k_item = static_cast<uint32_t>(ref_index(k_ref, cell, job.place));
    uint32_t w_item = static_cast<uint32_t>(ref_index(w_ref, cell, job.place));
    uint32_t kv = job.head / f.a.group * D;
    const Span span = span_of(f, cell, job.row0);

    barrier_expect(q_full, S::q);
    for (int p = 0; p < S::panels; p++)
        tensor_load(job.qs + p * ROWS * 128, &maps.q, q_full,
                    job.head * D + p * 64, job.row0, q_item);
    for (uint32_t i = 0; i < span.n_window_block + span.n_own_block; i++) {
        bool own = i >= span.n_window_block;
        uint32_t stage = i % N_STAGE, item = own ? k_item : w_item;
        uint32_t row = own ? span.own0 + (i - span.n_window_block) * KEYS
                           : span.window0 + i * KEYS;
        char *ks = job.stages + stage * 2 * S::kv, *vs = ks + S::kv;

        barrier_wait(&empty[stage], (i / N_STAGE + 1) % 2);
        barrier_expect(&full[stage], 2 * S::kv);
        for (int p = 0; p < S::panels; p++) {
            tensor_load(ks + p * KEYS * 128, own ? &maps.k : &maps.window_k,
                        &full[stage], kv + p * 64, row, item);
            tensor_load(vs + p * KEYS * 128, own ? &maps.v : &maps.window_v,
                        &full[stage], kv + p * 64, row, item);
        }
    }
}

/* Leaves only the keys first .. end - 1 of the block from key0 on. */
__device__ inline void
mask(Sums<KEYS> &s, int half, uint32_t key0, uint32_t first, uint32_t end)
{
    uint32_t lane = threadIdx.x % 4 * 2;

#pragma unroll
    for (int j = 0; j < KEYS / 8; j++)
#pragma unroll
        for (int i = 0; i < 2; i++) {
            uint32_t key = key0 + 8 * j + lane + i;

            if (key < first || key >= end)
                s.at[4 * j + 2 * half + i] = -INFINITY;
        }
}

__device__ inline float
quad_max(float x)
{
    x = fmaxf(x, __shfl_xor_sync(0xffffffffU, x, 1));
    return fmaxf(x, __shfl_xor_sync(0xffffffffU, x, 2));
}

__device__ inline float
quad_sum(float x)
{
    x += __shfl_xor_sync(0xffffffffU, x, 1);
    return x + __shfl_xor_sync(0xffffffffU, x, 2);
}

/* A thread's two rows: largest score so far, and sum of its own columns. */
struct Soft {
    float top[2], sum[2];
};

/* Scores to weights, exp2(scale (s - top)); gives what the sums before are
 * multiplied by. */
__device__ inline void
soften(Sums<KEYS> &s, Soft *soft, float scale, float (&kept)[2])
{
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float top = soft->top[half], sum = 0.0F;

#pragma unroll
        for (int j = 0; j < KEYS / 8; j++)
            top = fmaxf(
                top, fmaxf(s.at[4 * j + 2 * half], s.at[4 * j + 2 * half + 1]));
        top = quad_max(top);
        float base = top == -INFINITY ? 0.0F : top * scale;
        kept[half] = exp2f(soft->top[half] * scale - base);
        soft->top[half] = top;
#pragma unroll
        for (int j = 0; j < KEYS / 8; j++)
#pragma unroll
            for (int i = 0; i < 2; i++) {
                float *x = &s.at[4 * j + 2 * half + i];

                *x = exp2f(fmaf(*x, scale, -base));
                sum += *x;
            }
        soft->sum[half] = soft->sum[half] * kept[half] + sum;
    }
}

__device__ inline uint32_t
pack(float a, float b)
{
    __nv_bfloat162 p = __floats2bfloat162_rn(a, b);

    return *reinterpret_cast<uint32_t *>(&p);
}

/* Values of the rows behind the last key: what lies there may be no number,
 * and would not vanish by a weight of 0. */
template <int D>
__device__ inline void
clear_rest(char *vs, uint32_t key0, uint32_t n_key)
{
    if (key0 + KEYS <= n_key)
        return;
    uint32_t first = n_key > key0 ? n_key - key0 : 0;
    for (uint32_t i = first * 8 + threadIdx.x; i < KEYS * 8; i += 256)
        for (int p = 0; p < Shape<D>::panels; p++)
            reinterpret_cast<uint4 *>(vs + p * KEYS * 128)[i] =
                make_uint4(0, 0, 0, 0);
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
    asm volatile("bar.sync 3, 256;" ::: "memory");
}

template <int D>
__device__ inline void
attend(const Flash &f, const kernel_cell &cell, const Job &job, uint32_t group)
{
    using S = Shape<D>;
    uint32_t row0 = job.row0;
    uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32 % 4;
    uint32_t row = row0 + group * GROUP_ROWS + 16 * warp + lane / 4;
    const Span span = span_of(f, cell, row0);
    const Seen seen[2] = {
        attention_seen(f.a, cell, min(row, cell.n_row - 1)),
        attention_seen(f.a, cell, min(row + 8, cell.n_row - 1))};
    uint32_t n_key = (f.a.cached ? cell.n_past : 0) + cell.n_row;
    float scale = f.a.scale * 1.4426950408889634F;
    Soft soft = {{-INFINITY, -INFINITY}, {0.0F, 0.0F}};
    Sums<D> out;
    Sums<KEYS> s;

#pragma unroll
    for (int i = 0; i < D / 2; i++)
        out.at[i] = 0.0F;
    barrier_wait(job.q_full, 0);
    for (uint32_t i = 0; i < span.n_window_block + span.n_own_block; i++) {
        bool own = i >= span.n_window_block;
        uint32_t stage = i % N_STAGE;
        uint32_t key0 = own ? span.own0 + (i - span.n_window_block) * KEYS
                            : span.window0 + i * KEYS;
        const char *ks = job.stages + stage * 2 * S::kv, *vs = ks + S::kv;
        float kept[2];

        barrier_wait(&job.full[stage], i / N_STAGE % 2);
        clear_rest<D>(job.stages + stage * 2 * S::kv + S::kv, key0,
                      own ? n_key : cell.n_window);
        product_fence();
#pragma unroll
        for (int k = 0; k < D / 16; k++)
            product_step(s,
                         matrix_at(job.qs + k / 4 * ROWS * 128 +
                                   group * GROUP_ROWS * 128) +
                             2 * (k % 4),
                         matrix_at(ks + k / 4 * KEYS * 128) + 2 * (k % 4),
                         k > 0);
        product_commit();
        product_wait<0>();
#pragma unroll
        for (int half = 0; half < 2; half++) {
            uint32_t first = own ? seen[half].first : seen[half].window;
            uint32_t end = own ? seen[half].end : seen[half].n_window;

            if (key0 < first || key0 + KEYS > end)
                mask(s, half, key0, first, end);
        }
        soften(s, &soft, scale, kept);
#pragma unroll
        for (int j = 0; j < D / 2; j++)
            out.at[j] *= kept[j / 2 % 2];
        uint32_t weights[KEYS / 16][4];
#pragma unroll
        for (int k = 0; k < KEYS / 4; k++)
            weights[k / 4][k % 4] = pack(s.at[2 * k], s.at[2 * k + 1]);
        product_fence();
#pragma unroll
        for (int k = 0; k < KEYS / 16; k++)
            product_step_across(out, weights[k],
                                matrix_across(vs + k * 16 * 128, KEYS * 128),
                                true);
        product_commit();
        product_wait<0>();
        if (threadIdx.x % 128 == 0)
            barrier_arrive(&job.empty[stage]);
    }
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float sum = quad_sum(soft.sum[half]);
        uint32_t r = row + 8 * half;
        bf16 *to = ref_rows<bf16>(f.a.out, cell, job.place, KERNEL_ROWS_ALL) +
                   r * f.a.out.ld + job.head * D + lane % 4 * 2;

        if (r >= cell.n_row)
            continue;
#pragma unroll
        for (int j = 0; j < D / 8; j++)
            *reinterpret_cast<uint32_t *>(to + 8 * j) =
                pack(out.at[4 * j + 2 * half] / sum,
                     out.at[4 * j + 2 * half + 1] / sum);
    }
}

template <int D>
__global__ void
__launch_bounds__(THREADS, 1)
    flash_kernel(const __grid_constant__ Maps maps,
                 const __grid_constant__ Flash f, const kernel_cell *cells)
{
    extern __shared__ __align__(1024) char shared[];
    using S = Shape<D>;
    char *stages = shared + S::q;
    uint64_t *bars = reinterpret_cast<uint64_t *>(stages + N_STAGE * 2 * S::kv);
    const kernel_cell &cell = cells[blockIdx.z];
    /* Late rows see most and go first. */
    const Job job = {blockIdx.z,
                     blockIdx.x,
                     (gridDim.y - 1 - blockIdx.y) * ROWS,
                     shared,
                     stages,
                     bars,
                     bars + 1,
                     bars + 1 + N_STAGE};
    uint32_t group = threadIdx.x / 128;

    if (job.row0 >= cell.n_row || cell.n_row < CUDA_FLASH_ROWS ||
        job.row0 + ROWS <= cell.n_skip)
        return;
    if (threadIdx.x == 0) {
        barrier_init(job.q_full, 1);
        for (int i = 0; i < N_STAGE; i++) {
            barrier_init(&job.full[i], 1);
            barrier_init(&job.empty[i], 2);
        }
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
        asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
    }
    __syncthreads();
    if (group == 2) {
        asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(
            static_cast<int>(FETCH_REGISTERS)));
        if (threadIdx.x == 256)
            fetch<D>(f, maps, cell, job);
    } else {
        asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(
            static_cast<int>(MULTIPLY_REGISTERS)));
        attend<D>(f, cell, job, group);
    }
}

template <int D>
cudaError_t
launch(const cuda_launch *at, const Maps &maps, const Flash &f)
{
    cudaError_t code = cudaFuncSetAttribute(
        flash_kernel<D>, cudaFuncAttributeMaxDynamicSharedMemorySize,
        Shape<D>::bytes);

    if (code != cudaSuccess)
        return code;
    flash_kernel<D>
        <<<dim3(f.n_head, ceil_div(at->max_row, ROWS), at->n_cell), THREADS,
           Shape<D>::bytes, at->stream>>>(maps, f, at->cells);
    return cudaGetLastError();
}

} // namespace

cudaError_t
cuda_flash_run(const cuda_launch *at, const kernel_attention_args *a,
               const CUtensorMap maps[5])
{
    const Flash f = {attention_of(a), static_cast<uint32_t>(a->n_head), a->q.by,
                     a->k.by};
    const Maps m = {maps[0], maps[1], maps[2], maps[3], maps[4]};

    return a->d_head == 64 ? launch<64>(at, m, f) : launch<128>(at, m, f);
}
