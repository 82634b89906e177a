/* SPDX-License-Identifier: Apache-2.0 */
/* Products by panels of columns and tiles of rows. */
#include "kernels/cpu/product.h"

#include <string.h>

#include "kernels/cpu/blas.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/tile.h"

enum {
    DEPTH = 384,     /* sums go over so many products before they meet c */
    DIRECT_ROWS = 32 /* up to so many rows b is used where it lies */
};

/* ---------------------------------------------------------------- few --- */

/* out[i] = sum_t a[i, t] b[t] for one row and for four. */
SIMD_CLONES static void
dot_1(float *out, const float *a, const float *b, size_t n)
{
    float s = 0;

#pragma omp simd reduction(+ : s)
    for (size_t t = 0; t < n; t++)
        s += a[t] * b[t];
    *out = s;
}

SIMD_CLONES static void
dot_4(float out[4], const float *a, size_t lda, const float *b, size_t n)
{
    const float *a1 = a + lda, *a2 = a1 + lda, *a3 = a2 + lda;
    float s0 = 0, s1 = 0, s2 = 0, s3 = 0;

#pragma omp simd reduction(+ : s0, s1, s2, s3)
    for (size_t t = 0; t < n; t++) {
        s0 += a[t] * b[t];
        s1 += a1[t] * b[t];
        s2 += a2[t] * b[t];
        s3 += a3[t] * b[t];
    }
    out[0] = s0;
    out[1] = s1;
    out[2] = s2;
    out[3] = s3;
}

/* Up to four rows of the longer side against one of the shorter. */
static void
dot_up_to_4(float out[4], const float *a, size_t lda, const float *b,
            cpu_range rows, size_t n)
{
    a += rows.first * lda;
    if (rows.n == 4)
        dot_4(out, a, lda, b, n);
    else
        for (size_t r = 0; r < rows.n; r++)
            dot_1(&out[r], a + r * lda, b, n);
}

static cpu_range
next_4(size_t first, size_t n)
{
    return (cpu_range){first, n - first < 4 ? n - first : 4};
}

static void
put(const product *p, size_t i, size_t j, float sum)
{
    float *c = &p->c[i * p->ldc + j];

    *c = p->alpha * sum + (p->accumulate ? *c : 0.0F);
}

/* Few columns: four rows of a at a time. */
static void
few_columns(const product *p)
{
    float sums[4];

    for (size_t i = 0; i < p->m; i += 4)
        for (size_t j = 0; j < p->n; j++) {
            cpu_range rows = next_4(i, p->m);

            dot_up_to_4(sums, p->a, p->lda, p->b + j * p->ldb, rows, p->k);
            for (size_t r = 0; r < rows.n; r++)
                put(p, i + r, j, sums[r]);
        }
}

/* Few rows: four rows of b at a time, each read once. */
static void
few_rows(const product *p)
{
    float sums[4];

    for (size_t j = 0; j < p->n; j += 4)
        for (size_t i = 0; i < p->m; i++) {
            cpu_range cols = next_4(j, p->n);

            dot_up_to_4(sums, p->b, p->ldb, p->a + i * p->lda, cols, p->k);
            for (size_t r = 0; r < cols.n; r++)
                put(p, i, j + r, sums[r]);
        }
}

/* ---------------------------------------------------------------- cut --- */

/* Some neighbouring panels: columns n0 .. n0 + n_col - 1 of op(b), and of
 * its rows k0 .. k0 + n_k - 1.  Panel j is [n_k, width] and starts at
 * panels + j * n_k * width, with zeros behind the last column. */
typedef struct slab {
    const product *p;
    float *panels;
    size_t width;
    size_t n0, n_col, k0, n_k;
} slab;

typedef void slab_fn(const slab *s);

static void
each_slab(const product *p, float *panels, size_t width, slab_fn *fn)
{
    uint32_t n_pass = cpu_ceil_div(p->k, DEPTH);

    for (uint32_t i = 0; i < n_pass; i++) {
        cpu_range k = cpu_part(p->k, n_pass, i, TILE_VEC);
        size_t n_col = PRODUCT_ROOM / (k.n * width) * width;

        for (size_t n0 = 0; n0 < p->n; n0 += n_col) {
            size_t rest = p->n - n0;
            slab s = {.p = p,
                      .panels = panels,
                      .width = width,
                      .n0 = n0,
                      .n_col = rest < n_col ? rest : n_col,
                      .k0 = k.first,
                      .n_k = k.n};

            fn(&s);
        }
    }
}

