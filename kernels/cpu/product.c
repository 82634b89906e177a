/* SPDX-License-Identifier: Apache-2.0 */
/* Products by panels of columns and tiles of rows. */
#include "kernels/cpu/product.h"

#include <string.h>

#include "kernels/cpu/blas.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/tile.h"

/* ---------------------------------------------------------------- cut --- */

/* One panel: columns n0 .. n0 + n_col - 1 of b, rows k0 .. k0 + n_k - 1. */
typedef struct slab {
    const product *p;
    float *panel; /* [n_k, width], zeros behind the last column */
    size_t width; /* columns of a whole panel */
    size_t n0, n_col, k0, n_k;
} slab;

typedef void slab_fn(const slab *s);

static void
each_slab(const product *p, float *panel, size_t width, slab_fn *fn)
{
    uint32_t n_pass = cpu_ceil_div(p->k, PRODUCT_DEPTH);

    for (uint32_t i = 0; i < n_pass; i++) {
        cpu_range k = cpu_part(p->k, n_pass, i, TILE_VEC);

        for (size_t n0 = 0; n0 < p->n; n0 += width) {
            size_t rest = p->n - n0;
            slab s = {.p = p,
                      .panel = panel,
                      .width = width,
                      .n0 = n0,
                      .n_col = rest < width ? rest : width,
                      .k0 = k.first,
                      .n_k = k.n};

            fn(&s);
        }
    }
}

/* --------------------------------------------------------------- pack --- */

static void
pack_rows(const slab *s)
{
    const float *b = s->p->b + s->k0 * s->p->ldb + s->n0;

    for (size_t t = 0; t < s->n_k; t++) {
        float *to = s->panel + t * s->width;

        memcpy(to, b + t * s->p->ldb, s->n_col * sizeof(*to));
        memset(to + s->n_col, 0, (s->width - s->n_col) * sizeof(*to));
    }
}

/* Columns first .. first + n - 1 of a transposed b from depth `from` on, one
 * by one. */
static void
pack_columns(const slab *s, size_t first, size_t n, size_t from)
{
    for (size_t j = first; j < first + n; j++)
        for (size_t t = from; t < s->n_k; t++)
            s->panel[t * s->width + j] =
                j < s->n_col ? s->p->b[(s->n0 + j) * s->p->ldb + s->k0 + t]
                             : 0.0F;
}

/* With `square` the parts that fill whole squares of TILE_VEC go through
 * registers. */
SIMD_INLINE void
pack(const slab *s, bool square)
{
    const product *p = s->p;

    if (!p->b_t) {
        pack_rows(s);
        return;
    }
    for (size_t j = 0; j < s->width; j += TILE_VEC) {
        const float *b = p->b + (s->n0 + j) * p->ldb + s->k0;
        size_t t = 0;

        if (square && j + TILE_VEC <= s->n_col)
            for (; t + TILE_VEC <= s->n_k; t += TILE_VEC)
                tile_transpose(s->panel + t * s->width + j, s->width, b + t,
                               p->ldb);
        pack_columns(s, j, TILE_VEC, t);
    }
}

/* --------------------------------------------------------------- tile --- */

/* Adds a tile that is narrower than a panel to c. */
static void
put_narrow(const tile *t, const float *sums, size_t n_row, size_t n_col)
{
    for (size_t i = 0; i < n_row; i++)
        for (size_t j = 0; j < n_col; j++) {
            float *c = &t->c[i * t->ldc + j];

            *c = sums[i * PRODUCT_COLS + j] + (t->accumulate ? *c : 0.0F);
        }
}

/* All rows of a over one panel, in tiles of about equal height <= max_row. */
SIMD_INLINE void
sweep(const slab *s, int max_row, int n_vec)
{
    const product *p = s->p;
    uint32_t n_tile = cpu_ceil_div(p->m, (size_t)max_row);
    float sums[TILE_MAX_ROW * PRODUCT_COLS];
    tile t = {.panel = s->panel,
              .n_k = s->n_k,
              .ldc = p->ldc,
              .row_step = p->a_t ? 1 : p->lda,
              .k_step = p->a_t ? p->lda : 1,
              .alpha = p->alpha,
              .accumulate = p->accumulate || s->k0 > 0};

    for (uint32_t i = 0; i < n_tile; i++) {
        cpu_range rows = cpu_part(p->m, n_tile, i, 1);

        t.a = p->a + rows.first * t.row_step + s->k0 * t.k_step;
        t.c = p->c + rows.first * p->ldc + s->n0;
        if (s->n_col == s->width) {
            tile_run(&t, (int)rows.n, max_row, n_vec);
        } else {
            tile narrow = t;

            narrow.c = sums;
            narrow.ldc = PRODUCT_COLS;
            narrow.accumulate = false;
            tile_run(&narrow, (int)rows.n, max_row, n_vec);
            put_narrow(&t, sums, rows.n, s->n_col);
        }
    }
}

/* Sums of a tile that fill the registers, and leave room for a row of the
 * panel and an element of a: 14 x 32 in 28 of 32, 6 x 16 in 12 of 16. */
#if defined(__x86_64__)
__attribute__((target("avx512f"))) static void
slab_avx512(const slab *s)
{
    pack(s, true);
    sweep(s, 14, 2);
}

__attribute__((target("avx2,fma"))) static void
slab_avx2(const slab *s)
{
    pack(s, false);
    sweep(s, 6, 1);
}
#endif

static void
slab_plain(const slab *s)
{
    pack(s, false);
    sweep(s, 4, 1);
}

/* ------------------------------------------------------------- choice --- */

typedef struct variant {
    const char *name;
    slab_fn *fn; /* NULL: BLAS */
    size_t width;
} variant;

/* A function of the CPU alone. */
static const variant *
choose(void)
{
    static const variant blas = {"BLAS", NULL, 0};
    static const variant plain = {"plain", slab_plain, TILE_VEC};

#if defined(__x86_64__)
    static const variant avx512 = {"AVX-512", slab_avx512, 2 * TILE_VEC};
    static const variant avx2 = {"AVX2", slab_avx2, TILE_VEC};

    if (__builtin_cpu_supports("avx512f"))
        return &avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return &avx2;
#endif
    return blas_present() ? &blas : &plain;
}

const char *
product_name(void)
{
    return choose()->name;
}

void
product_run(const product *p, float *panel)
{
    const variant *v = choose();

    if (v->fn == NULL)
        blas_run(p);
    else
        each_slab(p, panel, v->width, v->fn);
}
