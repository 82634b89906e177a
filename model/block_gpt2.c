/* SPDX-License-Identifier: Apache-2.0 */
/* The GPT-2 decoder layer (Radford et al. 2019):
 *   x += Out(attention(Q n, K n, V n)),   n = layernorm(x)
 *   x += Down(gelu(Up n)),                n = layernorm(x)
 * with biases everywhere; positions were added to x at the bottom. */
#include "model/attend.h"
#include "model/block.h"

/* Attention and MLP use the same bytes. */
typedef struct rooms {
    kernel_view norm; /* [r, d] */
    attend attend;
    kernel_view up; /* [r, ff] */
} rooms;

static rooms
rooms_of(phase *p)
{
    rooms at;
    at.norm = phase_take(p, p->compute, p->max_row, p->cfg->d_model);
    size_t shared = p->used;
    at.attend = attend_take(p);
    size_t attention = p->used;
    p->used = shared;
    at.up = phase_take(p, p->compute, p->max_row, p->cfg->d_ffn);
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
    const model_config *c = p->cfg;
    rooms at = rooms_of(p);
    kernel_view x = p->buf->x;
    status st = ST_OK;

    TRY(phase_norm(p, q, at.norm, WEIGHTS_NORM1, KERNEL_ROWS_ALL));
    TRY(attend_run(p, q, &at.attend, at.norm));
    TRY(phase_project(p, q, x, at.attend.mixed, WEIGHTS_OUT, late));

    TRY(phase_norm(p, q, at.norm, WEIGHTS_NORM2, late));
    TRY(phase_project(p, q, at.up, at.norm, WEIGHTS_GATE_UP, late));
    TRY(kernel_gelu(q, at.up, at.up, c->d_ffn, c->act == CONFIG_ACT_GELU_TANH));
    TRY(phase_project(p, q, x, at.up, WEIGHTS_DOWN, late));
fail:
    return st;
}

const block block_gpt2 = {
    .name = "gpt2", .norm = kernel_layernorm, .measure = measure, .run = run};
