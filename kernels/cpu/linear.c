/* SPDX-License-Identifier: Apache-2.0 */
/* Rows times transposed weights, cut into fixed tiles. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/product.h"

/* Columns of a tile for the products that are a few dot products. */
enum { FEW_COLS = 128 };

/* The others: tiles of at most ROWS x COLS and about WORK multiply-adds, which
 * take a millisecond or so.  Columns are cut first, since a tile of few rows
 * pays for laying out its weights again.  Two tiles at least where there is
 * work for two threads. */
enum { ROWS = 320, COLS = 768, MIN_COLS = 128, MIN_ROWS = 32, WORK = 1 << 27 };

cpu_tiles
cpu_tiles_of(size_t m, size_t n, size_t k)
{
    cpu_tiles tiles = {.n_row = cpu_ceil_div(m, ROWS)};
    size_t cols;

    if (m == 0)
        return tiles;
    if (m <= PRODUCT_FEW || n <= PRODUCT_FEW)
        return (cpu_tiles){1, cpu_ceil_div(n, FEW_COLS)};
    cols = WORK / (cpu_ceil_div(m, tiles.n_row) * k);
    cols = cols < COLS ? cols : COLS;
    tiles.n_col = cpu_ceil_div(n, cols > MIN_COLS ? cols : MIN_COLS);
    if (tiles.n_row * tiles.n_col == 1) {
        if (n >= 2 * (size_t)MIN_COLS)
            tiles.n_col = 2;
        else if (m >= 2 * (size_t)MIN_ROWS)
            tiles.n_row = 2;
    }
    return tiles;
}

static uint32_t
count(const device_op *op, const kernel_cell *cell)
{
    const kernel_linear_args *a = &op->u.linear;
    cpu_tiles tiles = cpu_tiles_of(cpu_rows(cell, a->rows), a->n, a->k);

    return tiles.n_row * tiles.n_col;
}

/* The system gives pages as they are first written, and may take milliseconds
 * for a large one.  A tile of wide rows has many: a turn behind each. */
static void
find_pages(const cpu_item *item, const product *p)
{
    enum { LARGE_PAGE = 2 << 20 };
    uintptr_t before = 0;

    for (size_t i = 0; item->hook != NULL && i < p->m; i++) {
        volatile float *first = p->c + i * p->ldc;
        uintptr_t page = (uintptr_t)first / LARGE_PAGE;

        if (page == before)
            continue;
        before = page;
        *first = *first;
        cpu_progress(item);
    }
}

static void
add_bias(const product *p, const float *bias)
{
    for (size_t i = 0; i < p->m; i++)
        for (size_t j = 0; j < p->n; j++)
            p->c[i * p->ldc + j] += bias[j];
}

static void
run(const cpu_item *item)
{
    const kernel_linear_args *a = &item->op->u.linear;
    size_t m = cpu_rows(item->cell, a->rows);
    cpu_tiles tiles = cpu_tiles_of(m, a->n, a->k);
    uint32_t row = item->index / tiles.n_col;
    uint32_t col = item->index % tiles.n_col;
    cpu_range rows = cpu_part(m, tiles.n_row, row, 1);
    cpu_range cols = cpu_part(a->n, tiles.n_col, col, CPU_TILE_UNIT);
    product p = {.m = rows.n,
                 .n = cols.n,
                 .k = a->k,
                 .a = cpu_at(&a->x, item, a->rows) + rows.first * a->x.ld,
                 .lda = a->x.ld,
                 .b = cpu_row_at(&a->w, item, cols.first),
                 .b_type = a->w.type,
                 .ldb = a->w.ld,
                 .b_t = true,
                 .c = cpu_at(&a->out, item, a->rows) + rows.first * a->out.ld +
                      cols.first,
                 .ldc = a->out.ld,
                 .alpha = 1.0F,
                 .accumulate = a->accumulate,
                 .tall = a->rows == KERNEL_ROWS_LATE &&
                         item->cell->n_row > PRODUCT_FEW,
                 .hook = item->hook,
                 .hook_ctx = item->hook_ctx};

    if (a->scale.buf != NULL)
        p.b_scale = cpu_item_at(&a->scale, item) + cols.first;
    find_pages(item, &p);
    product_run(&p, item->panels);
    if (a->bias.buf != NULL)
        add_bias(&p, cpu_item_at(&a->bias, item) + cols.first);
}

const cpu_step cpu_linear = {count, run};
