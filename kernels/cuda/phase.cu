/* SPDX-License-Identifier: Apache-2.0 */
/* Programs of phases for a single row: the launch, and how phases are written.
 *
 * A multiprocessor has one block, and a block all of its shared memory: most
 * for weights on their way, the rest for what a phase needs. */
#include <string.h>

#include "kernels/cuda/phase_attend.cuh"
#include "kernels/cuda/phase_memory.cuh"
#include "kernels/cuda/phase_product.cuh"

namespace
{

using namespace phase;

struct Shared {
    Pieces pieces;
    alignas(16) char work[WORK];
    Phase phase[2];
    Weights weights[CUDA_PROGRAM_WEIGHTS];
};

enum { WORDS = (sizeof(Phase) + 3) / 4 };

static_assert(sizeof(Shared) <= 227 << 10, "a block may not have more");
static_assert(sizeof(Phase) % 4 == 0 && uint32_t{WORDS} <= THREADS,
              "a word a thread");

#if __CUDA_ARCH__ >= 900

__device__ inline void
run_phase(const At &at, Ring &ring)
{
    switch (at.phase->kind) {
    case PRODUCT:
        ring = product(at, ring);
        break;
    case EMBED:
        embed(at);
        break;
    case READ:
        read(at);
        break;
    case ATTEND:
        attend(at);
        break;
    default:
        pick(at);
        break;
    }
}

/* The last block to end leaves zeros for the next launch. */
__device__ inline void
end_program(uint32_t *count, uint32_t *ended)
{
    if (threadIdx.x != 0)
        return;
    __threadfence();
    if (atomicAdd(ended, 1) == gridDim.x - 1) {
        *count = 0;
        *ended = 0;
    }
}

/* The thread's word of a phase. */
__device__ inline uint32_t
ask(const Program &p, uint32_t i)
{
    const uint32_t tid = me();

    return i < p.n_phase && tid < WORDS
               ? __ldg(reinterpret_cast<const uint32_t *>(p.phases[i].word) +
                       tid)
               : 0;
}

__device__ inline void
place(Phase &to, uint32_t word)
{
    const uint32_t tid = me();

    if (tid < WORDS)
        reinterpret_cast<uint32_t *>(&to)[tid] = word;
    sync();
}

/* The warps that compute. */
__device__ inline void
run_all(const Program &p, Shared &sh)
{
    Ring ring = {&sh.pieces, 0, 0};
    uint32_t n_wait = 0;

    place(sh.phase[0], ask(p, 0));
#pragma unroll 1
    for (uint32_t i = 0; i < p.n_phase; i++) {
        const Phase &next = sh.phase[(i + 1) % 2];
        const At at = {&sh.phase[i % 2], p.state,
                       sh.phase[i % 2].waits ? n_wait : 0, sh.work};
        uint32_t word = ask(p, i + 1);

        run_phase(at, ring);
        if (i + 1 == p.n_phase)
            break;
        place(sh.phase[(i + 1) % 2], word);
        n_wait += next.waits ? 1 : 0;
        if (next.waits && threadIdx.x == 0)
            arrive(p.state);
    }
    end_program(p.state, p.state + 32);
}

#endif

__global__ void
__launch_bounds__(THREADS + BRINGERS * 32, 1) program_kernel(Program p)
{
#if __CUDA_ARCH__ >= 900
    extern __shared__ __align__(128) char shared[];
    Shared &sh = *reinterpret_cast<Shared *>(shared);

    for (uint32_t i = threadIdx.x; i < p.n_weights; i += blockDim.x)
        sh.weights[i] = *reinterpret_cast<const Weights *>(p.weights + i);
    if (threadIdx.x == 0)
        pieces_init(sh.pieces);
    __syncthreads();
    if (threadIdx.x >= THREADS)
        bring_all(sh.pieces, sh.weights, p.n_weights);
    else
        run_all(p, sh);
#endif
}

/* -------------------------------------------------------------- phases --- */

void
put_phase(cuda_phase *out, const Phase &p)
{
    memcpy(out->word, &p, sizeof p);
}

/* The item of a cell that is alone in its group; NULL: there is none. */
template <class T>
T *
item_of(const kernel_view &v, const kernel_cell &cell)
{
    const Ref r = ref_of(v);
    size_t item = r.by == KERNEL_BY_LAYER   ? cell.layer
                  : r.by == KERNEL_BY_SLOT  ? cell.slot
                  : r.by == KERNEL_BY_STATE ? cell.state
                  : r.by == KERNEL_BY_KV    ? cell.kv
                                            : 0;

    return r.base == nullptr ? nullptr
                             : reinterpret_cast<T *>(r.base) + item * r.stride;
}

/* Its row there. */
template <class T>
T *
row_of(const kernel_view &v, const kernel_cell &cell)
{
    T *item = item_of<T>(v, cell);

    return item != nullptr && v.by == KERNEL_BY_SLOT ? item + cell.row0 * v.ld
                                                     : item;
}

} // namespace

