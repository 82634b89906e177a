/* SPDX-License-Identifier: Apache-2.0 */
/* Copies a cell's keys and values to where later rows find them. */
#include <string.h>

#include "kernels/cpu/cpu.h"

/* Rows from .. from + n - 1 of the cell become rows `to` .. of the target. */
typedef struct part {
    size_t from, to, n;
} part;

static part
appended(const kernel_cell *cell)
{
    return (part){.to = cell->n_past, .n = cell->n_row};
}

static part
kept(const kernel_cell *cell)
{
    return (part){.from = cell->n_prefix,
                  .n = cell->n_row - cell->n_prefix - cell->n_mem};
}

static void
copy(const cpu_item *item, const kernel_view *to, const kernel_view *from,
     const part *p)
{
    cpu_range rows = cpu_row_block(p->n, item->index);
    float *dst = cpu_at(to, item, KERNEL_ROWS_ALL) + p->to * to->ld;
    const float *src = cpu_at(from, item, KERNEL_ROWS_ALL) + p->from * from->ld;

    for (size_t i = rows.first; i < rows.first + rows.n; i++)
        memcpy(dst + i * to->ld, src + i * from->ld,
               item->op->u.kv.d_kv * sizeof(*dst));
}

static void
copy_both(const cpu_item *item, const part *p)
{
    copy(item, &item->op->u.kv.k_to, &item->op->u.kv.k, p);
    copy(item, &item->op->u.kv.v_to, &item->op->u.kv.v, p);
}

static uint32_t
append_count(const device_op *op, const kernel_cell *cell)
{
    (void)op;
    return cpu_row_blocks(appended(cell).n);
}

static void
append_run(const cpu_item *item)
{
    const part p = appended(item->cell);

    copy_both(item, &p);
}

const cpu_step cpu_kv_append = {append_count, append_run};

static uint32_t
keep_count(const device_op *op, const kernel_cell *cell)
{
    (void)op;
    return cpu_row_blocks(kept(cell).n);
}

static void
keep_run(const cpu_item *item)
{
    const part p = kept(item->cell);

    copy_both(item, &p);
}

const cpu_step cpu_kv_keep = {keep_count, keep_run};