/* --------------------------------------------------------------- pack --- */

/* One panel: columns j0 .. j0 + n_col - 1 of the slab. */
SIMD_INLINE void
pack_rows(const slab *s, float *panel, size_t j0, size_t n_col)
{
    const float *b = s->p->b + s->k0 * s->p->ldb + s->n0 + j0;

    for (size_t t = 0; t < s->n_k; t++, panel += s->width, b += s->p->ldb)
        if (n_col == s->width) {
            for (size_t j = 0; j < s->width; j += TILE_VEC)
                *(tile_vec *)(void *)(panel + j) =
                    *(const tile_loose *)(const void *)(b + j);
        } else {
            memcpy(panel, b, n_col * sizeof(*panel));
            memset(panel + n_col, 0, (s->width - n_col) * sizeof(*panel));
        }
}

/* Some columns of a panel from depth `from` on, one by one; b is the panel's
 * first column, n_col how many it has. */
static void
pack_columns(const slab *s, float *panel, const float *b, size_t from,
             cpu_range cols, size_t n_col)
{
    for (size_t j = cols.first; j < cols.first + cols.n; j++)
        for (size_t t = from; t < s->n_k; t++)
            panel[t * s->width + j] = j < n_col ? b[j * s->p->ldb + t] : 0.0F;
}

/* With `square` the parts that fill whole squares of TILE_VEC go through
 * registers. */
SIMD_INLINE void
pack_transposed(const slab *s, float *panel, size_t j0, size_t n_col,
                const bool square)
{
    const float *b = s->p->b + (s->n0 + j0) * s->p->ldb + s->k0;

    for (size_t j = 0; j < s->width; j += TILE_VEC) {
        size_t t = 0;

        if (square && j + TILE_VEC <= n_col)
            for (; t + TILE_VEC <= s->n_k; t += TILE_VEC)
                tile_transpose(panel + t * s->width + j, s->width,
                               b + j * s->p->ldb + t, s->p->ldb);
        pack_columns(s, panel, b, t, (cpu_range){j, TILE_VEC}, n_col);
    }
}

SIMD_INLINE void
pack(const slab *s, const bool square)
{
    float *panel = s->panels;

    for (size_t j0 = 0; j0 < s->n_col; j0 += s->width) {
        size_t rest = s->n_col - j0;
        size_t n_col = rest < s->width ? rest : s->width;

        if (s->p->b_t)
            pack_transposed(s, panel, j0, n_col, square);
        else
            pack_rows(s, panel, j0, n_col);
        panel += s->n_k * s->width;
    }
}

/* -------------------------------------------------------------- sweep --- */

/* Adds sums that are narrower than a panel to c. */
static void
put_narrow(const tile *t, const float *sums, size_t n_row, size_t n_col)
{
    for (size_t i = 0; i < n_row; i++)
        for (size_t j = 0; j < n_col; j++) {
            float *c = &t->c[i * t->ldc + j];

            *c = sums[i * TILE_MAX_COL + j] + (t->accumulate ? *c : 0.0F);
        }
}

/* Whether b can be read in place: few rows would not repay a copy. */
static bool
in_place(const slab *s)
{
    return !s->p->b_t && s->p->m <= DIRECT_ROWS && s->n_col % s->width == 0;
}

/* All panels of the slab for one tile of rows; t->a and t->c are at its first
 * row and the slab's first column. */
SIMD_INLINE void
sweep_row(const slab *s, tile *t, cpu_range rows, const int max_row,
          const int n_vec)
{
    const product *p = s->p;
    size_t last = p->diag + rows.first + rows.n; /* one behind */
    bool direct = in_place(s);
    float sums[TILE_MAX_ROW * TILE_MAX_COL];

    t->n_k = s->n_k;
    if (p->part == PRODUCT_LOWER_A) {
        if (last <= s->k0)
            return;
        t->n_k = last - s->k0 < s->n_k ? last - s->k0 : s->n_k;
    }
    for (size_t j = 0; j < s->n_col; j += s->width, t->c += s->width) {
        size_t rest = s->n_col - j;

        if (p->part == PRODUCT_LOWER_C && s->n0 + j >= last)
            return;
        t->b =
            direct ? p->b + s->k0 * p->ldb + s->n0 + j : s->panels + j * s->n_k;
        if (rest >= s->width) {
            tile_run(t, (int)rows.n, max_row, n_vec);
        } else {
            tile narrow = *t;

            narrow.c = sums;
            narrow.ldc = TILE_MAX_COL;
            narrow.accumulate = false;
            tile_run(&narrow, (int)rows.n, max_row, n_vec);
            put_narrow(t, sums, rows.n, rest);
        }
    }
}