bool
cuda_program_fits(uint32_t arch, size_t shared)
{
    return arch >= 90 && shared >= sizeof(Shared);
}

cudaError_t
cuda_program_run(const cuda_program_launch *at)
{
    const Program p = {at->phases, at->weights, at->n_phase, at->n_weights,
                       at->state};
    cudaLaunchAttribute together;
    cudaLaunchConfig_t cfg = {};
    cudaError_t code = cudaFuncSetAttribute(
        program_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
        static_cast<int>(sizeof(Shared)));

    if (code != cudaSuccess)
        return code;
    together.id = cudaLaunchAttributeCooperative;
    together.val.cooperative = 1;
    cfg.gridDim = dim3(at->n_sm);
    cfg.blockDim = dim3(THREADS + BRINGERS * 32);
    cfg.dynamicSmemBytes = sizeof(Shared);
    cfg.stream = at->stream;
    cfg.attrs = &together;
    cfg.numAttrs = 1;
    return cudaLaunchKernelEx(&cfg, program_kernel, p);
}

bool
cuda_phase_product(cuda_phase *out, cuda_weights *weights,
                   const cuda_thin_product *a, const kernel_cell *cell,
                   uint32_t *first, uint32_t n_sm)
{
    const bool gated = a->finish == CUDA_SWIGLU;
    const bool pairs = gated || a->n >= CUDA_THIN_WIDE;
    const bool wide = a->out.type == KERNEL_F32;
    const uint32_t n_unit = ceil_div(a->n, pairs && !gated ? 2 * COLS : COLS);
    Phase p = {};
    Weights brought = {};

    if (a->k * sizeof(bf16) > ROW_BYTES ||
        (a->norm.buf != nullptr && a->k >= CUDA_THIN_DEEP))
        return false;
    p.kind = PRODUCT;
    p.product = {wide ? static_cast<void *>(row_of<float>(a->out, *cell))
                      : static_cast<void *>(row_of<bf16>(a->out, *cell)),
                 row_of<bf16>(a->x, *cell),
                 row_of<bf16>(a->bias, *cell),
                 row_of<bf16>(a->norm, *cell),
                 a->n,
                 a->k,
                 n_unit,
                 *first,
                 a->eps,
                 a->finish,
                 wide,
                 pairs};
    put_phase(out, p);
    brought.w = row_of<bf16>(a->w, *cell);
    brought.ld = static_cast<uint32_t>(a->w.ld);
    brought.n = a->n;
    brought.n_unit = n_unit;
    brought.first = *first;
    brought.n_chunk = static_cast<uint16_t>(a->k / CHUNK);
    brought.pairs = pairs;
    brought.gated = gated;
    memcpy(weights->word, &brought, sizeof brought);
    *first = (*first + n_unit) % n_sm;
    return true;
}

/* Whether rows of bf16 begin at multiples of two numbers. */
static bool
is_paired(const kernel_view &v)
{
    return v.offset % 2 == 0 && v.stride % 2 == 0 && v.ld % 2 == 0;
}

