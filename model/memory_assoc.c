/* SPDX-License-Identifier: Apache-2.0 */
/* Associative memory (Rodkin et al. 2024, arXiv:2407.04841, section 3): A and
 * z, read by every row before the block, written by the memory rows after;
 * with a window, also the keys and values of the segment before. */
#include "model/memory.h"

#include "model/phase.h"

/* --------------------------------------------------------- declaration --- */

static kernel_type
matrix_type(const model_config *c)
{
    return c->state_type == CONFIG_BF16 ? KERNEL_BF16 : KERNEL_F32;
}

/* Numbers of A, and of z. */
static size_t
n_matrix(const model_config *c)
{
    return (size_t)config_d_key(c) / c->n_mem_head * c->d_model;
}

static size_t
n_denom(const model_config *c)
{
    return c->denom ? config_d_key(c) : 0;
}

/* Bytes to z, behind A. */
static size_t
denom_offset(const model_config *c)
{
    size_t n = n_matrix(c) * kernel_type_size(matrix_type(c));
    return (n + sizeof(float) - 1) / sizeof(float) * sizeof(float);
}

/* Bytes to the window: behind A and z, where any operation may start. */
static size_t
window_offset(const model_config *c)
{
    size_t n = denom_offset(c) + n_denom(c) * sizeof(float);
    return (n + MEMORY_ALIGN - 1) / MEMORY_ALIGN * MEMORY_ALIGN;
}

static uint32_t
tensors(const model_config *c, kernel_type compute, uint32_t layer,
        const memory_past *past, memory_tensor out[MEMORY_MAX_TENSOR])
{
    size_t heads = c->n_mem_head, d_key = config_d_key(c);
    size_t d_kv = (size_t)c->n_kv_head * c->d_head;
    uint32_t n = 0;

    if (config_is_bare(c, layer))
        return 0;
    out[n++] =
        (memory_tensor){.name = "W_mem",
                        .type = matrix_type(c),
                        .n_dim = 3,
                        .dim = {heads, d_key / heads, c->d_model / heads}};
    if (c->denom)
        out[n++] = (memory_tensor){.name = "z",
                                   .type = KERNEL_F32,
                                   .n_dim = 2,
                                   .dim = {heads, d_key / heads},
                                   .offset = denom_offset(c)};
    /* One head is no dimension. */
    for (uint32_t i = 0; i < n && heads == 1; i++) {
        out[i].n_dim--;
        out[i].dim[0] = out[i].dim[1];
        out[i].dim[1] = out[i].dim[2];
    }
    if (c->window)
        out[n++] = (memory_tensor){.name = "window",
                                   .type = compute,
                                   .n_dim = 2,
                                   .dim = {past->n_last, 2 * d_kv},
                                   .offset = window_offset(c)};
    return n;
}

static void
place(const model_config *c, uint32_t layer, const memory_span *s,
      kernel_cell *out)
{
    bool bare = config_is_bare(c, layer);
    bool first = !s->frozen || s->n_run == 0; /* of the segment */

    out->n_prefix = first ? c->n_sink : 0;
    out->n_mem = s->frozen ? 0 : c->n_mem;
    out->n_row = out->n_prefix + s->n_token + out->n_mem;
    out->n_past = first ? 0 : c->n_sink + s->n_run;
    out->n_window = c->window && !bare ? s->past.n_last : 0;
    out->pos = out->n_past + (c->window_outer ? out->n_window : 0);
    out->fresh = s->past.n_token == 0;
    out->bare = bare;
}

static void
embed(const phase *p, kernel_embed_args *a)
{
    a->prefix = weights_view(p->w, WEIGHTS_SINK);
    a->memory = weights_view(p->w, WEIGHTS_MEMORY);
}

static void
keys(const phase *p, memory_keys *out)
{
    out->n_sink = p->cfg->n_sink;
    out->open_mem = p->cfg->window_outer;
    if (p->cfg->window)
        memory_kv_views(p, window_offset(p->cfg), &out->k_window,
                        &out->v_window);
}

/* -------------------------------------------------------- computation --- */

/* Features are taken from `proj`; both fp32 whatever the device computes in,
 * because quotients of small sums follow. */
typedef struct rooms {
    kernel_view proj;     /* [r, dm] */
    kernel_view features; /* [r, dk] */
    kernel_view value;    /* [M, d], of a write */
    kernel_view gate;     /* [M, H], or [M, d] with gating; of a write */
} rooms;

static rooms
rooms_of(phase *p, bool write)
{
    const model_config *c = p->cfg;
    size_t n_row = write ? c->n_mem : p->max_row;
    rooms at = {.proj = phase_take(p, KERNEL_F32, n_row, c->d_mem)};
    at.features = phase_take(p, KERNEL_F32, n_row, config_d_key(c));
    if (write) {
        size_t n_gate = c->gating ? c->d_model : c->n_mem_head;
        at.value = phase_take(p, KERNEL_F32, n_row, c->d_model);
        at.gate = phase_take(p, KERNEL_F32, n_row, n_gate);
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
    const model_config *c = p->cfg;
    kernel_assoc a = {.A = p->buf->state,
                      .d_key = config_d_key(c),
                      .d_model = c->d_model,
                      .n_head = c->n_mem_head,
                      .correction = c->correction,
                      .l2_norm = c->l2_norm,
                      .gating = c->gating};
    size_t part = sizeof(float) / kernel_type_size(matrix_type(c));

    a.A.type = matrix_type(c);
    a.A.stride *= part;
    a.A.offset *= part;
    a.A.ld = a.d_model / a.n_head;
    if (c->denom) {
        a.z = p->buf->state;
        a.z.offset += denom_offset(c) / sizeof(float);
    }
    return a;
}

static status
features(const phase *p, kernel_queue *q, const rooms *at, kernel_rows rows)
{
    const kernel_dpfp_args a = {.out = at->features,
                                .x = at->proj,
                                .d_mem = p->cfg->d_mem,
                                .n_head = p->cfg->n_mem_head,
                                .l2_norm = p->cfg->l2_norm,
                                .rows = rows};
    return kernel_dpfp(q, &a);
}

static status
read(phase *p, kernel_queue *q)
{
    const kernel_rows all = KERNEL_ROWS_ALL;
    rooms at = rooms_of(p, false);
    kernel_assoc a = assoc_of(p);
    kernel_view x = p->buf->x;
    status st = ST_OK;

    TRY(phase_project(p, q, at.proj, x, WEIGHTS_MEM_Q, all));
    TRY(features(p, q, &at, all));
    TRY(kernel_assoc_read(q, x, at.features, &a));
fail:
    return st;
}

static status
write(phase *p, kernel_queue *q)
{
    const kernel_rows mem = KERNEL_ROWS_MEM;
    rooms at = rooms_of(p, true);
    kernel_assoc a = assoc_of(p);
    kernel_view x = p->buf->x;
    status st = ST_OK;

    TRY(phase_project(p, q, at.proj, x, WEIGHTS_MEM_K, mem));
    TRY(features(p, q, &at, mem));
    TRY(phase_project(p, q, at.value, x, WEIGHTS_MEM_V, mem));
    TRY(phase_project(p, q, at.gate, x, WEIGHTS_MEM_B, mem));
    TRY(kernel_assoc_write(q, &a, at.features, at.value, at.gate));
fail:
    return st;
}

const memory memory_assoc = {.name = "assoc",
                             .tensors = tensors,
                             .place = place,
                             .embed = embed,
                             .keys = keys,
                             .measure_read = measure_read,
                             .measure_write = measure_write,
                             .read = read,
                             .write = write};
