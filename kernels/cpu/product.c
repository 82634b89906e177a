/* SPDX-License-Identifier: Apache-2.0 */
/* Products by panels of columns and tiles of rows. */
#include "kernels/cpu/product.h"

#include <string.h>

#include "kernels/cpu/blas.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/dots.h"
#include "kernels/cpu/tile.h"
#include "kernels/cpu/widen.h"

enum {
    DEPTH = 384,     /* sums go over so many products before they meet c */
    DIRECT_ROWS = 32 /* up to so many rows b is used where it lies */
};

/* ---------------------------------------------------------------- few --- */

static const dots_set *
dots_of(kernel_type type)
{
    return product_has(PRODUCT_AVX2) ? &dots_avx2[type] : &dots_plain[type];
}

static const void *
b_at(const product *p, size_t at)
{
    return (const char *)p->b + at * kernel_type_size(p->b_type);
}

/* n <= 4 rows. */
static void
dot_some(float sums[4], const dots *d, kernel_type type, size_t n)
{
    const dots_set *set = dots_of(type);
    size_t step = d->ldw * kernel_type_size(type);

    if (n == 4) {
        set->four(sums, d);
        return;
    }
    for (size_t r = 0; r < n; r++) {
        dots one = *d;

        one.w = (const char *)d->w + r * step;
        one.scale = d->scale != NULL ? d->scale + r : NULL;
        set->one(&sums[r], &one);
    }
}

static void
put(const product *p, size_t i, size_t j, float sum)
{
    float *c = &p->c[i * p->ldc + j];

    *c = p->alpha * sum + (p->accumulate ? *c : 0.0F);
}

/* Some columns, n <= 4, of all rows; d->x and n are set here. */
static void
few_columns_of(const product *p, cpu_range cols, dots *d, kernel_type type)
{
    float sums[4];

    for (size_t i = 0; i < p->m; i++) {
        d->x = p->a + i * p->lda;
        dot_some(sums, d, type, cols.n);
        for (size_t r = 0; r < cols.n; r++)
            put(p, i, cols.first + r, sums[r]);
    }
}

/* Four columns at a time, each read once: for two rows and more in F32. */
static void
few(const product *p, float *panels)
{
    bool widen =
        p->b_type != KERNEL_F32 && p->m > 1 && p->k <= PRODUCT_ROOM / 4;

    for (size_t j = 0; j < p->n; j += 4) {
        cpu_range cols = {j, p->n - j < 4 ? p->n - j : 4};
        dots d = {.ldw = p->ldb, .n = p->k};

        for (size_t r = 0; r < cols.n && widen; r++) {
            const dots row = {.w = b_at(p, (j + r) * p->ldb),
                              .scale = p->b_scale != NULL ? p->b_scale + j + r
                                                          : NULL,
                              .n = p->k};

            dots_of(p->b_type)->widen(panels + r * p->k, &row);
        }
        d.w = widen ? panels : b_at(p, j * p->ldb);
        d.ldw = widen ? p->k : p->ldb;
        d.scale = p->b_scale != NULL ? p->b_scale + j : NULL;
        few_columns_of(p, cols, &d, widen ? KERNEL_F32 : p->b_type);
    }
}

/* Few columns: four rows of a at a time, where b is F32 as they are. */
static void
few_columns(const product *p, float *panels)
{
    float sums[4];

    if (p->b_type != KERNEL_F32) {
        few(p, panels);
        return;
    }
    for (size_t i = 0; i < p->m; i += 4)
        for (size_t j = 0; j < p->n; j++) {
            size_t n = p->m - i < 4 ? p->m - i : 4;
            dots d = {.w = p->a + i * p->lda,
                      .ldw = p->lda,
                      .x = b_at(p, j * p->ldb),
                      .n = p->k};

            dot_some(sums, &d, KERNEL_F32, n);
            for (size_t r = 0; r < n; r++)
                put(p, i + r, j, sums[r]);
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
            if (p->hook != NULL)
                p->hook(p->hook_ctx);
        }
    }
}

/* --------------------------------------------------------------- pack --- */