bool
cuda_phase_embed(cuda_phase *out, const kernel_embed_args *a,
                 const kernel_cell *cell)
{
    Phase p = {};

    if (a->x.type != KERNEL_BF16 || a->table.type != KERNEL_BF16 ||
        a->position.buf != nullptr || cell->n_prefix > 0 || cell->n_mem > 0 ||
        a->d % 2 != 0 || !is_paired(a->x) || !is_paired(a->table))
        return false;
    p.kind = EMBED;
    p.embed = {row_of<bf16>(a->x, *cell),
               item_of<int32_t>(a->ids, *cell) + cell->row0,
               nullptr,
               row_of<bf16>(a->table, *cell),
               a->table.ld,
               static_cast<uint32_t>(a->d)};
    put_phase(out, p);
    return true;
}

bool
cuda_phase_read(cuda_phase *out, const kernel_view *x, const kernel_assoc *m,
                const kernel_dpfp_args *d, const kernel_cell *cell)
{
    Phase p = {};

    p.kind = READ;
    p.read = {row_of<bf16>(*x, *cell),
              row_of<float>(m->A, *cell),
              row_of<float>(m->z, *cell),
              row_of<float>(d->x, *cell),
              m->A.ld,
              static_cast<uint32_t>(d->d_mem),
              static_cast<uint32_t>(m->d_key),
              static_cast<uint32_t>(m->d_model),
              d->l2_norm};
    put_phase(out, p);
    return d->x.type == KERNEL_F32;
}

/* Whether a view is of the same rows, further on. */
static bool
is_behind(const kernel_view &v, const kernel_view &q)
{
    return v.buf == q.buf && v.by == q.by && v.stride == q.stride &&
           v.ld == q.ld && v.offset >= q.offset;
}

bool
cuda_phase_attend(cuda_phase *out, const cuda_thin_attention *t,
                  const kernel_cell *cell)
{
    const kernel_attention_args *a = t->args;
    Phase p = {};

    if (a->d_head != D || a->span > 0 || cell->n_mem > 0 ||
        cell->n_past >= ROUNDS * SHARES * LANES || !is_behind(t->k_new, a->q) ||
        !is_behind(t->v_new, a->q) || !is_paired(a->q) ||
        !is_paired(t->k_new) || !is_paired(t->v_new))
        return false;
    p.kind = ATTEND;
    p.attend = {row_of<bf16>(a->out, *cell),
                row_of<bf16>(a->k, *cell),
                row_of<bf16>(a->v, *cell),
                row_of<bf16>(a->q, *cell),
                static_cast<uint32_t>(t->k_new.offset - a->q.offset),
                static_cast<uint32_t>(t->v_new.offset - a->q.offset),
                reinterpret_cast<const float2 *>(t->turns) +
                    static_cast<size_t>(cell->pos) * (D / 2),
                static_cast<uint32_t>(a->k.ld),
                static_cast<uint32_t>(a->v.ld),
                static_cast<uint32_t>(a->n_head),
                static_cast<uint32_t>(a->n_head / a->n_kv),
                cell->n_past,
                a->scale};
    put_phase(out, p);
    return true;
}

bool
cuda_phase_pick(cuda_phase *out, const kernel_sample_op *op,
                const kernel_cell *cell)
{
    Phase p = {};

    if (op->logprobs.buf != nullptr)
        return false;
    p.kind = PICK;
    p.pick = {item_of<int32_t>(op->ids, *cell), nullptr,
              item_of<float>(op->logits, *cell),
              static_cast<uint32_t>(op->n_vocab)};
    put_phase(out, p);
    return true;
}

bool
cuda_phase_picks(cuda_phase *p, int32_t *to, const int32_t *from)
{
    Phase &at = *reinterpret_cast<Phase *>(p->word);

    if (at.kind != PICK || at.pick.id != from || at.pick.copy != nullptr)
        return false;
    at.pick.copy = to;
    return true;
}

bool
cuda_phase_embeds(cuda_phase *p, int32_t *to, const int32_t *from)
{
    Phase &at = *reinterpret_cast<Phase *>(p->word);

    if (at.kind != EMBED || at.embed.id != to)
        return false;
    at.embed.id = from;
    at.embed.copy = to;
    return true;
}
