/* SPDX-License-Identifier: Apache-2.0 */
/* Half a tile of sums on its way to device memory, and what is there on its way
 * to them. */
#ifndef KERNELS_CUDA_PRODUCT_STORE_CUH
#define KERNELS_CUDA_PRODUCT_STORE_CUH

#include "kernels/cuda/product_work.cuh"

namespace
{

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

} // namespace

#endif
