/* SPDX-License-Identifier: Apache-2.0 */
/* The GPT-NeoX decoder layer (Black et al. 2022, arXiv:2204.06745), whose MLP
 * stands beside attention:
 *   x = x + Out(attention(rope(Q n1), rope(K n1), V n1)) + Down(gelu(Up n2))
 *   n1 = layernorm1(x),  n2 = layernorm2(x)
 * Heads are rotated in part.  A model whose MLP stands behind attention is a
 * GPT-2 layer with rotations. */
#include "model/attend.h"
#include "model/block.h"

typedef struct rooms {
    kernel_view norm1, norm2; /* [r, d] */
    attend attend;
    kernel_view up; /* [r, ff] */
} rooms;

static rooms
rooms_of(phase *p)
{
    size_t d = p->cfg->d_model;
    rooms at;
    at.norm1 = phase_take(p, p->compute, p->max_row, d);
    at.norm2 = phase_take(p, p->compute, p->max_row, d);
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
    if (p->cfg->parallel)
        (void)rooms_of(p);
    else
        block_gpt2.measure(p);
}

static status
run(phase *p, kernel_queue *q)
{
    const kernel_rows late = KERNEL_ROWS_LATE;
    const model_config *c = p->cfg;
    status st = ST_OK;

    if (!c->parallel)
        return block_gpt2.run(p, q);
    rooms at = rooms_of(p);
    kernel_view x = p->buf->x;
    TRY(phase_norm(p, q, at.norm1, WEIGHTS_NORM1, KERNEL_ROWS_ALL));
    TRY(phase_norm(p, q, at.norm2, WEIGHTS_NORM2, late));
    TRY(attend_run(p, q, &at.attend, at.norm1));
    TRY(phase_project(p, q, x, at.attend.mixed, WEIGHTS_OUT, late));
    TRY(phase_project(p, q, at.up, at.norm2, WEIGHTS_GATE_UP, late));
    TRY(kernel_gelu(q, at.up, at.up, c->d_ffn, c->act == CONFIG_ACT_GELU_TANH));
    TRY(phase_project(p, q, x, at.up, WEIGHTS_DOWN, late));
fail:
    return st;
}

const block block_neox = {
    .name = "neox", .norm = kernel_layernorm, .measure = measure, .run = run};
