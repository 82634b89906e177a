/* SPDX-License-Identifier: Apache-2.0 */
/* What comes out at the last layer: drawn tokens, and logits in tiles. */
#include <string.h>

#include "base/mem.h"
#include "worker/engine_impl.h"

status
engine_head_init(engine_head *h, uint32_t n_stream)
{
    status st = ST_OK;
    TRY(mem_new(&h->cells, n_stream, sizeof *h->cells));
    TRY(mem_new(&h->sample, n_stream, sizeof *h->sample));
    TRY(mem_new(&h->done_of, n_stream, sizeof *h->done_of));
    TRY(mem_new(&h->n_seen, n_stream, sizeof *h->n_seen));
fail:
    return st;
}

void
engine_head_fini(engine_head *h)
{
    mem_free(h->cells);
    mem_free(h->sample);
    mem_free(h->done_of);
    mem_free(h->n_seen);
    *h = (engine_head){0};
}

uint32_t
engine_seen_room(const engine *e)
{
    return e->buf.max_seen;
}

/* The staging copy is only ever added to while the stream is open. */
status
engine_seen(engine *e, uint32_t id, const int32_t *ids, uint32_t n)
{
    engine_buffers *b = &e->buf;
    uint32_t *at = &e->head.n_seen[id];
    int32_t *host;
    status st = ST_OK;

    if (!e->part->head || n == 0)
        return ST_OK;
    if (n > b->max_seen - *at)
        return status_fail(ST_LIMIT, "more than %u ids for a penalty",
                           b->max_seen);
    host = b->host_seen + (size_t)id * b->max_seen + *at;
    memcpy(host, ids, n * sizeof *host);
    TRY(kernel_copy_in(e->q, b->seen.buf,
                       engine_buffers_offset(&b->seen, id) + *at * sizeof *host,
                       host, n * sizeof *host));
    *at += n;
fail:
    return st;
}

bool
engine_seen_here(const engine *e, uint32_t id, const engine_segment *segment)
{
    return !e->part->head || segment->sample.n_seen <= e->head.n_seen[id];
}

static bool
is_last_layer(const engine *e, const engine_done *d)
{
    return e->part->head && d->layer + 1 == e->part->n_layer;
}

/* Logits of the whole segment include those of the last row. */
static bool
wants_last(const engine_segment *s)
{
    return (s->want & (ENGINE_LAST_LOGITS | ENGINE_LOGITS)) ==
           ENGINE_LAST_LOGITS;
}

/* Rows of a cell, as the head takes them. */
static kernel_cell
rows_of(const kernel_cell *cell, uint32_t row0, uint32_t n_row)
{
    kernel_cell c = *cell;
    c.row0 = row0;
    c.n_row = n_row;
    c.n_prefix = 0;
    c.n_mem = 0;
    return c;
}

/* The row behind which the next token comes: the last of a prompt, whatever it
 * is, and the last token of a segment that is written. */
static uint32_t
last_row(const kernel_cell *cell, const engine_segment *s)
{
    return (s->frozen ? cell->n_row : cell->n_prefix + s->n_token) - 1;
}

kernel_cell
engine_head_cell(const kernel_cell *cell, const engine_done *d)
{
    kernel_cell c = rows_of(cell, last_row(cell, &d->segment), 1);

    c.kv = d->stream; /* where the seen ids are */
    return c;
}

/* The cells that want their last row, and what any of them wants of it. */
static void
gather(engine *e)
{
    engine_head *h = &e->head;
    const engine_group *g = &e->group;

    h->n_cell = 0;
    h->draw = h->logprobs = h->seen = false;
    for (uint32_t i = 0; i < g->n_cell; i++) {
        const engine_done *d = &g->done[g->done_of[i]];
        const engine_segment *s = &d->segment;
        bool token = (s->want & ENGINE_TOKEN) != 0;
        if (!is_last_layer(e, d) || !(token || wants_last(s)))
            continue;
        h->cells[h->n_cell] = engine_head_cell(&g->cells[i], d);
        h->sample[h->n_cell] =
            token ? s->sample : (kernel_sample_args){.top_p = 1};
        h->done_of[h->n_cell++] = g->done_of[i];
        h->draw = h->draw || token;
        h->seen = h->seen || (token && s->sample.n_seen > 0);
        h->logprobs = h->logprobs || (token && (s->want & ENGINE_LOGPROBS));
    }
}

status
engine_head_fetch(engine *e, uint32_t slot)
{
    const engine_buffers *b = &e->buf;

    return kernel_copy_out(e->q, b->host_next + slot, b->next.buf,
                           engine_buffers_offset(&b->next, slot),
                           sizeof(int32_t));
}

