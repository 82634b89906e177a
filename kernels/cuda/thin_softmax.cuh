/* SPDX-License-Identifier: Apache-2.0 */
/* Rotation and softmaxes of single rows, for their launches (thin_attend.cu)
 * and for a phase of a program, in one order. */
#ifndef KERNELS_CUDA_THIN_SOFTMAX_CUH
#define KERNELS_CUDA_THIN_SOFTMAX_CUH

#include "kernels/cuda/thin.cuh"

/* A number of a head whose pairs (i, i + D / 2) are turned, from it and the
 * other of the pair. */
__device__ inline float
thin_turn(float2 t, float own, float other, bool first)
{
    return to_float(
        from_float<bf16>(fmaf(t.x, own, (first ? -t.y : t.y) * other)));
}

template <int D>
__device__ inline float
thin_turned(const bf16 *x, const float2 *turns, uint32_t i)
{
    return thin_turn(turns[i % (D / 2)], to_float(x[i]),
                     to_float(x[(i + D / 2) % D]), i < D / 2);
}

/* Softmaxes of n parts, of one number of a head each. */
struct ThinParts {
    const float *top, *sum, *out;
    size_t step, out_step;
    uint32_t n;
};

/* To one, in their order. */
__device__ inline float
thin_join(const ThinParts &p, float *best, float *total)
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

        *total = fmaf(p.sum[i * p.step], e, *total);
        o = fmaf(p.out[i * p.out_step], e, o);
    }
    return o;
}

#endif
