/* SPDX-License-Identifier: Apache-2.0 */
/* The LLaMA decoder layer (Touvron et al. 2023, arXiv:2302.13971):
 *   x += Out(attention(rope(Q n), rope(K n), V n)),   n = rmsnorm(x)
 *   x += Down(silu(Gate n) * Up n),                   n = rmsnorm(x)
 * Qwen2 has biases on Q, K and V, Qwen3 norms on the heads of Q and K, Mistral
 * a span of attention; all of that is data. */
#include "model/attend.h"
#include "model/block.h"

/* Where each intermediate lies.  Attention and MLP use the same bytes. */
typedef struct rooms {
    kernel_view norm; /* [r, d] */
    attend attend;
    kernel_view gate_up, act; /* [r, 2 ff], [r, ff] */
} rooms;

static rooms
rooms_of(phase *p)
{
    const model_config *c = p->cfg;
    size_t n_row = p->max_row;
    rooms at;
    at.norm = phase_take(p, p->compute, n_row, c->d_model);
    size_t shared = p->used;
    at.attend = attend_take(p);
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

static status
run(phase *p, kernel_queue *q)
{
    const kernel_rows late = KERNEL_ROWS_LATE;
    rooms at = rooms_of(p);
    kernel_view x = p->buf->x;
    status st = ST_OK;

    TRY(phase_norm(p, q, at.norm, WEIGHTS_NORM1, KERNEL_ROWS_ALL));
    TRY(attend_run(p, q, &at.attend, at.norm));
    TRY(phase_project(p, q, x, at.attend.mixed, WEIGHTS_OUT, late));

    TRY(phase_norm(p, q, at.norm, WEIGHTS_NORM2, late));
    TRY(phase_project(p, q, at.gate_up, at.norm, WEIGHTS_GATE_UP, late));
    TRY(kernel_swiglu(q, at.act, at.gate_up, p->cfg->d_ffn));
    TRY(phase_project(p, q, x, at.act, WEIGHTS_DOWN, late));
fail:
    return st;
}

const block block_llama = {
    .name = "llama", .norm = kernel_rmsnorm, .measure = measure, .run = run};