/* One panel: columns j0 .. j0 + n_col - 1 of the slab. */
SIMD_INLINE void
pack_rows(const slab *s, float *panel, size_t j0, size_t n_col)
{
    const float *b = b_at(s->p, s->k0 * s->p->ldb + s->n0 + j0);

    for (size_t t = 0; t < s->n_k; t++, panel += s->width, b += s->p->ldb)
        if (n_col == s->width) {
            for (size_t j = 0; j < s->width; j += TILE_HALF)
                *(tile_half *)(void *)(panel + j) =
                    *(const tile_loose_half *)(const void *)(b + j);
        } else {
            memcpy(panel, b, n_col * sizeof(*panel));
            memset(panel + n_col, 0, (s->width - n_col) * sizeof(*panel));
        }
}

/* A panel's part of a transposed b: columns first .. first + n - 1. */
typedef struct strip {
    const product *p;
    size_t first, n, k0, n_k;
} strip;

SIMD_INLINE float
strip_scale(const strip *b, size_t j, const kernel_type type)
{
    return type == KERNEL_I8 ? b->p->b_scale[b->first + j] : 1.0F;
}

/* TILE_HALF columns j .. of a panel from depth t on, one by one. */
SIMD_INLINE void
pack_columns(float *panel, size_t width, const strip *b, const size_t at[2],
             const kernel_type type)
{
    for (size_t j = at[0]; j < at[0] + TILE_HALF; j++) {
        float scale = j < b->n ? strip_scale(b, j, type) : 0.0F;
        size_t row = (b->first + j) * b->p->ldb + b->k0;

        for (size_t t = at[1]; t < b->n_k; t++)
            panel[t * width + j] =
                j < b->n ? widen_one(b->p->b, row + t, type, scale) : 0.0F;
    }
}

/* A square of columns j .. and depths t .., through registers. */
SIMD_INLINE void
pack_square(float *panel, size_t width, const strip *b, const size_t at[2],
            const kernel_type type)
{
    tile_half r[TILE_HALF];
    size_t row = (b->first + at[0]) * b->p->ldb + b->k0 + at[1];

#pragma GCC unroll 8
    for (int i = 0; i < TILE_HALF; i++)
        widen_vec(&r[i], b->p->b, row + (size_t)i * b->p->ldb, type,
                  strip_scale(b, at[0] + (size_t)i, type));
    tile_transpose_half(panel + at[1] * width + at[0], width, r);
}

SIMD_INLINE void
pack_square_wide(float *panel, size_t width, const strip *b, const size_t at[2],
                 const kernel_type type)
{
    tile_vec r[TILE_VEC];
    size_t row = (b->first + at[0]) * b->p->ldb + b->k0 + at[1];

#pragma GCC unroll 16
    for (int i = 0; i < TILE_VEC; i++)
        widen_wide(&r[i], b->p->b, row + (size_t)i * b->p->ldb, type,
                   strip_scale(b, at[0] + (size_t)i, type));
    tile_transpose(panel + at[1] * width + at[0], width, r);
}

/* The parts that fill whole squares go through registers. */
SIMD_INLINE void
pack_strip(float *panel, size_t width, const strip *b, const bool wide,
           const kernel_type type)
{
    size_t t = 0;

    if (wide && b->n == width)
        for (; t + TILE_VEC <= b->n_k; t += TILE_VEC)
            for (size_t j = 0; j < width; j += TILE_VEC)
                pack_square_wide(panel, width, b, (size_t[2]){j, t}, type);
    for (size_t j = 0; j < width; j += TILE_HALF) {
        size_t from = t;

        if (j + TILE_HALF <= b->n)
            for (; from + TILE_HALF <= b->n_k; from += TILE_HALF)
                pack_square(panel, width, b, (size_t[2]){j, from}, type);
        pack_columns(panel, width, b, (size_t[2]){j, from}, type);
    }
}

SIMD_INLINE void
pack_transposed(float *panel, size_t width, const strip *b, const bool wide)
{
    switch (b->p->b_type) {
    case KERNEL_F32:
        pack_strip(panel, width, b, wide, KERNEL_F32);
        break;
    case KERNEL_BF16:
        pack_strip(panel, width, b, wide, KERNEL_BF16);
        break;
    case KERNEL_F16:
        pack_strip(panel, width, b, wide, KERNEL_F16);
        break;
    case KERNEL_I8:
        pack_strip(panel, width, b, wide, KERNEL_I8);
        break;
    case KERNEL_I32:
        break;
    }
}

