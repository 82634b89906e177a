/* SPDX-License-Identifier: Apache-2.0 */
/* Memory tokens (Bulatov et al. 2022, arXiv:2207.06881): M rows that leave the
 * last layer and its norm stand before and behind the tokens of the next
 * segment.  What enters a segment so has left all layers of the one before:
 * cells of one document run one by one. */
#include "model/memory.h"

#include "model/phase.h"

static uint32_t
tensors(const model_config *c, kernel_type compute, uint32_t layer,
        const memory_past *past, memory_tensor out[MEMORY_MAX_TENSOR])
{
    (void)compute;
    (void)past;
    if (layer > 0)
        return 0;
    out[0] = (memory_tensor){.name = "memory",
                             .type = KERNEL_F32,
                             .n_dim = 2,
                             .dim = {c->n_mem, c->d_model}};
    return 1;
}

/* A prompt is laid out as a segment is, and its answer goes on behind the
 * rows that would be written. */
static void
place(const model_config *c, uint32_t layer, const memory_span *s,
      kernel_cell *out)
{
    bool first = !s->frozen || s->n_run == 0; /* of the segment */

    (void)layer;
    out->n_prefix = first ? c->n_mem : 0;
    out->n_mem = first ? c->n_mem : 0;
    out->n_row = out->n_prefix + s->n_token + out->n_mem;
    out->n_past = first ? 0 : 2 * c->n_mem + s->n_run;
    out->pos = out->n_past;
    out->fresh = s->past.n_token == 0;
}

static void
embed(const phase *p, kernel_embed_args *a)
{
    a->prefix = weights_view(p->w, WEIGHTS_MEMORY);
    a->memory = a->prefix;
    a->carried = p->buf->state;
    a->carried.ld = p->cfg->d_model;
}

/* The state is what the head would see of the memory rows. */
static status
write(phase *p, kernel_queue *q)
{
    kernel_view mem = p->buf->state;
    mem.ld = p->cfg->d_model;
    return phase_norm(p, q, mem, WEIGHTS_NORM_F, KERNEL_ROWS_MEM);
}

const memory memory_tokens = {.name = "tokens",
                              .chained = true,
                              .tensors = tensors,
                              .place = place,
                              .embed = embed,
                              .write = write};
