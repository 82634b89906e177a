/* SPDX-License-Identifier: Apache-2.0 */
/* The innermost part of a product: a tile of sums held in registers.
 *
 * Functions here are inlined into a caller that was compiled for some
 * instruction set, with constant sizes, and are written with the compiler's
 * vectors.  A vector that the set has no registers for would live in memory, so
 * there are two sizes: `wide` ones of 16 floats, and of 8. */
#ifndef KERNELS_CPU_TILE_H
#define KERNELS_CPU_TILE_H

#include <stdbool.h>
#include <stddef.h>

#include "kernels/cpu/simd.h"

enum {
    TILE_VEC = 16, /* floats of a wide vector */
    TILE_HALF = 8,
    TILE_MAX_ROW = 14,
    TILE_N_VEC = 2, /* vectors side by side */
    TILE_MAX_COL = TILE_N_VEC * TILE_VEC
};

/* The loose types may lie anywhere in memory. */
typedef float tile_vec __attribute__((vector_size(64)));
typedef float tile_loose __attribute__((vector_size(64), aligned(4)));
typedef float tile_half __attribute__((vector_size(32)));
typedef float tile_loose_half __attribute__((vector_size(32), aligned(4)));

/* c[i, j] = alpha sum_t a[i, t] b[t, j], or c += that. */
typedef struct tile {
    const float *a; /* element [i, t] at i * row_step + t * k_step */
    size_t row_step, k_step;
    const float *b; /* [n_k, TILE_N_VEC vectors], rows b_step apart */
    size_t b_step;
    size_t n_k;
    float *c;
    size_t ldc;
    float alpha;
    bool accumulate;
} tile;

/* Every sum goes over t in order, in one register: neither the height of a tile
 * nor the size of its vectors changes any value. */
#define TILE_FIXED(name, vec, loose, width)                                    \
    SIMD_INLINE void name(const tile *t, const int n_row)                      \
    {                                                                          \
        vec sum[TILE_MAX_ROW][TILE_N_VEC];                                     \
        const float *a = t->a;                                                 \
        const float *b = t->b;                                                 \
        size_t row_step = t->row_step, k_step = t->k_step, b_step = t->b_step; \
                                                                               \
        _Pragma("GCC unroll 16") for (int i = 0; i < n_row; i++)               \
            _Pragma("GCC unroll 2") for (int v = 0; v < TILE_N_VEC; v++)       \
                sum[i][v] = (vec){0};                                          \
        for (size_t left = t->n_k; left > 0; left--) {                         \
            const loose *row = (const void *)b;                                \
                                                                               \
            _Pragma("GCC unroll 16") for (int i = 0; i < n_row; i++)           \
            {                                                                  \
                float f = a[(size_t)i * row_step];                             \
                                                                               \
                _Pragma("GCC unroll 2") for (int v = 0; v < TILE_N_VEC; v++)   \
                    sum[i][v] += f * row[v];                                   \
            }                                                                  \
            a += k_step;                                                       \
            b += b_step;                                                       \
        }                                                                      \
        _Pragma("GCC unroll 16") for (int i = 0; i < n_row; i++)               \
            _Pragma("GCC unroll 2") for (int v = 0; v < TILE_N_VEC; v++)       \
        {                                                                      \
            loose *c = (void *)(t->c + (size_t)i * t->ldc + v * (width));      \
                                                                               \
            if (t->accumulate)                                                 \
                *c += t->alpha * sum[i][v];                                    \
            else                                                               \
                *c = t->alpha * sum[i][v];                                     \
        }                                                                      \
    }

TILE_FIXED(tile_fixed_wide, tile_vec, tile_loose, TILE_VEC)
TILE_FIXED(tile_fixed_half, tile_half, tile_loose_half, TILE_HALF)

#define TILE_CASE(n)                                                           \
    case n:                                                                    \
        if ((n) <= max_row && wide)                                            \
            tile_fixed_wide(t, n);                                             \
        else if ((n) <= max_row)                                               \
            tile_fixed_half(t, n);                                             \
        break

