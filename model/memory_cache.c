/* SPDX-License-Identifier: Apache-2.0 */
/* No memory but the keys and values of everything that was read: a plain
 * decoder, whose segments are the chunks of its prefill.  A layer's state is
 * its cache, and grows. */
#include "model/memory.h"

#include "model/phase.h"

static uint32_t
tensors(const model_config *c, kernel_type compute, uint32_t layer,
        const memory_past *past, memory_tensor out[MEMORY_MAX_TENSOR])
{
    (void)layer;
    out[0] = (memory_tensor){
        .name = "cache",
        .type = compute,
        .n_dim = 2,
        .dim = {past->n_token, 2 * (size_t)c->n_kv_head * c->d_head}};
    return 1;
}

static void
place(const model_config *c, uint32_t layer, const memory_span *s,
      kernel_cell *out)
{
    (void)c;
    (void)layer;
    out->n_row = s->n_token;
    out->n_past = (uint32_t)s->past.n_token + s->n_run;
    out->pos = out->n_past;
}

static void
embed(const phase *p, kernel_embed_args *a)
{
    (void)p;
    (void)a;
}

static void
keys(const phase *p, memory_keys *out)
{
    memory_kv_views(p, 0, &out->k_cache, &out->v_cache);
}

const memory memory_cache = {.name = "cache",
                             .grows = true,
                             .tensors = tensors,
                             .place = place,
                             .embed = embed,
                             .keys = keys};
