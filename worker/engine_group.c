/* SPDX-License-Identifier: Apache-2.0 */
/* One group: picked cells become cells of the device, in at most three calls
 * of the model: rows that enter, cells that write, cells that are frozen. */
#include "base/bf16.h"
#include "base/mem.h"
#include "worker/engine_impl.h"

status
engine_group_init(engine_group *g, const engine_config *cfg, uint32_t n_layer)
{
    size_t n = 0;
    status st = ST_OK;
    TRY(size_mul(&n, cfg->n_stream, n_layer));
    TRY(size_add(&n, n, cfg->max_cell));
    TRY(mem_new(&g->picked, cfg->max_cell, sizeof *g->picked));
    TRY(mem_new(&g->done, n, sizeof *g->done));
    TRY(mem_new(&g->cells, n, sizeof *g->cells));
    TRY(mem_new(&g->embed, cfg->max_cell, sizeof *g->embed));
    TRY(mem_new(&g->done_of, n, sizeof *g->done_of));
    TRY(mem_new(&g->climbs, cfg->n_stream, sizeof *g->climbs));
fail:
    return st;
}

void
engine_group_fini(engine_group *g)
{
    mem_free(g->picked);
    mem_free(g->done);
    mem_free(g->cells);
    mem_free(g->embed);
    mem_free(g->done_of);
    mem_free(g->climbs);
    *g = (engine_group){0};
}

/* Rows whose output nobody takes: at the last layer, where nothing is wanted of
 * the segment, all but those that the memory is written from. */
static uint32_t
skipped(const engine *e, const engine_done *d, const kernel_cell *c)
{
    uint32_t alone = d->segment.want & ENGINE_STATE_ALONE;
    bool last =
        (e->part->head || alone != 0) && d->layer + 1 == e->part->n_layer;
    bool taken = d->segment.frozen || d->segment.want != alone;

    return last && !taken && e->sink.rows == NULL ? c->n_row - c->n_mem : 0;
}

kernel_cell
engine_cell_of(const engine *e, const engine_done *d)
{
    const memory_span span = engine_span(&d->segment);
    kernel_cell c = {.layer = d->layer,
                     .slot = engine_slot(e, d->stream, d->local_seg),
                     .state = engine_state_item(e, d->stream, d->layer),
                     .kv = d->stream * e->part->n_layer + d->layer};
    e->memory->place(e->cfg, e->part->layer_first + d->layer, &span, &c);
    c.n_skip = skipped(e, d, &c);
    return c;
}

static void
count(engine *e, const kernel_cell *c)
{
    const config_cell cell = {.n_row = c->n_row,
                              .n_mem = c->n_mem,
                              .n_skip = c->n_skip,
                              .n_past = c->n_past,
                              .n_window = c->n_window,
                              .fresh = c->fresh != 0,
                              .bare = c->bare != 0};
    e->counts.n_cell++;
    e->counts.flops += config_cell_flops(e->cfg, &cell);
}

/* Appends the cells that write, or the frozen ones, of done[first ..], in the
 * order picked; returns how many enter the model. */
static uint32_t
append(engine *e, uint32_t first, uint32_t end, bool frozen, uint32_t n_embed)
{
    engine_group *g = &e->group;
    for (uint32_t i = first; i < end; i++) {
        if ((g->done[i].segment.frozen != 0) != frozen)
            continue;
        kernel_cell c = engine_cell_of(e, &g->done[i]);
        if (e->part->embed && c.layer == 0)
            g->embed[n_embed++] = c;
        count(e, &c);
        g->done_of[g->n_cell] = i;
        g->cells[g->n_cell++] = c;
    }
    return n_embed;
}

/* Shows the rows of cells first .. end - 1 as they are now. */
static status
observe(engine *e, uint32_t first, uint32_t end, int point)
{
    const engine_buffers *b = &e->buf;
    size_t max = (size_t)b->shape.max_row * b->shape.d_model;
    float *rows = NULL;
    status st = ST_OK;

    TRY(mem_new(&rows, max, sizeof *rows));
    for (uint32_t i = first; i < end; i++) {
        const kernel_cell *c = &e->group.cells[i];
        const engine_done *d = &e->group.done[e->group.done_of[i]];
        TRY(kernel_copy_out(e->q, rows, b->model.x.buf,
                            engine_buffers_offset(&b->model.x, c->slot),
                            engine_buffers_x_bytes(b, c->n_row)));
        TRY(kernel_sync(e->q));
        if (b->shape.compute == KERNEL_BF16)
            bf16_to_floats(rows, (size_t)c->n_row * b->shape.d_model);
        e->sink.rows(e->sink.ctx, d->stream, &d->segment,
                     e->part->layer_first + d->layer, point, c->n_row, rows);
    }
fail:
    mem_free(rows);
    return st;
}

/* Cells first .. end - 1, all of one kind, as one group of the device, or as
 * one for each phase when somebody looks at what is between them. */
static status
run(engine *e, uint32_t first, uint32_t end, bool frozen)
{
    const kernel_cell *cells = e->group.cells + first;
    uint32_t n = end - first;
    status st = ST_OK;

    if (n == 0)
        return ST_OK;
    if (e->sink.rows == NULL)
        return model_run(e->m, e->q, &e->buf.model, cells, n, frozen,
                         MODEL_ALL);
    TRY(model_run(e->m, e->q, &e->buf.model, cells, n, frozen, MODEL_READ));
    TRY(observe(e, first, end, 0));
    TRY(model_run(e->m, e->q, &e->buf.model, cells, n, frozen, MODEL_BLOCK));
    TRY(observe(e, first, end, 1));
    TRY(model_run(e->m, e->q, &e->buf.model, cells, n, frozen, MODEL_WRITE));
fail:
    return st;
}

/* What was picked, behind what is done of the picks before. */
static void
note(engine *e, uint32_t n_cell)
{
    engine_group *g = &e->group;
    for (uint32_t i = 0; i < n_cell; i++) {
        const wavefront_cell *p = &g->picked[i];
        uint32_t slot = engine_slot(e, p->stream, p->seg);
        g->done[g->n_cell + i] = (engine_done){.stream = p->stream,
                                               .layer = p->layer,
                                               .local_seg = p->seg,
                                               .segment = e->fed[slot].segment};
    }
    e->counts.n_group++;
}

status
engine_group_run(engine *e, uint32_t n_cell)
{
    engine_group *g = &e->group;
    uint32_t first = g->n_cell, end = first + n_cell;
    status st = ST_OK;

    note(e, n_cell);
    uint32_t n_embed = append(e, first, end, false, 0);
    uint32_t frozen = g->n_cell;
    n_embed = append(e, first, end, true, n_embed);
    if (g->enqueued)
        return ST_OK;
    if (n_embed > 0)
        TRY(model_embed(e->m, e->q, &e->buf.model, e->buf.ids, g->embed,
                        n_embed));
    TRY(run(e, first, frozen, false));
    TRY(run(e, frozen, end, true));
fail:
    return st;
}
