/* SPDX-License-Identifier: Apache-2.0 */
/* Weights of narrow types as F32: exact, so that products of them have the bits
 * of products of an F32 copy.
 *
 * Functions here are inlined with a constant type, and hand vectors over by
 * address as tile.h does.  With KERNEL_I8 a number stands for itself times its
 * row's scale, rounded as in F32. */
#ifndef KERNELS_CPU_WIDEN_H
#define KERNELS_CPU_WIDEN_H

#include <stdint.h>
#include <string.h>

#include "base/bf16.h"
#include "kernels/cpu/tile.h"
#include "kernels/kernel.h"

#if defined(__AVX2__) && defined(__F16C__)
#include <immintrin.h>
#endif

/* Loads of TILE_HALF numbers from anywhere. */
typedef uint16_t widen_u16 __attribute__((vector_size(16), aligned(2)));
typedef int8_t widen_i8 __attribute__((vector_size(8), aligned(1)));
typedef uint32_t widen_u32 __attribute__((vector_size(32)));

/* F16.  An exponent of 31, infinity or NaN, moves up to 255; numbers without
 * an exponent are m 2^-24, and get theirs by taking 2^-14 from 2^-14 + m 2^-24.
 */
SIMD_INLINE void
widen_f16(tile_half *out, const widen_u32 *half)
{
    const widen_u32 top = (*half & 0x7c00U) << 13;
    const widen_u32 magnitude = (*half & 0x7fffU) << 13;
    const widen_u32 is_small = (widen_u32)(top == 0U);
    const widen_u32 is_large = (widen_u32)(top == 0x7c00U << 13);
    const widen_u32 usual =
        magnitude + (112U << 23) + (is_large & (112U << 23));
    const tile_half small = (tile_half)(magnitude + (113U << 23)) - 0x1p-14F;

    *out = (tile_half)((*half & 0x8000U) << 16 | (usual & ~is_small) |
                       ((widen_u32)small & is_small));
}

#if defined(__AVX2__) && defined(__F16C__)
/* The instructions of files that are compiled for them. */
SIMD_INLINE void
widen_halves(tile_half *out, const uint16_t *data, const kernel_type type)
{
    const __m128i half = _mm_loadu_si128((const void *)data);

    if (type == KERNEL_BF16)
        *out = (tile_half)_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16);
    else
        *out = (tile_half)_mm256_cvtph_ps(half);
}

SIMD_INLINE void
widen_bytes(tile_half *out, const int8_t *data)
{
    const __m128i byte = _mm_loadl_epi64((const void *)data);

    *out = (tile_half)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(byte));
}
#else
SIMD_INLINE void
widen_halves(tile_half *out, const uint16_t *data, const kernel_type type)
{
    const widen_u16 *from = (const void *)data;
    const widen_u32 bits = __builtin_convertvector(*from, widen_u32);

    if (type == KERNEL_BF16)
        *out = (tile_half)(bits << 16);
    else
        widen_f16(out, &bits);
}

SIMD_INLINE void
widen_bytes(tile_half *out, const int8_t *data)
{
    const widen_i8 *from = (const void *)data;

    *out = __builtin_convertvector(*from, tile_half);
}
#endif

/* TILE_HALF numbers from element `at` on. */
SIMD_INLINE void
widen_vec(tile_half *out, const void *data, size_t at, const kernel_type type,
          float scale)
{
    if (type == KERNEL_F32) {
        *out =
            *(const tile_loose_half *)(const void *)((const float *)data + at);
    } else if (type == KERNEL_I8) {
        widen_bytes(out, (const int8_t *)data + at);
        *out *= scale;
    } else {
        widen_halves(out, (const uint16_t *)data + at, type);
    }
}

/* TILE_VEC numbers. */
SIMD_INLINE void
widen_wide(tile_vec *out, const void *data, size_t at, const kernel_type type,
           float scale)
{
    tile_half low, high;

    widen_vec(&low, data, at, type, scale);
    widen_vec(&high, data, at + TILE_HALF, type, scale);
    *out = __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10,
                                   11, 12, 13, 14, 15);
}

/* As widen_f16(), one number. */
SIMD_INLINE float
widen_f16_one(uint32_t half)
{
    uint32_t top = half & 0x7c00U, bits = (half & 0x7fffU) << 13;
    float x;

    bits += top == 0 ? 113U << 23 : top == 0x7c00U ? 224U << 23 : 112U << 23;
    memcpy(&x, &bits, sizeof(x));
    x -= top == 0 ? 0x1p-14F : 0.0F;
    memcpy(&bits, &x, sizeof(bits));
    bits |= (half & 0x8000U) << 16;
    memcpy(&x, &bits, sizeof(x));
    return x;
}

/* One number. */
SIMD_INLINE float
widen_one(const void *data, size_t at, const kernel_type type, float scale)
{
    uint16_t half;

    if (type == KERNEL_F32)
        return ((const float *)data)[at];
    if (type == KERNEL_I8)
        return (float)((const int8_t *)data)[at] * scale;
    half = ((const uint16_t *)data)[at];
    return type == KERNEL_F16 ? widen_f16_one(half) : bf16_to_float(half);
}

#endif
