/* SPDX-License-Identifier: Apache-2.0 */
/* Layout of the scratch of one phase: matrices behind each other; products and
 * norms with the weights they need. */
#include "model/phase.h"

#include "model/block.h"

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

/* The bias of a kind of weight; one without bias gives itself. */
static weights_kind
bias_of(weights_kind kind)
{
    static const weights_kind bias[WEIGHTS_N_KIND] = {
        [WEIGHTS_NORM1] = WEIGHTS_NORM1_BIAS,
        [WEIGHTS_QKV] = WEIGHTS_QKV_BIAS,
        [WEIGHTS_OUT] = WEIGHTS_OUT_BIAS,
        [WEIGHTS_NORM2] = WEIGHTS_NORM2_BIAS,
        [WEIGHTS_GATE_UP] = WEIGHTS_GATE_UP_BIAS,
        [WEIGHTS_DOWN] = WEIGHTS_DOWN_BIAS,
        [WEIGHTS_MEM_B] = WEIGHTS_MEM_B_BIAS,
        [WEIGHTS_NORM_F] = WEIGHTS_NORM_F_BIAS,
    };
    return bias[kind] != 0 ? bias[kind] : kind;
}

static kernel_view
bias_view(const phase *p, weights_kind kind)
{
    weights_kind bias = bias_of(kind);
    return bias != kind ? weights_view(p->w, bias) : (kernel_view){0};
}

status
phase_project(const phase *p, kernel_queue *q, kernel_view out, kernel_view in,
              weights_kind kind, kernel_rows rows)
{
    kernel_linear_args a = {.out = out,
                            .x = in,
                            .w = weights_view(p->w, kind),
                            .scale = weights_scale(p->w, kind),
                            .bias = bias_view(p, kind),
                            .rows = rows,
                            /* What goes back into x is a residual. */
                            .accumulate = out.buf == p->buf->x.buf};
    weights_shape(p->cfg, kind, &a.n, &a.k);
    return kernel_linear(q, &a);
}

status
phase_norm(const phase *p, kernel_queue *q, kernel_view out, weights_kind kind,
           kernel_rows rows)
{
    const kernel_norm_args a = {.out = out,
                                .x = p->buf->x,
                                .w = weights_view(p->w, kind),
                                .bias = bias_view(p, kind),
                                .d = p->cfg->d_model,
                                .n_head = 1,
                                .eps = p->cfg->norm_eps,
                                .rows = rows};
    return p->block->norm(q, &a);
}
