/* SPDX-License-Identifier: Apache-2.0 */
/* The composition of a layer, and the two ends of the model. */
#include "model/model.h"

#include "base/mem.h"
#include "model/block.h"
#include "model/memory.h"

struct model {
    model_config cfg;
    weights *w;
    const block *block;
    const memory *memory;
    kernel_type compute;
    kernel_buf *scratch;
    size_t item;          /* bytes of scratch of one cell */
    kernel_cell *leaving; /* [max_cell] that write a chained memory */
    uint32_t max_cell, max_row;
    uint32_t n_item; /* of scratch on the device, as far as one can tell */
};

static const block *const blocks[] = {
    [CONFIG_BLOCK_LLAMA] = &block_llama,
    [CONFIG_BLOCK_GPT2] = &block_gpt2,
    [CONFIG_BLOCK_NEOX] = &block_neox,
};

static phase
phase_of(const model *m, const model_buffers *buf, bool frozen)
{
    return (phase){.cfg = &m->cfg,
                   .block = m->block,
                   .memory = m->memory,
                   .w = m->w,
                   .buf = buf,
                   .frozen = frozen,
                   .compute = m->compute,
                   .scratch = m->scratch,
                   .item = m->item,
                   .max_row = m->max_row};
}

static kernel_view
normed_of(phase *p)
{
    return phase_take(p, p->compute, p->max_row, p->cfg->d_model);
}

static void
measure_head(phase *p)
{
    (void)normed_of(p);
}

/* The largest phase's scratch is everybody's. */
static size_t
item_bytes(const model *m)
{
    void (*const measure[])(phase *) = {m->memory->measure_read,
                                        m->block->measure,
                                        m->memory->measure_write, measure_head};
    size_t most = 0;
    for (size_t i = 0; i < sizeof measure / sizeof *measure; i++) {
        phase p = phase_of(m, NULL, false);
        if (measure[i] != NULL)
            measure[i](&p);
        if (p.used > most)
            most = p.used;
    }
    return most;
}

status
model_supported(const model_config *cfg, const kernel_info *info)
{
    bool assoc = cfg->memory == CONFIG_MEMORY_ASSOC;
    uint32_t feature = assoc ? cfg->d_mem / cfg->n_mem_head : 0;

    if (info->max_head > 0 && cfg->d_head > info->max_head)
        return status_fail(ST_UNSUPPORTED,
                           "attention heads of %u numbers: %s takes up to %u",
                           cfg->d_head, info->device, info->max_head);
    if (info->max_feature > 0 && feature > info->max_feature)
        return status_fail(ST_UNSUPPORTED,
                           "an associative memory with d_mem %u a head: %s "
                           "takes up to %u",
                           feature, info->device, info->max_feature);
    if (info->max_vocab > 0 && cfg->n_vocab > info->max_vocab)
        return status_fail(ST_UNSUPPORTED,
                           "a vocabulary of %u tokens: %s takes up to %u",
                           cfg->n_vocab, info->device, info->max_vocab);
    return ST_OK;
}

static void
shape(model *m, const model_config *cfg, kernel_type compute)
{
    m->cfg = *cfg;
    m->block = blocks[cfg->block];
    m->memory = memory_of(cfg);
    m->compute = compute;
    m->max_row = memory_max_rows(cfg);
    m->item = item_bytes(m);
}

size_t
model_cell_bytes(const model_config *cfg, kernel_type compute)
{
    model m = {0};

    shape(&m, cfg, compute);
    return m.item;
}

status
model_new(model **out, kernel_device *dev, const model_config *cfg, weights *w,
          uint32_t max_cell)
{
    model *m = NULL;
    kernel_info info;
    status st = ST_OK;

    kernel_info_get(dev, &info);
    TRY(model_supported(cfg, &info));
    TRY(mem_new(&m, 1, sizeof *m));
    shape(m, cfg, info.compute);
    m->max_cell = max_cell;
    m->n_item = info.n_thread == 0 ? max_cell : 1;
    if (m->memory->chained)
        TRY(mem_new(&m->leaving, max_cell, sizeof *m->leaving));
    TRY(kernel_buf_new(&m->scratch, dev, KERNEL_SCRATCH, m->item, max_cell));
    m->w = w;
    *out = m;
    return ST_OK;
fail:
    model_free(m);
    return st;
}

void
model_free(model *m)
{
    if (m == NULL)
        return;
    weights_free(m->w);
    kernel_buf_free(m->scratch);
    mem_free(m->leaving);
    mem_free(m);
}

