/* SPDX-License-Identifier: Apache-2.0 */
/* Appends a cell's keys and values to its cache. */
#include <string.h>

#include "kernels/cpu/cpu.h"

static uint32_t
count(const device_op *op, const kernel_cell *cell)
{
    (void)op;
    return cpu_row_blocks(cell->n_row);
}

static void
append(const cpu_item *item, const kernel_view *cache, const kernel_view *from,
       size_t d)
{
    cpu_range rows = cpu_row_block(item->cell->n_row, item->index);
    float *dst = cpu_at(cache, item, KERNEL_ROWS_ALL) +
                 (size_t)item->cell->pos * cache->ld;
    const float *src = cpu_at(from, item, KERNEL_ROWS_ALL);

    for (size_t i = rows.first; i < rows.first + rows.n; i++)
        memcpy(dst + i * cache->ld, src + i * from->ld, d * sizeof(*dst));
}

static void
run(const cpu_item *item)
{
    size_t d = item->op->u.kv.d_kv;

    append(item, &item->op->u.kv.k_cache, &item->op->u.kv.k, d);
    append(item, &item->op->u.kv.v_cache, &item->op->u.kv.v, d);
}

const cpu_step cpu_kv_append = {count, run};
