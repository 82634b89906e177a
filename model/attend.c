/* SPDX-License-Identifier: Apache-2.0 */
/* Queries and keys, where keys of earlier rows lie, and where these go. */
#include "model/attend.h"

#include <math.h>

#include "model/memory.h"

static size_t
d_query(const phase *p)
{
    return (size_t)p->cfg->n_head * p->cfg->d_head;
}

static size_t
d_key(const phase *p)
{
    return (size_t)p->cfg->n_kv_head * p->cfg->d_head;
}

attend
attend_take(phase *p)
{
    size_t d_q = d_query(p);
    attend at;
    at.qkv = phase_take(p, p->compute, p->max_row, d_q + 2 * d_key(p));
    at.mixed = phase_take(p, p->compute, p->max_row, d_q);
    return at;
}

/* The norm of every head (Qwen3), then its rotation. */
static status
shape_heads(const phase *p, kernel_queue *q, kernel_view x, uint32_t n_head,
            weights_kind norm)
{
    const model_config *c = p->cfg;
    const kernel_norm_args n = {.out = x,
                                .x = x,
                                .w = weights_view(p->w, norm),
                                .d = c->d_head,
                                .n_head = n_head,
                                .eps = c->norm_eps};
    const kernel_rope_args r = {.x = x,
                                .freq = weights_view(p->w, WEIGHTS_ROPE),
                                .n_head = n_head,
                                .d_head = c->d_head,
                                .d_rot = c->rope.d_rot,
                                .scale = config_rope_scale(c)};
    status st = ST_OK;

    if (c->qk_norm)
        TRY(kernel_rmsnorm(q, &n));
    if (c->rope.d_rot > 0)
        TRY(kernel_rope(q, &r));
fail:
    return st;
}

/* The cache of a frozen run: rows [k | v]. */
static void
run_cache(const phase *p, memory_keys *keys)
{
    keys->k_cache = p->buf->kv;
    keys->v_cache = phase_columns(p->buf->kv, d_key(p));
}

status
attend_run(const phase *p, kernel_queue *q, const attend *at, kernel_view in)
{
    const model_config *c = p->cfg;
    size_t d_q = d_query(p), d_kv = d_key(p);
    kernel_attention_args a = {.out = at->mixed,
                               .q = at->qkv,
                               .k = phase_columns(at->qkv, d_q),
                               .v = phase_columns(at->qkv, d_q + d_kv),
                               .n_head = c->n_head,
                               .n_kv = c->n_kv_head,
                               .d_head = c->d_head,
                               .scale = 1.0f / sqrtf((float)c->d_head),
                               .span = c->span};
    kernel_view k = a.k, v = a.v;
    memory_keys keys = {0};
    status st = ST_OK;

    TRY(phase_project(p, q, at->qkv, in, WEIGHTS_QKV, KERNEL_ROWS_ALL));
    TRY(shape_heads(p, q, a.q, c->n_head, WEIGHTS_Q_NORM));
    TRY(shape_heads(p, q, a.k, c->n_kv_head, WEIGHTS_K_NORM));
    if (p->memory->keys != NULL)
        p->memory->keys(p, &keys);
    if (keys.k_cache.buf == NULL && p->frozen)
        run_cache(p, &keys);
    if (keys.k_cache.buf != NULL) {
        TRY(kernel_kv_append(q, keys.k_cache, keys.v_cache, k, v, d_kv));
        a.k = keys.k_cache;
        a.v = keys.v_cache;
    }
    a.window_k = keys.k_window;
    a.window_v = keys.v_window;
    a.n_sink = keys.n_sink;
    a.open_mem = keys.open_mem;
    TRY(kernel_attention(q, &a));
    /* Only now: the rows before were the window of this segment. */
    if (keys.k_window.buf != NULL && !p->frozen)
        TRY(kernel_kv_keep(q, keys.k_window, keys.v_window, k, v, d_kv));
fail:
    return st;
}
