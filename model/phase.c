/* SPDX-License-Identifier: Apache-2.0 */
/* Layout of the scratch of one phase: matrices behind each other. */
#include "model/phase.h"

/* Matrices start where any operation may start: at a cache line, which is
 * also a whole number of elements of every type. */
enum { ALIGN = 64 };

kernel_view
phase_take(phase *p, kernel_type type, size_t n_row, size_t n_col)
{
    size_t size = kernel_type_size(type);
    kernel_view view = {.buf = p->scratch,
                        .type = type,
                        .by = KERNEL_BY_CELL,
                        .offset = p->used / size,
                        .stride = p->item / size,
                        .ld = n_col};
    p->used += (n_row * n_col * size + ALIGN - 1) / ALIGN * ALIGN;
    ASSERT(p->scratch == NULL || p->used <= p->item);
    return view;
}

kernel_view
phase_columns(kernel_view view, size_t col)
{
    view.offset += col;
    return view;
}
