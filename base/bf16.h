/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers in bf16: the upper half of a float.
 *
 * Inlined wherever they are called, so that a loop over them is vectorised as
 * its own function is compiled. */
#ifndef BASE_BF16_H
#define BASE_BF16_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define BF16_INLINE static inline __attribute__((always_inline))

/* To the nearest, of two equally near to the one whose last bit is 0; beyond
 * the largest is infinity.  Subnormals are numbers like others.  A NaN stays
 * one, with its sign, and becomes quiet. */
BF16_INLINE uint16_t
bf16_from_float(float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof(bits));
    if ((bits & 0x7fffffffU) > 0x7f800000U)
        return (uint16_t)(bits >> 16 | 0x40U);
    return (uint16_t)((bits + 0x7fffU + (bits >> 16 & 1U)) >> 16);
}

/* Exact. */
BF16_INLINE float
bf16_to_float(uint16_t half)
{
    uint32_t bits = (uint32_t)half << 16;
    float x;

    memcpy(&x, &bits, sizeof(x));
    return x;
}

/* data[n], whose first half holds n numbers in bf16: they become floats there.
 */
static inline void
bf16_to_floats(float *data, size_t n)
{
    for (size_t i = n; i-- > 0;) {
        uint16_t half;
        float x;

        memcpy(&half, (const char *)data + i * sizeof(half), sizeof(half));
        x = bf16_to_float(half);
        memcpy(&data[i], &x, sizeof(x));
    }
}

#endif
