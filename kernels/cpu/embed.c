/* SPDX-License-Identifier: Apache-2.0 */
/* Rows from the token table, the memory tokens and what stands before them. */
#include <string.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/widen.h"

static uint32_t
count(const device_op *op, const kernel_cell *cell)
{
    (void)op;
    return cpu_row_blocks(cell->n_row);
}

/* Row `j` of the prefix or of the memory tokens. */
static const float *
extra(const cpu_item *item, const kernel_view *learned, size_t j)
{
    const kernel_view *carried = &item->op->u.embed.carried;
    const kernel_view *v =
        carried->buf != NULL && item->cell->fresh == 0 ? carried : learned;

    return cpu_at(v, item, KERNEL_ROWS_MEM) + j * v->ld;
}

/* x[d] = a row of the table. */
SIMD_INLINE void
widen_row(float *x, const void *row, const kernel_type type, size_t d)
{
    size_t c = 0;

    for (; c + TILE_HALF <= d; c += TILE_HALF) {
        tile_half v;

        widen_vec(&v, row, c, type, 1.0F);
        *(tile_loose_half *)(void *)(x + c) = v;
    }
    for (; c < d; c++)
        x[c] = widen_one(row, c, type, 1.0F);
}

SIMD_CLONES static void
widen(float *x, const void *row, kernel_type type, size_t d)
{
    if (type == KERNEL_F32)
        widen_row(x, row, KERNEL_F32, d);
    else if (type == KERNEL_BF16)
        widen_row(x, row, KERNEL_BF16, d);
    else
        widen_row(x, row, KERNEL_F16, d);
}

/* Row i of the cell. */
static void
fetch(const cpu_item *item, float *x, const int32_t *ids, size_t i)
{
    const kernel_embed_args *a = &item->op->u.embed;
    const kernel_cell *cell = item->cell;
    size_t first_mem = cell->n_row - cell->n_mem;

    if (i < cell->n_prefix)
        memcpy(x, extra(item, &a->prefix, i), a->d * sizeof(*x));
    else if (i >= first_mem)
        memcpy(x, extra(item, &a->memory, i - first_mem), a->d * sizeof(*x));
    else
        widen(x, cpu_row_at(&a->table, item, (size_t)ids[i - cell->n_prefix]),
              a->table.type, a->d);
}

static void
add_position(const cpu_item *item, float *x, size_t i)
{
    const kernel_embed_args *a = &item->op->u.embed;
    const kernel_cell *cell = item->cell;
    size_t first_mem = cell->n_row - cell->n_mem;
    size_t row = i >= first_mem && a->mem_pos > 0 ? a->mem_pos + i - first_mem
                                                  : cell->pos + i;
    const float *p =
        cpu_at(&a->position, item, KERNEL_ROWS_ALL) + row * a->position.ld;

    for (size_t c = 0; c < a->d; c++)
        x[c] += p[c];
}

static void
run(const cpu_item *item)
{
    const kernel_embed_args *a = &item->op->u.embed;
    float *x = cpu_at(&a->x, item, KERNEL_ROWS_ALL);
    const int32_t *ids = cpu_ids_at(&a->ids, item) + item->cell->row0;
    cpu_range rows = cpu_row_block(item->cell->n_row, item->index);

    for (size_t i = rows.first; i < rows.first + rows.n; i++) {
        fetch(item, x + i * a->x.ld, ids, i);
        if (a->position.buf != NULL)
            add_position(item, x + i * a->x.ld, i);
    }
}

const cpu_step cpu_embed = {count, run};
