/* SPDX-License-Identifier: Apache-2.0 */
/* The LLaMA decoder layer (Touvron et al. 2023, arXiv:2302.13971):
 *   x += Out(attention(rope(Q n), rope(K n), V n)),   n = rmsnorm(x)
 *   x += Down(silu(Gate n) * Up n),                   n = rmsnorm(x)        */
#include "model/block.h"

#include <math.h>

/* Where each intermediate lies.  Attention and MLP use the same bytes. */
typedef struct rooms {
    kernel_view norm;         /* [r, d] */
    kernel_view qkv;          /* [r, (nh + 2 nkv) hd]: q, k, v */
    kernel_view mixed;        /* [r, nh hd] */
    kernel_view gate_up, act; /* [r, 2 ff], [r, ff] */
} rooms;

static rooms
rooms_of(phase *p)
{
    const model_config *c = p->cfg;
    size_t n_row = p->max_row, d_q = (size_t)c->n_head * c->d_head;
    size_t d_kv = (size_t)c->n_kv_head * c->d_head;
    rooms at;
    at.norm = phase_take(p, p->compute, n_row, c->d_model);
    size_t shared = p->used;
    at.qkv = phase_take(p, p->compute, n_row, d_q + 2 * d_kv);
    at.mixed = phase_take(p, p->compute, n_row, d_q);
    size_t attention = p->used;
    p->used = shared;
    at.gate_up = phase_take(p, p->compute, n_row, 2 * (size_t)c->d_ffn);
    at.act = phase_take(p, p->compute, n_row, c->d_ffn);
    if (p->used < attention)
        p->used = attention;
    return at;
}

static void
measure(phase *p)
{
    (void)rooms_of(p);
}

/* out (+)= in w^T, no bias. */
static status
project(const phase *p, kernel_queue *q, kernel_view out, kernel_view in,
        weights_kind kind)
{
    kernel_linear_args a = {.out = out,
                            .x = in,
                            .w = weights_view(p->w, kind),
                            .rows = KERNEL_ROWS_ALL,
                            /* What goes back into x is a residual. */
                            .accumulate = out.buf == p->buf->x.buf};
    weights_shape(p->cfg, kind, &a.n, &a.k);
    return kernel_linear(q, &a);
}

static status
norm(const phase *p, kernel_queue *q, kernel_view out, weights_kind kind)
{
    const kernel_norm_args a = {.out = out,
                                .x = p->buf->x,
                                .w = weights_view(p->w, kind),
                                .d = p->cfg->d_model,
                                .n_head = 1,
                                .eps = p->cfg->norm_eps};
    return kernel_rmsnorm(q, &a);
}

/* Causal attention over the cell's own rows, or over its cache when frozen. */
static status
attend(const phase *p, kernel_queue *q, const rooms *at)
{
    const model_config *c = p->cfg;
    size_t d_q = (size_t)c->n_head * c->d_head;
    size_t d_kv = (size_t)c->n_kv_head * c->d_head;
    kernel_rope_args rope = {.freq = weights_view(p->w, WEIGHTS_ROPE),
                             .n_head = c->n_head,
                             .d_head = c->d_head,
                             .d_rot = c->d_head,
                             .scale = 1};
    kernel_attention_args a = {.out = at->mixed,
                               .q = at->qkv,
                               .k = phase_columns(at->qkv, d_q),
                               .v = phase_columns(at->qkv, d_q + d_kv),
                               .n_head = c->n_head,
                               .n_kv = c->n_kv_head,
                               .d_head = c->d_head,
                               .scale = 1.0f / sqrtf((float)c->d_head)};
    status st = ST_OK;

    rope.x = a.q;
    TRY(kernel_rope(q, &rope));
    rope.x = a.k;
    rope.n_head = c->n_kv_head;
    TRY(kernel_rope(q, &rope));
    if (p->frozen) {
        kernel_view k_cache = p->buf->kv, v_cache = p->buf->kv;
        v_cache.offset += p->buf->kv_cap * d_kv;
        TRY(kernel_kv_append(q, k_cache, v_cache, a.k, a.v, d_kv));
        a.k = k_cache;
        a.v = v_cache;
    }
    TRY(kernel_attention(q, &a));
    return ST_OK;
fail:
    return st;
}

static status
run(phase *p, kernel_queue *q)
{
    rooms at = rooms_of(p);
    kernel_view x = p->buf->x;
    status st = ST_OK;

    TRY(norm(p, q, at.norm, WEIGHTS_NORM1));
    TRY(project(p, q, at.qkv, at.norm, WEIGHTS_QKV));
    TRY(attend(p, q, &at));
    TRY(project(p, q, x, at.mixed, WEIGHTS_OUT));

    TRY(norm(p, q, at.norm, WEIGHTS_NORM2));
    TRY(project(p, q, at.gate_up, at.norm, WEIGHTS_GATE_UP));
    TRY(kernel_swiglu(q, at.act, at.gate_up, p->cfg->d_ffn));
    TRY(project(p, q, x, at.act, WEIGHTS_DOWN));
    return ST_OK;
fail:
    return st;
}

const block block_llama = {.name = "llama", .measure = measure, .run = run};
