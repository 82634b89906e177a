/* SPDX-License-Identifier: Apache-2.0 */
/* Associative memory (Rodkin et al. 2024, arXiv:2407.04841, section 3): A and
 * z, read by every row before the block, written by the memory rows after. */
#include "model/memory.h"

/* Features are taken from `proj`; both fp32 whatever the device computes in,
 * because quotients of small sums follow. */
typedef struct rooms {
    kernel_view proj;     /* [r, dm] */
    kernel_view features; /* [r, dk] */
    kernel_view value;    /* [M, d], of a write */
    kernel_view gate;     /* [M, 1], of a write */
} rooms;

static rooms
rooms_of(phase *p, bool write)
{
    const model_config *c = p->cfg;
    size_t n_row = write ? c->n_mem : p->max_row;
    rooms at = {.proj = phase_take(p, KERNEL_F32, n_row, c->d_mem)};
    at.features = phase_take(p, KERNEL_F32, n_row, config_d_key(c));
    if (write) {
        at.value = phase_take(p, KERNEL_F32, n_row, c->d_model);
        at.gate = phase_take(p, KERNEL_F32, n_row, 1);
    }
    return at;
}

static void
measure_read(phase *p)
{
    (void)rooms_of(p, false);
}

static void
measure_write(phase *p)
{
    (void)rooms_of(p, true);
}

static kernel_assoc
assoc_of(const phase *p)
{
    kernel_assoc a = {.A = p->buf->state,
                      .z = p->buf->state,
                      .d_key = config_d_key(p->cfg),
                      .d_model = p->cfg->d_model,
                      .n_head = 1,
                      .correction = p->cfg->correction,
                      .l2_norm = p->cfg->l2_norm};
    a.A.ld = a.d_model;
    a.z.offset += a.d_key * a.d_model;
    return a;
}

/* out = x w^T of all rows or of the memory rows. */
static status
project(const phase *p, kernel_queue *q, kernel_view out, weights_kind kind,
        kernel_rows rows)
{
    kernel_linear_args a = {.out = out,
                            .x = p->buf->x,
                            .w = weights_view(p->w, kind),
                            .rows = rows};
    if (kind == WEIGHTS_MEM_B)
        a.bias = weights_view(p->w, WEIGHTS_MEM_B_BIAS);
    weights_shape(p->cfg, kind, &a.n, &a.k);
    return kernel_linear(q, &a);
}

static status
features(const phase *p, kernel_queue *q, const rooms *at, kernel_rows rows)
{
    const kernel_dpfp_args a = {.out = at->features,
                                .x = at->proj,
                                .d_mem = p->cfg->d_mem,
                                .n_head = 1,
                                .l2_norm = p->cfg->l2_norm,
                                .rows = rows};
    return kernel_dpfp(q, &a);
}

static status
read(phase *p, kernel_queue *q)
{
    rooms at = rooms_of(p, false);
    kernel_assoc a = assoc_of(p);
    status st = ST_OK;

    TRY(project(p, q, at.proj, WEIGHTS_MEM_Q, KERNEL_ROWS_ALL));
    TRY(features(p, q, &at, KERNEL_ROWS_ALL));
    TRY(kernel_assoc_read(q, p->buf->x, at.features, &a));
    return ST_OK;
fail:
    return st;
}

static status
write(phase *p, kernel_queue *q)
{
    rooms at = rooms_of(p, true);
    kernel_assoc a = assoc_of(p);
    status st = ST_OK;

    TRY(project(p, q, at.proj, WEIGHTS_MEM_K, KERNEL_ROWS_MEM));
    TRY(features(p, q, &at, KERNEL_ROWS_MEM));
    TRY(project(p, q, at.value, WEIGHTS_MEM_V, KERNEL_ROWS_MEM));
    TRY(project(p, q, at.gate, WEIGHTS_MEM_B, KERNEL_ROWS_MEM));
    TRY(kernel_assoc_write(q, &a, at.features, at.value, at.gate));
    return ST_OK;
fail:
    return st;
}

const memory memory_assoc = {.name = "assoc",
                             .measure_read = measure_read,
                             .measure_write = measure_write,
                             .read = read,
                             .write = write};