/* All rows of a, in tiles of about equal height <= max_row. */
SIMD_INLINE void
sweep(const slab *s, const int max_row, const int n_vec)
{
    const product *p = s->p;
    uint32_t n_tile = cpu_ceil_div(p->m, (size_t)max_row);
    tile t = {.row_step = p->a_t ? 1 : p->lda,
              .k_step = p->a_t ? p->lda : 1,
              .b_step = in_place(s) ? p->ldb : s->width,
              .ldc = p->ldc,
              .alpha = p->alpha,
              .accumulate = p->accumulate || s->k0 > 0};

    for (uint32_t i = 0; i < n_tile; i++) {
        cpu_range rows = cpu_part(p->m, n_tile, i, 1);

        t.a = p->a + rows.first * t.row_step + s->k0 * t.k_step;
        t.c = p->c + rows.first * p->ldc + s->n0;
        sweep_row(s, &t, rows, max_row, n_vec);
    }
}

/* Sums of a tile that fill the registers, and leave room for a row of the
 * panel and an element of a: 14 x 32 in 28 of 32, 6 x 16 in 12 of 16. */
#if defined(__x86_64__)
__attribute__((target("avx512f"))) static void
slab_avx512(const slab *s)
{
    if (!in_place(s))
        pack(s, true);
    sweep(s, 14, 2);
}

__attribute__((target("avx2,fma"))) static void
slab_avx2(const slab *s)
{
    if (!in_place(s))
        pack(s, false);
    sweep(s, 6, 1);
}
#endif

static void
slab_plain(const slab *s)
{
    if (!in_place(s))
        pack(s, false);
    sweep(s, 4, 1);
}

/* -------------------------------------------------------------- ways --- */

static const struct way {
    const char *name;
    slab_fn *fn; /* NULL: BLAS, or not in this build */
    size_t width;
} ways[PRODUCT_N_WAY] = {
#if defined(__x86_64__)
    [PRODUCT_AVX512] = {"AVX-512", slab_avx512, 2 * TILE_VEC},
    [PRODUCT_AVX2] = {"AVX2", slab_avx2, TILE_VEC},
#else
    [PRODUCT_AVX512] = {"AVX-512", NULL, 0},
    [PRODUCT_AVX2] = {"AVX2", NULL, 0},
#endif
    [PRODUCT_BLAS] = {"BLAS", NULL, 0},
    [PRODUCT_PLAIN] = {"plain", slab_plain, TILE_VEC},
};

bool
product_has(product_way way)
{
    switch (way) {
    case PRODUCT_AVX512:
#if defined(__x86_64__)
        return __builtin_cpu_supports("avx512f");
#else
        return false;
#endif
    case PRODUCT_AVX2:
#if defined(__x86_64__)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
        return false;
#endif
    case PRODUCT_BLAS:
        return blas_present();
    case PRODUCT_PLAIN:
    case PRODUCT_N_WAY:
        break;
    }
    return true;
}

product_way
product_best(void)
{
    product_way way = PRODUCT_AVX512;

    while (!product_has(way))
        way++;
    return way;
}

const char *
product_name(product_way way)
{
    return ways[way].name;
}

void
product_run_by(product_way way, const product *p, float *panels)
{
    if (p->b_t && !p->a_t && p->m <= PRODUCT_FEW)
        few_rows(p);
    else if (p->b_t && !p->a_t && p->n <= PRODUCT_FEW)
        few_columns(p);
    else if (way == PRODUCT_BLAS)
        blas_run(p);
    else
        each_slab(p, panels, ways[way].width, ways[way].fn);
}

void
product_run(const product *p, float *panels)
{
    product_run_by(product_best(), p, panels);
}
