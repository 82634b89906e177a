/* SPDX-License-Identifier: Apache-2.0 */
/* Rows from the token table and the memory tokens. */
#include <string.h>

#include "kernels/cpu/cpu.h"

static uint32_t
count(const device_op *op, const kernel_cell *cell)
{
    (void)op;
    return cpu_row_blocks(cell->n_row);
}

static void
run(const cpu_item *item)
{
    const kernel_cell *cell = item->cell;
    const kernel_view *x_view = &item->op->u.embed.x;
    const kernel_view *table_view = &item->op->u.embed.table;
    const kernel_view *memory_view = &item->op->u.embed.memory;
    float *x = cpu_at(x_view, item, KERNEL_ROWS_ALL);
    const float *table = cpu_at(table_view, item, KERNEL_ROWS_ALL);
    const int32_t *ids = cpu_ids_at(&item->op->u.embed.ids, item) + cell->row0;
    cpu_range rows = cpu_row_block(cell->n_row, item->index);
    size_t n_token = cell->n_row - cell->n_mem;

    for (size_t i = rows.first; i < rows.first + rows.n; i++) {
        const float *from;

        if (i < n_token)
            from = table + (size_t)ids[i] * table_view->ld;
        else
            from = cpu_at(memory_view, item, KERNEL_ROWS_ALL) +
                   (i - n_token) * memory_view->ld;
        memcpy(x + i * x_view->ld, from, item->op->u.embed.d * sizeof(*x));
    }
}

const cpu_step cpu_embed = {count, run};