/* n_row is known when it runs, the others when it is compiled. */
SIMD_INLINE void
tile_run(const tile *t, int n_row, const int max_row, const bool wide)
{
    switch (n_row) {
        TILE_CASE(1);
        TILE_CASE(2);
        TILE_CASE(3);
        TILE_CASE(4);
        TILE_CASE(5);
        TILE_CASE(6);
        TILE_CASE(7);
        TILE_CASE(8);
        TILE_CASE(9);
        TILE_CASE(10);
        TILE_CASE(11);
        TILE_CASE(12);
        TILE_CASE(13);
        TILE_CASE(14);
    default:
        break;
    }
}

/* One stage of a transpose of n x n: rows i and i + step exchange the halves of
 * every 2 * step columns, as `low` and `high` pick them. */
#define TILE_STAGE(vec, n, r, step, low, high)                                 \
    _Pragma("GCC unroll 16") for (int i = 0; i < (n);                          \
                                  i++) if ((i & (step)) == 0)                  \
    {                                                                          \
        vec x = r[i], y = r[i + (step)];                                       \
        r[i] = __builtin_shufflevector(x, y, low);                             \
        r[i + (step)] = __builtin_shufflevector(x, y, high);                   \
    }
#define TILE_LOW_8  0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23
#define TILE_HIGH_8 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31
#define TILE_LOW_4  0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27
#define TILE_HIGH_4 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31
#define TILE_LOW_2  0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29
#define TILE_HIGH_2 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31
#define TILE_LOW_1  0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30
#define TILE_HIGH_1 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31

/* to[j, i] = r[i][j] for TILE_VEC x TILE_VEC elements; r is used up. */
SIMD_INLINE void
tile_transpose(float *to, size_t ld_to, tile_vec r[TILE_VEC])
{
    TILE_STAGE(tile_vec, TILE_VEC, r, 8, TILE_LOW_8, TILE_HIGH_8)
    TILE_STAGE(tile_vec, TILE_VEC, r, 4, TILE_LOW_4, TILE_HIGH_4)
    TILE_STAGE(tile_vec, TILE_VEC, r, 2, TILE_LOW_2, TILE_HIGH_2)
    TILE_STAGE(tile_vec, TILE_VEC, r, 1, TILE_LOW_1, TILE_HIGH_1)
#pragma GCC unroll 16
    for (int i = 0; i < TILE_VEC; i++)
        *(tile_vec *)(void *)(to + (size_t)i * ld_to) = r[i];
}

#define TILE_HALF_LOW_4  0, 1, 2, 3, 8, 9, 10, 11
#define TILE_HALF_HIGH_4 4, 5, 6, 7, 12, 13, 14, 15
#define TILE_HALF_LOW_2  0, 1, 8, 9, 4, 5, 12, 13
#define TILE_HALF_HIGH_2 2, 3, 10, 11, 6, 7, 14, 15
#define TILE_HALF_LOW_1  0, 8, 2, 10, 4, 12, 6, 14
#define TILE_HALF_HIGH_1 1, 9, 3, 11, 5, 13, 7, 15

/* As tile_transpose(), TILE_HALF x TILE_HALF. */
SIMD_INLINE void
tile_transpose_half(float *to, size_t ld_to, tile_half r[TILE_HALF])
{
    TILE_STAGE(tile_half, TILE_HALF, r, 4, TILE_HALF_LOW_4, TILE_HALF_HIGH_4)
    TILE_STAGE(tile_half, TILE_HALF, r, 2, TILE_HALF_LOW_2, TILE_HALF_HIGH_2)
    TILE_STAGE(tile_half, TILE_HALF, r, 1, TILE_HALF_LOW_1, TILE_HALF_HIGH_1)
#pragma GCC unroll 8
    for (int i = 0; i < TILE_HALF; i++)
        *(tile_half *)(void *)(to + (size_t)i * ld_to) = r[i];
}

/* The sum of a vector's elements, always in one order. */
SIMD_INLINE float
tile_sum(const tile_half *v)
{
    tile_half sum = *v;

    sum += __builtin_shufflevector(sum, sum, TILE_HALF_HIGH_4);
    sum += __builtin_shufflevector(sum, sum, TILE_HALF_HIGH_2);
    sum += __builtin_shufflevector(sum, sum, TILE_HALF_HIGH_1);
    return sum[0];
}

#endif