SIMD_INLINE void
pack(const slab *s, const bool wide)
{
    float *panel = s->panels;

    for (size_t j0 = 0; j0 < s->n_col; j0 += s->width) {
        size_t rest = s->n_col - j0;
        size_t n_col = rest < s->width ? rest : s->width;
        const strip b = {s->p, s->n0 + j0, n_col, s->k0, s->n_k};

        if (s->p->b_t)
            pack_transposed(panel, s->width, &b, wide);
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

/* One tile of n_row rows.  A function of its own for each instruction set:
 * inlined into the loops around it, the compiler keeps a sum on the stack. */
typedef void tile_fn(const tile *t, int n_row);

/* One panel, `first` columns from the slab's first: all rows of a, in tiles of
 * about equal height <= max_row.  The panel stays in the first cache while the
 * rows go by: a tile has fewer numbers of a than of b. */
static void
sweep_panel(const slab *s, tile *t, size_t first, size_t max_row, tile_fn *fn)
{
    const product *p = s->p;
    uint32_t n_tile = cpu_ceil_div(p->m, max_row);
    size_t n_col = s->n_col - first;
    float sums[TILE_MAX_ROW * TILE_MAX_COL];

    for (uint32_t i = 0; i < n_tile; i++) {
        cpu_range rows = cpu_part(p->m, n_tile, i, 1);
        size_t last = p->diag + rows.first + rows.n; /* one behind */

        if (p->part == PRODUCT_LOWER_C && s->n0 + first >= last)
            continue;
        if (p->part == PRODUCT_LOWER_A && s->k0 >= last)
            continue;
        t->n_k = s->n_k;
        if (p->part == PRODUCT_LOWER_A && last - s->k0 < s->n_k)
            t->n_k = last - s->k0;
        t->a = p->a + rows.first * t->row_step + s->k0 * t->k_step;
        t->c = p->c + rows.first * p->ldc + s->n0 + first;
        if (n_col >= s->width) {
            fn(t, (int)rows.n);
        } else {
            tile narrow = *t;

            narrow.c = sums;
            narrow.ldc = TILE_MAX_COL;
            narrow.accumulate = false;
            fn(&narrow, (int)rows.n);
            put_narrow(t, sums, rows.n, n_col);
        }
    }
}

static void
sweep(const slab *s, size_t max_row, tile_fn *fn)
{
    const product *p = s->p;
    bool direct = in_place(s);
    tile t = {.row_step = p->a_t ? 1 : p->lda,
              .k_step = p->a_t ? p->lda : 1,
              .b_step = direct ? p->ldb : s->width,
              .ldc = p->ldc,
              .alpha = p->alpha,
              .accumulate = p->accumulate || s->k0 > 0};

    for (size_t j = 0; j < s->n_col; j += s->width) {
        t.b = direct ? b_at(p, s->k0 * p->ldb + s->n0 + j)
                     : s->panels + j * s->n_k;
        sweep_panel(s, &t, j, max_row, fn);
    }
}

/* Sums of a tile that fill the registers, and leave room for a row of the
 * panel and an element of a: 14 x 32 in 28 of 32, 6 x 16 in 12 of 16. */
#if defined(__x86_64__)
__attribute__((noinline, target("avx512f"))) static void
tile_avx512(const tile *t, int n_row)
{
    tile_run(t, n_row, 14, true);
}

__attribute__((target("avx512f"))) static void
slab_avx512(const slab *s)
{
    if (!in_place(s))
        pack(s, true);
    sweep(s, 14, tile_avx512);
}

__attribute__((noinline, target("avx2,fma"))) static void
tile_avx2(const tile *t, int n_row)
{
    tile_run(t, n_row, 6, false);
}

__attribute__((target("avx2,fma"))) static void
slab_avx2(const slab *s)
{
    if (!in_place(s))
        pack(s, false);
    sweep(s, 6, tile_avx2);
}
#endif

static void
tile_plain(const tile *t, int n_row)
{
    tile_run(t, n_row, 4, false);
}

static void
slab_plain(const slab *s)
{
    if (!in_place(s))
        pack(s, false);
    sweep(s, 4, tile_plain);
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
        return __builtin_cpu_supports("avx2") &&
               __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
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
    bool narrow = p->b_type != KERNEL_F32;

    if (way == PRODUCT_BLAS && narrow)
        way = PRODUCT_PLAIN;
    ASSERT(!narrow || (p->b_t && p->b_type != KERNEL_I32));
    if (p->b_t && !p->a_t && p->m <= PRODUCT_FEW && !p->tall)
        few(p, panels);
    else if (p->b_t && !p->a_t && p->n <= PRODUCT_FEW)
        few_columns(p, panels);
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
