/* SPDX-License-Identifier: Apache-2.0 */
/* The list of memories, and what follows from their declarations. */
#include "model/memory.h"

#include <string.h>

#include "model/phase.h"

static const memory *const memories[] = {
    [CONFIG_MEMORY_ASSOC] = &memory_assoc,
    [CONFIG_MEMORY_TOKENS] = &memory_tokens,
    [CONFIG_MEMORY_CACHE] = &memory_cache,
};

const memory *
memory_of(const model_config *cfg)
{
    return memories[cfg->memory];
}

size_t
memory_tensor_bytes(const memory_tensor *t)
{
    size_t n = kernel_type_size(t->type);
    for (uint32_t i = 0; i < t->n_dim; i++)
        n *= t->dim[i];
    return n;
}

size_t
memory_state_bytes(const model_config *cfg, kernel_type compute, uint32_t layer,
                   const memory_past *past)
{
    memory_tensor t[MEMORY_MAX_TENSOR];
    uint32_t n = memory_of(cfg)->tensors(cfg, compute, layer, past, t);
    return n > 0 ? t[n - 1].offset + memory_tensor_bytes(&t[n - 1]) : 0;
}

size_t
memory_states_bytes(const model_config *cfg, kernel_type compute,
                    const memory_past *past)
{
    size_t n = 0;
    for (uint32_t layer = 0; layer < cfg->n_layer; layer++)
        n += memory_state_bytes(cfg, compute, layer, past);
    return n;
}

size_t
memory_state_room(const model_config *cfg, kernel_type compute,
                  uint64_t n_token)
{
    const memory_past past = {.n_token = n_token, .n_last = cfg->segment_size};
    model_config all = *cfg;
    size_t most = 0;
    memset(all.bare, 0, sizeof all.bare);
    for (uint32_t layer = 0; layer < cfg->n_layer; layer++) {
        size_t n = memory_state_bytes(&all, compute, layer, &past);
        most = n > most ? n : most;
    }
    return most;
}

uint32_t
memory_rows(const model_config *cfg, const memory_span *span)
{
    kernel_cell c = {0};
    memory_of(cfg)->place(cfg, 0, span, &c);
    return c.n_row;
}

uint32_t
memory_max_rows(const model_config *cfg)
{
    const memory_span full = {.n_token = cfg->segment_size};
    const memory_span prompt = {.n_token = cfg->segment_size, .frozen = true};
    uint32_t n = memory_rows(cfg, &full), m = memory_rows(cfg, &prompt);
    return n > m ? n : m;
}

memory_past
memory_after(const memory_span *span)
{
    if (span->frozen)
        return span->past;
    return (memory_past){.n_token = span->past.n_token + span->n_token,
                         .n_last = span->n_token};
}

status
memory_check(const model_config *cfg, const memory_span *span)
{
    kernel_cell c = {0};
    if (cfg->n_position == 0)
        return ST_OK;
    memory_of(cfg)->place(cfg, 0, span, &c);
    uint32_t n_row = c.n_row - (cfg->wrap_pos ? c.n_mem : 0);
    if (c.pos > cfg->n_position || n_row > cfg->n_position - c.pos)
        return status_fail(ST_LIMIT,
                           "the model has %u positions, these tokens need %llu",
                           cfg->n_position, (unsigned long long)c.pos + n_row);
    return ST_OK;
}

void
memory_kv_views(const phase *p, size_t offset, kernel_view *k, kernel_view *v)
{
    size_t size = kernel_type_size(p->compute);
    size_t d_kv = (size_t)p->cfg->n_kv_head * p->cfg->d_head;
    kernel_view view = p->buf->state;

    view.type = p->compute;
    view.stride = p->buf->state.stride * sizeof(float) / size;
    view.offset = (p->buf->state.offset * sizeof(float) + offset) / size;
    view.ld = 2 * d_kv;
    *k = view;
    *v = phase_columns(view, d_kv);
}
