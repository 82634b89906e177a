/* SPDX-License-Identifier: Apache-2.0 */
/* The innermost part of a product: a tile of sums held in registers.
 *
 * Functions here are inlined into a caller that was compiled for some
 * instruction set, with constant sizes, and are written with the compiler's
 * vectors of TILE_VEC floats, which become as many registers as that set
 * needs. */
#ifndef KERNELS_CPU_TILE_H
#define KERNELS_CPU_TILE_H

#include <stdbool.h>
#include <stddef.h>

#include "kernels/cpu/simd.h"

enum {
    TILE_VEC = 16,
    TILE_MAX_ROW = 14,
    TILE_MAX_VEC = 2,
    TILE_MAX_COL = TILE_MAX_VEC * TILE_VEC
};

/* The second type may lie anywhere in memory. */
typedef float tile_vec __attribute__((vector_size(64)));
typedef float tile_loose __attribute__((vector_size(64), aligned(4)));

/* c[i, j] = alpha sum_t a[i, t] b[t, j], or c += that. */
typedef struct tile {
    const float *a; /* element [i, t] at i * row_step + t * k_step */
    size_t row_step, k_step;
    const float *b; /* [n_k, n_vec * TILE_VEC], rows b_step apart */
    size_t b_step;
    size_t n_k;
    float *c;
    size_t ldc;
    float alpha;
    bool accumulate;
} tile;

/* Every sum goes over t in order, in one register: the height of a tile does
 * not change any value. */
SIMD_INLINE void
tile_fixed(const tile *t, const int n_row, const int n_vec)
{
    tile_vec sum[TILE_MAX_ROW][TILE_MAX_VEC];
    const float *a = t->a;
    const float *b = t->b;
    size_t row_step = t->row_step, k_step = t->k_step, b_step = t->b_step;

#pragma GCC unroll 16
    for (int i = 0; i < n_row; i++)
#pragma GCC unroll 2
        for (int v = 0; v < n_vec; v++)
            sum[i][v] = (tile_vec){0};
    for (size_t left = t->n_k; left > 0; left--) {
        const tile_loose *row = (const void *)b;

#pragma GCC unroll 16
        for (int i = 0; i < n_row; i++) {
            float f = a[(size_t)i * row_step];

#pragma GCC unroll 2
            for (int v = 0; v < n_vec; v++)
                sum[i][v] += f * row[v];
        }
        a += k_step;
        b += b_step;
    }
#pragma GCC unroll 16
    for (int i = 0; i < n_row; i++)
#pragma GCC unroll 2
        for (int v = 0; v < n_vec; v++) {
            tile_loose *c = (void *)(t->c + (size_t)i * t->ldc + v * TILE_VEC);

            if (t->accumulate)
                *c += t->alpha * sum[i][v];
            else
                *c = t->alpha * sum[i][v];
        }
}

#define TILE_CASE(n)                                                           \
    case n:                                                                    \
        if ((n) <= max_row)                                                    \
            tile_fixed(t, n, n_vec);                                           \
        break

/* n_row is known when it runs, max_row and n_vec when it is compiled. */
SIMD_INLINE void
tile_run(const tile *t, int n_row, const int max_row, const int n_vec)
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

/* One stage of a transpose: rows i and i + step exchange the halves of every
 * 2 * step columns, as `low` and `high` pick them. */
#define TILE_STAGE(r, step, low, high)                                         \
    _Pragma("GCC unroll 16") for (int i = 0; i < TILE_VEC;                     \
                                  i++) if ((i & (step)) == 0)                  \
    {                                                                          \
        tile_vec x = r[i], y = r[i + (step)];                                  \
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

/* to[j, i] = from[i, j] for TILE_VEC x TILE_VEC elements. */
SIMD_INLINE void
tile_transpose(float *to, size_t ld_to, const float *from, size_t ld_from)
{
    tile_vec r[TILE_VEC];

#pragma GCC unroll 16
    for (int i = 0; i < TILE_VEC; i++)
        r[i] = *(const tile_loose *)(const void *)(from + (size_t)i * ld_from);
    TILE_STAGE(r, 8, TILE_LOW_8, TILE_HIGH_8)
    TILE_STAGE(r, 4, TILE_LOW_4, TILE_HIGH_4)
    TILE_STAGE(r, 2, TILE_LOW_2, TILE_HIGH_2)
    TILE_STAGE(r, 1, TILE_LOW_1, TILE_HIGH_1)
#pragma GCC unroll 16
    for (int i = 0; i < TILE_VEC; i++)
        *(tile_vec *)(void *)(to + (size_t)i * ld_to) = r[i];
}

#endif
