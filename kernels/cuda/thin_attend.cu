/* SPDX-License-Identifier: Apache-2.0 */
/* Attention of cells of one row over their caches, with the rotation of the
 * row and its place in the cache.  The keys of a key head are shared out over
 * blocks by their number alone, and the last block to come adds up what the
 * others left, in the order of the keys. */
#include "kernels/cuda/attention.cuh"
#include "kernels/cuda/thin_softmax.cuh"

namespace
{

/* Keys are shared out in UNITs. */
enum { SHARES = CUDA_THIN_SHARES, WARPS = 8, UNIT = CUDA_THIN_UNIT };

struct Attend {
    Attention a;
    Ref k_new, v_new; /* before the rotation; a.k and a.v: the cache */
    const float2 *turns;
    float *room;       /* [cell, kv head, share, G (D + 2)] */
    uint32_t *tickets; /* [cell, kv head], 0 between launches */
    uint32_t n_kv;
};

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
        s.sum[g] = fmaf(s.sum[g], kept, p);
#pragma unroll
        for (int i = 0; i < 8; i++)
            s.out[g][i] = fmaf(s.out[g][i], kept, p * to_float(ve.at[i]));
    }
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
        r.q[i / D][i % D] = thin_turned<D>(q + i / D * D, turns, i % D);
    if (last && threadIdx.x < D) {
        r.k[threadIdx.x] =
            from_float<bf16>(thin_turned<D>(k, turns, threadIdx.x));
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
        const ThinParts parts = {
            &r.top[0][g], &r.sum[0][g], &r.out[0][g][i % D], G, G * D, N};
        float o = thin_join(parts, &top, &sum);

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
        const ThinParts parts = {tops, tops + G, room + i, EACH, EACH, n_share};
        float o = thin_join(parts, &top, &sum);

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

    thin_wait();
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
    const ThinGrid grid = {chained, dim3(SHARES, f.n_kv, at->n_cell),
                           WARPS * 32, sizeof(Room<D, G>)};
    return thin_launch(at, grid, kernel, f, at->cells);
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
