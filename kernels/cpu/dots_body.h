/* SPDX-License-Identifier: Apache-2.0 */
/* The functions of a table of dots.h, for the instruction set that the file is
 * compiled for. */
#ifndef KERNELS_CPU_DOTS_BODY_H
#define KERNELS_CPU_DOTS_BODY_H

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/dots.h"
#include "kernels/cpu/widen.h"

SIMD_INLINE float
dots_scale(const dots *d, size_t r, const kernel_type type)
{
    return type == KERNEL_I8 ? d->scale[r] : 1.0F;
}

/* What is left of a row behind its last whole vectors, with zeros behind. */
SIMD_INLINE void
dots_rest(float rest[TILE_VEC], const void *row, const cpu_range range,
          const kernel_type type, float scale)
{
    for (size_t i = 0; i < TILE_VEC; i++)
        rest[i] =
            i < range.n ? widen_one(row, range.first + i, type, scale) : 0.0F;
}

/* sum += x w on TILE_VEC elements. */
SIMD_INLINE void
dots_add(tile_half sum[2], const tile_half x[2], const void *w, size_t at,
         const kernel_type type, float scale)
{
    tile_half v;

#pragma GCC unroll 2
    for (int h = 0; h < 2; h++) {
        widen_vec(&v, w, at + (size_t)h * TILE_HALF, type, scale);
        sum[h] += x[h] * v;
    }
}

SIMD_INLINE void
dots_load(tile_half x[2], const float *from)
{
    widen_vec(&x[0], from, 0, KERNEL_F32, 1.0F);
    widen_vec(&x[1], from, TILE_HALF, KERNEL_F32, 1.0F);
}

/* n_row rows, known when it is compiled.  Each has its own TILE_VEC sums, also
 * for the rest of a row: a loop over single elements would be compiled to
 * other roundings for each type. */
SIMD_INLINE void
dots_rows(float *out, const dots *d, const kernel_type type, const int n_row)
{
    size_t whole = d->n / TILE_VEC * TILE_VEC;
    const cpu_range last = {whole, d->n - whole};
    float rest[TILE_VEC], scale[4];
    tile_half sum[4][2], x[2];

#pragma GCC unroll 4
    for (int r = 0; r < n_row; r++) {
        sum[r][0] = sum[r][1] = (tile_half){0};
        scale[r] = dots_scale(d, (size_t)r, type);
    }
    for (size_t t = 0; t < whole; t += TILE_VEC) {
        dots_load(x, d->x + t);
#pragma GCC unroll 4
        for (int r = 0; r < n_row; r++)
            dots_add(sum[r], x, d->w, (size_t)r * d->ldw + t, type, scale[r]);
    }
    if (last.n > 0) {
        dots_rest(rest, d->x, last, KERNEL_F32, 1.0F);
        dots_load(x, rest);
#pragma GCC unroll 4
        for (int r = 0; r < n_row; r++) {
            cpu_range at = {(size_t)r * d->ldw + whole, last.n};

            dots_rest(rest, d->w, at, type, scale[r]);
            dots_add(sum[r], x, rest, 0, KERNEL_F32, 1.0F);
        }
    }
#pragma GCC unroll 4
    for (int r = 0; r < n_row; r++) {
        sum[r][0] += sum[r][1];
        out[r] = tile_sum(&sum[r][0]);
    }
}

/* out[n] = a row of w. */
SIMD_INLINE void
dots_widen(float *out, const dots *d, const kernel_type type)
{
    float scale = dots_scale(d, 0, type);
    size_t t = 0;

    for (; t + TILE_HALF <= d->n; t += TILE_HALF) {
        tile_half v;

        widen_vec(&v, d->w, t, type, scale);
        *(tile_loose_half *)(void *)(out + t) = v;
    }
    for (; t < d->n; t++)
        out[t] = widen_one(d->w, t, type, scale);
}

/* The functions of a type. */
#define DOTS_BODY(name, type)                                                  \
    static void name##_1(float *out, const dots *d)                            \
    {                                                                          \
        dots_rows(out, d, type, 1);                                            \
    }                                                                          \
    static void name##_4(float *out, const dots *d)                            \
    {                                                                          \
        dots_rows(out, d, type, 4);                                            \
    }                                                                          \
    static void name##_widen(float *out, const dots *d)                        \
    {                                                                          \
        dots_widen(out, d, type);                                              \
    }

/* A table of them. */
#define DOTS_TABLE                                                             \
    {                                                                          \
        [KERNEL_F32] = {f32_1, f32_4, f32_widen},                              \
        [KERNEL_BF16] = {bf16_1, bf16_4, bf16_widen},                          \
        [KERNEL_F16] = {f16_1, f16_4, f16_widen},                              \
        [KERNEL_I8] = {i8_1, i8_4, i8_widen},                                  \
    }

#endif
