/* SPDX-License-Identifier: Apache-2.0 */
/* The numbers of kernel_fill(), the same on every device and machine. */
#ifndef KERNELS_RANDOM_H
#define KERNELS_RANDOM_H

#include <stdint.h>

#include "kernels/kernel.h"

#ifdef __CUDACC__
#define RANDOM_INLINE __host__ __device__ static inline
#else
#define RANDOM_INLINE static inline
#endif

/* The finalizer of SplitMix64 (Steele, Lea and Flood 2014): 64 well-mixed bits
 * of a counter, so that any part of a tensor can be made on its own. */
RANDOM_INLINE uint64_t
random_mix(uint64_t x)
{
    x += UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
    return x ^ x >> 31;
}

/* The sum of four uniform numbers of 16 bits less its mean: close to normal,
 * and an integer, so that it is the same everywhere. */
RANDOM_INLINE int32_t
random_sum(uint64_t bits)
{
    return (int32_t)(bits & 0xffff) + (int32_t)(bits >> 16 & 0xffff) +
           (int32_t)(bits >> 32 & 0xffff) + (int32_t)(bits >> 48) - 2 * 65535;
}

/* Makes the variance 1: each number has the variance (65536^2 - 1) / 12. */
#define RANDOM_UNIT 2.6428997e-5f

/* Element i of what kernel_fill() makes, on a host. */
static inline float
random_value(const kernel_random *law, uint64_t i)
{
    int32_t sum = random_sum(random_mix(law->key + law->first + i));

    return law->mean + law->spread * ((float)sum * RANDOM_UNIT);
}

#endif
