/* SPDX-License-Identifier: Apache-2.0 */
/* The keys and values of a head, as the warps of a block share them out. */
#ifndef KERNELS_CUDA_PHASE_KEYS_CUH
#define KERNELS_CUDA_PHASE_KEYS_CUH

#include "kernels/cuda/phase_box.cuh"

namespace phase
{

enum {
    D = 64,
    LANES = 32,
    SHARES = CUDA_THIN_SHARES,
    ROUNDS = 4, /* keys of a lane in a share, at most */
    HALF = 16   /* softmaxes of a share that a warp adds up at a time */
};

static_assert(WARPS * 256 / D == LANES && CUDA_THIN_UNIT == uint32_t{LANES},
              "softmaxes of a share");

/* What is kept of the softmax before, and the key's part. */
struct Turn {
    float kept, p;
};

/* A lane's softmax: its part of the share's, and its sum. */
struct Soft {
    float part, sum;
};

struct AttendRoom {
    alignas(16) float q[D];
    alignas(16) bf16 k[D], v[D];
    float top[SHARES], sum[SHARES], out[SHARES][D];
    Soft soft[SHARES][LANES];
    Turn turns[SHARES][ROUNDS][LANES];
};

static_assert(sizeof(AttendRoom) <= WORK, "attention needs more room");

/* A lane's key, and its pair of columns of some values. */
struct Key {
    uint4 at[D / 8];
};
struct Values {
    uint32_t at[HALF];
};

/* Shares of `each` keys: `round` of them a lane; a warp has those from its
 * number on, WARPS apart. */
struct Shares {
    uint32_t n, each, n_round, n_mine; /* keys; of the warp */
};

__device__ inline Shares
shares_of(const Attend &a, uint32_t warp)
{
    Shares s = {a.n_past + 1, 0, 0, 0};

    s.n_round = (s.n + SHARES * LANES - 1) / (SHARES * LANES);
    s.each = s.n_round * LANES;
    while (s.n_mine < SHARES / WARPS &&
           (warp + s.n_mine * WARPS) * s.each < s.n)
        s.n_mine++;
    return s;
}

/* The row's own key is not there yet. */
__device__ inline Key
look_key(const Attend &a, uint32_t kv, uint32_t key, bool there)
{
    const uint4 *from = reinterpret_cast<const uint4 *>(
        a.k + kv + static_cast<size_t>(key) * a.k_ld);
    Key k;

#pragma unroll
    for (int i = 0; i < D / 8; i++)
        k.at[i] = there ? fresh(from + i) : make_uint4(0, 0, 0, 0);
    return k;
}

/* Of keys from `first` on, below n_past. */
__device__ inline Values
look_values(const Attend &a, uint32_t kv, uint32_t first)
{
    const uint32_t *from =
        reinterpret_cast<const uint32_t *>(a.v + kv) + me() % LANES;
    Values v;

#pragma unroll
    for (uint32_t i = 0; i < HALF; i++)
        v.at[i] =
            first + i < a.n_past
                ? fresh(from + static_cast<size_t>(first + i) * (a.v_ld / 2))
                : 0;
    return v;
}

/* The lane's key times the query, in the order of eight lanes' shuffles. */
__device__ inline float
score_of(const Key &key, const float *q)
{
    float part[D / 8];

#pragma unroll
    for (int i = 0; i < D / 8; i++) {
        const Eight &k = reinterpret_cast<const Eight &>(key.at[i]);

        part[i] = 0.0F;
#pragma unroll
        for (int e = 0; e < 8; e++)
            part[i] = fmaf(q[i * 8 + e], to_float(k.at[e]), part[i]);
    }
#pragma unroll
    for (int other = D / 16; other > 0; other /= 2)
#pragma unroll
        for (int i = 0; i < other; i++)
            part[i] += part[i + other];
    return part[0];
}

} // namespace phase

#endif