/* Copies to the host what engine_head_collect() hands out. */
static status
fetch(engine *e)
{
    const engine_buffers *b = &e->buf;
    const engine_head *h = &e->head;
    size_t row = b->shape.n_vocab * sizeof(float);
    status st = ST_OK;

    for (uint32_t i = 0; i < h->n_cell; i++) {
        if (wants_last(&e->group.done[h->done_of[i]].segment))
            TRY(kernel_copy_out(e->q,
                                b->host_logits + (size_t)i * b->shape.n_vocab,
                                b->logits.buf, i * row, row));
    }
    if (h->draw && h->n_cell == 1)
        TRY(engine_head_fetch(e, h->cells[0].slot));
    else if (h->draw)
        TRY(kernel_copy_out(e->q, b->host_next, b->next.buf, 0,
                            kernel_buf_bytes(b->next.buf)));
    if (h->logprobs) {
        TRY(kernel_copy_out(e->q, b->host_logprobs, b->logprobs.buf, 0,
                            kernel_buf_bytes(b->logprobs.buf)));
        TRY(kernel_copy_out(e->q, b->host_top_ids, b->top_ids.buf, 0,
                            kernel_buf_bytes(b->top_ids.buf)));
    }
fail:
    return st;
}

status
engine_head_launch(engine *e)
{
    engine_head *h = &e->head;
    kernel_sample_op op = {.ids = e->buf.next, .args = h->sample};
    status st = ST_OK;

    gather(e);
    if (h->n_cell == 0 || e->group.enqueued)
        return ST_OK;
    if (h->seen)
        op.seen = e->buf.seen;
    if (h->logprobs) {
        op.logprobs = e->buf.logprobs;
        op.top_ids = e->buf.top_ids;
    }
    TRY(model_head(e->m, e->q, &e->buf.model, h->cells, h->n_cell,
                   e->buf.logits, h->draw ? &op : NULL));
    TRY(fetch(e));
fail:
    return st;
}

/* The last rows, which came with the group. */
static void
hand_out_last(engine *e)
{
    const engine_head *h = &e->head;
    const engine_sink *sink = &e->sink;
    for (uint32_t i = 0; i < h->n_cell; i++) {
        const engine_done *d = &e->group.done[h->done_of[i]];
        const float *row =
            e->buf.host_logits + (size_t)i * e->buf.shape.n_vocab;
        if (wants_last(&d->segment) && sink->logits != NULL)
            sink->logits(sink->ctx, d->stream, &d->segment,
                         d->segment.n_token - 1, 1, row);
    }
}

static engine_token
token_of(const engine *e, uint32_t slot, const engine_segment *s)
{
    const engine_buffers *b = &e->buf;
    const float *logprobs =
        b->host_logprobs + (size_t)slot * (1 + KERNEL_SAMPLE_TOP);
    engine_token t = {.id = b->host_next[slot]};

    if ((s->want & ENGINE_LOGPROBS) == 0)
        return t;
    t.n_top = s->sample.n_top;
    t.logprob = logprobs[0];
    for (uint32_t i = 0; i < t.n_top; i++) {
        t.top_logprob[i] = logprobs[1 + i];
        t.top_id[i] = b->host_top_ids[(size_t)slot * KERNEL_SAMPLE_TOP + i];
    }
    return t;
}

static void
hand_out_tokens(engine *e)
{
    const engine_head *h = &e->head;
    const engine_sink *sink = &e->sink;
    for (uint32_t i = 0; i < h->n_cell; i++) {
        const engine_done *d = &e->group.done[h->done_of[i]];
        engine_token t = token_of(e, h->cells[i].slot, &d->segment);
        if ((d->segment.want & ENGINE_TOKEN) && sink->token != NULL)
            sink->token(sink->ctx, d->stream, &d->segment, &t);
    }
}

/* Rows of a tile on the host: where they lie, or a copy. */
static status
see_tile(engine *e, const float **out, uint32_t n_row)
{
    const engine_buffers *b = &e->buf;
    const float *here = kernel_buf_host(b->logits.buf, 0);
    status st = ST_OK;

    if (here == NULL)
        TRY(kernel_copy_out(e->q, b->host_logits, b->logits.buf, 0,
                            (size_t)n_row * b->shape.n_vocab *
                                sizeof *b->host_logits));
    TRY(kernel_sync(e->q));
    *out = here != NULL ? here : b->host_logits;
fail:
    return st;
}

/* All token rows of one cell, tile by tile. */
static status
hand_out_segment(engine *e, const kernel_cell *cell, const engine_done *d)
{
    const engine_buffers *b = &e->buf;
    const float *tile = NULL;
    kernel_cell c;
    status st = ST_OK;

    for (uint32_t row = 0; row < d->segment.n_token; row += c.n_row) {
        uint32_t left = d->segment.n_token - row;
        c = rows_of(cell, cell->n_prefix + row,
                    left < ENGINE_BUFFERS_TILE ? left : ENGINE_BUFFERS_TILE);
        TRY(model_head(e->m, e->q, &b->model, &c, 1, b->logits, NULL));
        TRY(see_tile(e, &tile, c.n_row));
        if (e->sink.logits != NULL)
            e->sink.logits(e->sink.ctx, d->stream, &d->segment, row, c.n_row,
                           tile);
    }
fail:
    return st;
}

status
engine_head_collect(engine *e)
{
    const engine_group *g = &e->group;
    status st = ST_OK;

    hand_out_last(e); /* before tiles overwrite them */
    for (uint32_t i = 0; i < g->n_cell; i++) {
        const engine_done *d = &g->done[g->done_of[i]];
        if (is_last_layer(e, d) && (d->segment.want & ENGINE_LOGITS))
            TRY(hand_out_segment(e, &g->cells[i], d));
    }
    hand_out_tokens(e);
fail:
    return st;
}
