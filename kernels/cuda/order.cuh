/* SPDX-License-Identifier: Apache-2.0 */
/* The order of floats, as unsigned numbers. */
#ifndef KERNELS_CUDA_ORDER_CUH
#define KERNELS_CUDA_ORDER_CUH

#include "kernels/cuda/view.cuh"

/* NaN counts as the least. */
__device__ inline uint32_t
order_of(float x)
{
    uint32_t bits = __float_as_uint(x);

    bits ^= (bits >> 31) != 0 ? 0xffffffffU : 0x80000000U;
    return x != x ? 0 : bits;
}

__device__ inline float
logit_of(uint32_t order)
{
    return __uint_as_float(order ^
                           ((order >> 31) != 0 ? 0x80000000U : 0xffffffffU));
}

#endif