const model_config *
model_config_of(const model *m)
{
    return &m->cfg;
}

const weights_part *
model_part_of(const model *m)
{
    return weights_part_of(m->w);
}

const weights *
model_weights_of(const model *m)
{
    return m->w;
}

size_t
model_scratch_bytes(const model *m)
{
    return kernel_buf_bytes(m->scratch) * m->n_item;
}

static status
begin(const model *m, kernel_queue *q, const kernel_cell *cells,
      uint32_t n_cell)
{
    ASSERT(n_cell > 0 && n_cell <= m->max_cell);
    for (uint32_t i = 0; i < n_cell; i++)
        ASSERT(cells[i].n_row <= m->max_row && cells[i].n_mem <= m->cfg.n_mem);
    return kernel_begin(q, cells, n_cell);
}

/* Ends the group also after a failure, so that the queue can be used. */
static status
end(kernel_queue *q, status st)
{
    status ended = kernel_end(q);
    return st != ST_OK ? st : ended;
}

status
model_embed(model *m, kernel_queue *q, const model_buffers *buf,
            kernel_view ids, const kernel_cell *cells, uint32_t n_cell)
{
    phase p = phase_of(m, buf, false);
    kernel_embed_args a = {.x = buf->x,
                           .ids = ids,
                           .table = weights_view(m->w, WEIGHTS_EMBED),
                           .position = weights_view(m->w, WEIGHTS_POSITION),
                           .mem_pos = m->cfg.wrap_pos ? m->cfg.n_position : 0,
                           .d = m->cfg.d_model};
    m->memory->embed(&p, &a);
    status st = begin(m, q, cells, n_cell);
    if (st != ST_OK)
        return st;
    st = kernel_embed(q, &a);
    return end(q, st);
}

static status
run_phases(const model *m, kernel_queue *q, phase *p, unsigned phases)
{
    const memory *mem = m->memory;
    status st = ST_OK;

    if (phases & MODEL_READ && mem->read != NULL)
        TRY(mem->read(p, q));
    p->used = 0;
    if (phases & MODEL_BLOCK)
        TRY(m->block->run(p, q));
    p->used = 0;
    if (phases & MODEL_WRITE && !p->frozen && mem->write != NULL &&
        !mem->chained)
        TRY(mem->write(p, q));
fail:
    return st;
}

/* What cells at the last layer leave to the segment behind theirs. */
static status
run_leaving(const model *m, kernel_queue *q, phase *p, const kernel_cell *cells,
            uint32_t n_cell)
{
    const weights_part *part = model_part_of(m);
    uint32_t n = 0;

    for (uint32_t i = 0; i < n_cell; i++) {
        if (part->head && cells[i].layer + 1 == part->n_layer)
            m->leaving[n++] = cells[i];
    }
    if (n == 0)
        return ST_OK;
    p->used = 0;
    status st = begin(m, q, m->leaving, n);
    if (st != ST_OK)
        return st;
    return end(q, m->memory->write(p, q));
}

status
model_run(model *m, kernel_queue *q, const model_buffers *buf,
          const kernel_cell *cells, uint32_t n_cell, bool frozen,
          unsigned phases)
{
    phase p = phase_of(m, buf, frozen);
    status st = begin(m, q, cells, n_cell);
    if (st != ST_OK)
        return st;
    TRY(end(q, run_phases(m, q, &p, phases)));
    if (phases & MODEL_WRITE && !frozen && m->memory->chained)
        TRY(run_leaving(m, q, &p, cells, n_cell));
fail:
    return st;
}

status
model_head(model *m, kernel_queue *q, const model_buffers *buf,
           const kernel_cell *cells, uint32_t n_cell, kernel_view logits,
           const kernel_sample_op *draw)
{
    phase p = phase_of(m, buf, false);
    kernel_view normed = normed_of(&p);
    status st = begin(m, q, cells, n_cell);
    if (st != ST_OK)
        return st;
    TRY(phase_norm(&p, q, normed, WEIGHTS_NORM_F, KERNEL_ROWS_ALL));
    TRY(phase_project(&p, q, logits, normed, WEIGHTS_HEAD, KERNEL_ROWS_ALL));
    if (draw != NULL) {
        kernel_sample_op op = *draw;
        op.logits = logits;
        op.n_vocab = m->cfg.n_vocab;
        TRY(kernel_sample(q, &op));
    }
fail:
    return end(q, st);
}
