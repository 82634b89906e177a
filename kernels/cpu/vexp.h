/* SPDX-License-Identifier: Apache-2.0 */
/* exp(x) for loops that the compiler turns into vector code. */
#ifndef KERNELS_CPU_VEXP_H
#define KERNELS_CPU_VEXP_H

#include <stdint.h>
#include <string.h>

#include "kernels/cpu/simd.h"

/* Within 2 ulp from -87.3 to 88.7; below that the smallest normal number,
 * above a number near the largest, NaN for NaN.  x = n ln 2 + r with
 * |r| <= ln 2 / 2, and a polynomial for exp(r) (the Taylor series up to r^7,
 * whose rest is below half an ulp there).  Adding 1.5 * 2^23 rounds to an
 * integer and leaves it in the low bits. */
SIMD_INLINE float
vexp_within(float x, const float low, const float high)
{
    const float round = 12582912.0F;
    float shifted, n, r, y, scale;
    uint32_t bits;

    x = x < low ? low : x;
    x = x > high ? high : x;
    shifted = x * 1.44269504F + round;
    n = shifted - round;
    r = x - n * 0.693359375F;   /* ln 2 in two parts: n times the first is */
    r = r + n * 2.12194440e-4F; /* exact, the second carries the rest */
    y = 1.0F / 5040.0F;
    y = y * r + 1.0F / 720.0F;
    y = y * r + 1.0F / 120.0F;
    y = y * r + 1.0F / 24.0F;
    y = y * r + 1.0F / 6.0F;
    y = y * r + 0.5F;
    y = y * r + 1.0F;
    y = y * r + 1.0F;
    memcpy(&bits, &shifted, sizeof(bits));
    bits = (bits + 127U) << 23; /* the low 9 bits of the sum survive */
    memcpy(&scale, &bits, sizeof(scale));
    return y * scale;
}

SIMD_INLINE float
vexp(float x)
{
    return vexp_within(x, -87.33654F, 88.37626F);
}

#endif
