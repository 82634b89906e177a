/* SPDX-License-Identifier: Apache-2.0 */
/* Streams on one rank: opening, feeding, what is where, and what is done. */
#include "worker/engine.h"

#include <string.h>

#include "base/mem.h"
#include "worker/engine_impl.h"

engine_config
engine_resolve(const engine_config *cfg, const weights_part *part)
{
    engine_config c = *cfg;
    if (c.n_slot == 0)
        c.n_slot = place_slots(&c.place);
    if (c.max_cell == 0)
        c.max_cell = c.n_stream * part->n_layer;
    return c;
}

static status
make_wavefront(engine *e)
{
    wavefront_config cfg = {.n_stream = e->config.n_stream,
                            .n_layer = e->part->n_layer,
                            .n_slot = e->config.n_slot,
                            .max_cell = e->config.max_cell,
                            .max_each = e->config.max_each,
                            .order = e->config.order,
                            .remote_state = e->remote_state,
                            .chained = e->memory->chained};
    return wavefront_new(&e->w, &cfg);
}

/* Rows that the cache of a frozen run needs. */
static uint32_t
run_rows(const engine *e)
{
    const memory_span run = {.n_token = e->config.kv_cap, .frozen = true};
    if (e->config.kv_cap == 0 || e->memory->grows)
        return 0;
    return memory_rows(e->cfg, &run);
}

status
engine_make_buffers(engine *e, kernel_device *dev)
{
    uint32_t n_state = e->memory->chained ? 1 : e->part->n_layer;
    engine_buffers_shape shape = {.n_stream = e->config.n_stream,
                                  .n_slot = e->config.n_slot,
                                  .n_layer = e->part->n_layer,
                                  .max_token = e->cfg->segment_size,
                                  .max_row = memory_max_rows(e->cfg),
                                  .d_model = e->cfg->d_model,
                                  .d_kv = e->cfg->n_kv_head * e->cfg->d_head,
                                  .n_vocab = e->cfg->n_vocab,
                                  .kv_row = run_rows(e),
                                  .n_state = n_state,
                                  .state_room = engine_state_room(e),
                                  .compute = e->compute,
                                  .embed = e->part->embed,
                                  .head = e->part->head};
    return engine_buffers_init(&e->buf, dev, &shape);
}

static status
make_streams(engine *e)
{
    size_t n_slot = 0, n_state = 0;
    status st = ST_OK;

    TRY(size_mul(&n_slot, e->config.n_stream, e->config.n_slot));
    TRY(size_mul(&n_state, e->config.n_stream, e->part->n_layer));
    if (n_slot > UINT32_MAX || n_state > UINT32_MAX)
        TRY(status_fail(ST_LIMIT, "too many streams and segments in flight"));
    TRY(mem_new(&e->fed, n_slot, sizeof *e->fed));
    TRY(mem_new(&e->arrived, n_state, sizeof *e->arrived));
fail:
    return st;
}

/* A host gives pages when they are first written, and takes so long for it that
 * the first segment of all would be late: what is small is written now. */
static status
touch(engine *e, const kernel_view *view)
{
    enum { MOST = 64 << 20 };
    status st = ST_OK;

    if (view->buf == NULL)
        return ST_OK;
    size_t bytes = kernel_buf_bytes(view->buf);
    TRY(kernel_zero(e->q, view->buf, 0, bytes < MOST ? bytes : MOST));
fail:
    return st;
}

static status
touch_all(engine *e)
{
    status st = ST_OK;
    TRY(touch(e, &e->buf.model.x));
    TRY(touch(e, &e->buf.model.state));
    TRY(touch(e, &e->buf.model.kv));
    TRY(kernel_sync(e->q));
fail:
    return st;
}

status
engine_new(engine **out, kernel_device *dev, model *m, const engine_config *cfg)
{
    engine *e = NULL;
    kernel_info info;
    status st = ST_OK;

    TRY(mem_new(&e, 1, sizeof *e));
    e->cfg = model_config_of(m);
    e->part = model_part_of(m);
    kernel_info_get(dev, &info);
    e->memory = memory_of(e->cfg);
    e->compute = info.compute;
    e->config = engine_resolve(cfg, e->part);
    if (e->memory->chained && e->part->n_layer != e->cfg->n_layer)
        TRY(status_fail(ST_UNSUPPORTED,
                        "what the last layer leaves enters the first one: "
                        "ranks cannot share the layers of this model, only "
                        "segments"));
    e->remote_state = cfg->place.kind == PLACE_SEGMENTS && cfg->place.size > 1;
    TRY(make_wavefront(e));
    TRY(make_streams(e));
    TRY(engine_make_buffers(e, dev));
    TRY(engine_group_init(&e->group, &e->config, e->part->n_layer));
    TRY(engine_head_init(&e->head, e->config.n_stream));
    TRY(kernel_event_new(&e->event, dev));
    TRY(engine_ahead_init(&e->ahead, dev));
    TRY(kernel_queue_new(&e->q, dev));
    TRY(touch_all(e));
    e->m = m;
    *out = e;
    return ST_OK;
fail:
    engine_free(e);
    return st;
}

void
engine_free(engine *e)
{
    if (e == NULL)
        return;
    kernel_queue_free(e->q); /* waits for what still runs */
    kernel_event_free(e->event);
    engine_ahead_fini(&e->ahead);
    engine_head_fini(&e->head);
    engine_group_fini(&e->group);
    engine_buffers_fini(&e->buf);
    mem_free(e->arrived);
    mem_free(e->fed);
    wavefront_free(e->w);
    model_free(e->m);
    mem_free(e);
}

void
engine_sink_set(engine *e, const engine_sink *sink)
{
    e->sink = *sink;
}

kernel_queue *
engine_queue(engine *e)
{
    return e->q;
}

const model *
engine_model(const engine *e)
{
    return e->m;
}

kernel_type
engine_compute(const engine *e)
{
    return e->compute;
}

const engine_config *
engine_config_of(const engine *e)
{
    return &e->config;
}

size_t
engine_bytes(const engine *e)
{
    return e->buf.bytes + model_scratch_bytes(e->m);
}

uint32_t
engine_slot(const engine *e, uint32_t id, uint64_t local_seg)
{
    return id * e->config.n_slot + (uint32_t)(local_seg % e->config.n_slot);
}

/* ------------------------------------------------------------- states --- */

uint32_t
engine_state_item(const engine *e, uint32_t id, uint32_t layer)
{
    ASSERT(id < e->config.n_stream && layer < e->part->n_layer);
    return e->memory->chained ? id : id * e->part->n_layer + layer;
}

size_t
engine_state_room(const engine *e)
{
    return memory_state_room(e->cfg, e->compute, e->config.max_token);
}

void
engine_state_place(const engine *e, uint32_t id, uint32_t layer,
                   const memory_past *past, engine_place *out)
{
    const kernel_view *view = &e->buf.model.state;
    uint32_t item = engine_state_item(e, id, layer);
    *out = (engine_place){
        .buf = view->buf,
        .offset = engine_buffers_offset(view, item),
        .len = memory_state_bytes(e->cfg, e->compute,
                                  e->part->layer_first + layer, past)};
}

bool
engine_state_left(const engine *e, const engine_done *d, uint32_t *layer)
{
    *layer = e->memory->chained ? 0 : d->layer;
    return !d->segment.frozen &&
           (!e->memory->chained || d->layer + 1 == e->part->n_layer);
}

memory_span
engine_span(const engine_segment *s)
{
    return (memory_span){.past = s->past,
                         .n_token = s->n_token,
                         .n_run = s->pos,
                         .frozen = s->frozen != 0};
}

memory_past
engine_past_after(const engine_segment *segment)
{
    const memory_span span = engine_span(segment);
    return memory_after(&span);
}

/* Layers whose states segments wait for. */
static uint32_t
n_waiting(const engine *e)
{
    return e->memory->chained ? 1 : e->part->n_layer;
}

/* Marks the states that need no message as arrived. */
static void
states_settle(engine *e, uint32_t id, uint32_t layer)
{
    uint64_t *n = &e->arrived[(size_t)id * e->part->n_layer + layer];
    while (*n < wavefront_fed(e->w, id) &&
           e->fed[engine_slot(e, id, *n)].state_stays)
        wavefront_state(e->w, id, layer, (*n)++);
}

void
engine_state_arrived(engine *e, uint32_t id, uint32_t layer)
{
    ASSERT(e->remote_state);
    uint64_t *n = &e->arrived[(size_t)id * e->part->n_layer + layer];
    wavefront_state(e->w, id, layer, (*n)++);
    states_settle(e, id, layer);
}

/* ------------------------------------------------------------ streams --- */

/* What a state has before anything was read is zero. */
static status
zero_states(engine *e, uint32_t id)
{
    const memory_past nothing = {0};
    status st = ST_OK;
    for (uint32_t layer = 0; layer < e->part->n_layer; layer++) {
        engine_place at;
        engine_state_place(e, id, layer, &nothing, &at);
        if (at.len > 0)
            TRY(kernel_zero(e->q, at.buf, at.offset, at.len));
    }
    /* A transport may write there as soon as this returns. */
    TRY(kernel_sync(e->q));
fail:
    return st;
}

/* Streams are opened and closed between groups: the memory of a fresh one is
 * zeroed in place. */
status
engine_open(engine *e, uint32_t id, bool state_here, int32_t priority)
{
    size_t n_layer = e->part->n_layer;
    status st = ST_OK;

    engine_ahead_drop(e, id);
    TRY(zero_states(e, id));
    wavefront_open(e->w, id, priority);
    e->head.n_seen[id] = 0;
    memset(e->arrived + id * n_layer, 0, n_layer * sizeof *e->arrived);
    if (e->remote_state && state_here) {
        for (uint32_t layer = 0; layer < n_waiting(e); layer++)
            engine_state_arrived(e, id, layer);
    }
fail:
    return st;
}

void
engine_close(engine *e, uint32_t id)
{
    engine_ahead_drop(e, id);
    wavefront_close(e->w, id);
}

uint32_t
engine_room(const engine *e, uint32_t id)
{
    return wavefront_room(e->w, id);
}

uint32_t
engine_rows(const engine *e, const engine_segment *segment)
{
    const memory_span span = engine_span(segment);
    return memory_rows(e->cfg, &span);
}

/* The last segment fed, if it was frozen. */
static const engine_segment *
frozen_before(const engine *e, uint32_t id)
{
    uint64_t n_fed = wavefront_fed(e->w, id);
    if (n_fed == 0)
        return NULL;
    const engine_segment *s = &e->fed[engine_slot(e, id, n_fed - 1)].segment;
    return s->frozen ? s : NULL;
}

static status
check_segment(const engine *e, uint32_t id, const engine_segment *s)
{
    if (wavefront_room(e->w, id) == 0)
        return status_fail(ST_STATE, "the stream has no room for a segment");
    if (s->n_token == 0 || s->n_token > e->cfg->segment_size)
        return status_fail(ST_ARG, "a segment has %u tokens, not 1 to %u",
                           s->n_token, e->cfg->segment_size);
    if (!engine_seen_here(e, id, s))
        return status_fail(ST_STATE, "ids that a penalty counts are missing");
    const engine_segment *run = frozen_before(e, id);
    if (!s->frozen && run != NULL &&
        (e->cfg->generation != CONFIG_ROLLOVER || run->seg != s->seg ||
         run->pos + run->n_token != s->n_token))
        return status_fail(ST_ARG, "nothing is written after a prompt but what "
                                   "was a full segment of the answer");
    return ST_OK;
}

status
engine_check_room(const engine *e, const engine_segment *s)
{
    const memory_span span = engine_span(s);
    uint64_t n_before = s->past.n_token + s->pos;
    if (s->frozen &&
        (s->pos > e->config.kv_cap || s->n_token > e->config.kv_cap - s->pos))
        return status_fail(ST_LIMIT,
                           "prompt and answer have more than %u tokens",
                           e->config.kv_cap);
    if (e->memory->grows && (n_before > e->config.max_token ||
                             s->n_token > e->config.max_token - n_before))
        return status_fail(ST_LIMIT,
                           "input and answer have more than %llu tokens",
                           (unsigned long long)e->config.max_token);
    return memory_check(e->cfg, &span);
}

static status
check_ids(const engine *e, const int32_t *ids, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (ids[i] < 0 || (uint32_t)ids[i] >= e->cfg->n_vocab)
            return status_fail(ST_ARG,
                               "token id %d is outside the vocabulary of %u",
                               ids[i], e->cfg->n_vocab);
    }
    return ST_OK;
}

/* The staging copy stays untouched until the slot is used again, which is
 * after a group that ran behind this copy. */
static status
put_ids(engine *e, uint32_t slot, const int32_t *ids, uint32_t n)
{
    int32_t *host = e->buf.host_ids + (size_t)slot * e->buf.shape.max_token;
    memcpy(host, ids, n * sizeof *host);
    return kernel_copy_in(e->q, e->buf.ids.buf,
                          engine_buffers_offset(&e->buf.ids, slot), host,
                          n * sizeof *host);
}

status
engine_feed(engine *e, uint32_t id, const engine_segment *segment,
            const int32_t *ids)
{
    status st = ST_OK;

    TRY(check_segment(e, id, segment));
    TRY(engine_check_room(e, segment));
    uint32_t slot = engine_slot(e, id, wavefront_fed(e->w, id));
    if (e->part->embed) {
        TRY(check_ids(e, ids, segment->n_token));
        if (!engine_ahead_feed(e, id, segment, ids))
            TRY(put_ids(e, slot, ids, segment->n_token));
    }
    /* A frozen run changes no state: its later steps, and the segment that it
     * becomes, find the states where the first one read them. */
    const engine_segment *run = frozen_before(e, id);
    e->fed[slot].state_stays = run != NULL && run->seg == segment->seg;
    e->fed[slot].segment = *segment;
    wavefront_feed(e->w, id);
    for (uint32_t layer = 0; e->remote_state && layer < n_waiting(e); layer++)
        states_settle(e, id, layer);
fail:
    return st;
}

void
engine_x_place(const engine *e, uint32_t id, uint64_t local_seg, uint32_t n_row,
               engine_place *out)
{
    const kernel_view *view = &e->buf.model.x;
    uint32_t slot = engine_slot(e, id, local_seg);
    ASSERT(n_row <= e->buf.shape.max_row);
    *out = (engine_place){.buf = view->buf,
                          .offset = engine_buffers_offset(view, slot),
                          .len = engine_buffers_x_bytes(&e->buf, n_row)};
}

void
engine_release(engine *e, uint32_t id, uint64_t local_seg)
{
    wavefront_release(e->w, id, local_seg);
}

/* ------------------------------------------------------------- groups --- */

/* Whether single rows pass all layers in one launch: all are here, and nobody
 * looks at what is between. */
bool
engine_may_climb(const engine *e)
{
    return e->part->embed && e->part->head && e->sink.rows == NULL;
}

/* The rows of answers among the cells of the group, up to the last layer, or to
 * one whose state is still on its way from another rank.  The queue keeps the
 * order, so a cell counts as done once it is enqueued, and rows that are at one
 * layer stay together. */
static status
climb(engine *e)
{
    engine_group *g = &e->group;
    uint32_t n = 0, n_first = g->n_cell;
    status st = ST_OK;

    memset(g->climbs, 0, e->config.n_stream * sizeof *g->climbs);
    for (uint32_t i = 0; i < n_first; i++) {
        const engine_done *d = &g->done[i];
        g->climbs[d->stream] = d->segment.frozen && d->segment.n_token == 1 &&
                               d->layer + 1 < e->part->n_layer;
    }
    wavefront_done(e->w);
    for (uint32_t layer = 1; layer < e->part->n_layer; layer++) {
        n = wavefront_pick_only(e->w, g->climbs, g->picked);
        if (n == 0)
            break;
        TRY(engine_group_run(e, n));
        wavefront_done(e->w);
    }
fail:
    return st;
}

status
engine_launch(engine *e, uint32_t *n_cell)
{
    status st = ST_OK;
    ASSERT(!e->group.running);
    uint32_t n = wavefront_pick(e->w, e->group.picked);
    if (n > 0) {
        e->group.running = true;
        e->group.n_cell = 0;
        e->group.enqueued = engine_ahead_take(e, n);
        TRY(engine_group_run(e, n));
        if (engine_may_climb(e))
            TRY(climb(e));
        TRY(engine_head_launch(e));
        if (!e->group.enqueued)
            TRY(kernel_event_record(e->event, e->q));
        TRY(engine_ahead_enqueue(e));
    }
    *n_cell = n > 0 ? e->group.n_cell : 0;
fail:
    return st;
}

status
engine_poll(engine *e, bool *reached)
{
    return kernel_event_query(e->event, reached);
}

/* A rank that ends the model needs the rows no more. */
static void
release_done(engine *e)
{
    for (uint32_t i = 0; i < e->group.n_cell; i++) {
        const engine_done *d = &e->group.done[i];
        if (e->part->head && d->layer + 1 == e->part->n_layer)
            wavefront_release(e->w, d->stream, d->local_seg);
    }
}

status
engine_collect(engine *e, const engine_done **cells, uint32_t *n_cell)
{
    status st = ST_OK;

    ASSERT(e->group.running);
    TRY(kernel_event_wait(e->event));
    TRY(engine_head_collect(e));
    wavefront_done(e->w);
    release_done(e);
    e->group.running = false;
    *cells = e->group.done;
    *n_cell = e->group.n_cell;
fail:
    return st;
}

/* ------------------------------------------------------------- copies --- */

status
engine_read(engine *e, const engine_place *from, void *to)
{
    status st = ST_OK;
    TRY(kernel_copy_out(e->q, to, from->buf, from->offset, from->len));
    TRY(kernel_sync(e->q));
fail:
    return st;
}

status
engine_write(engine *e, const engine_place *to, const void *from)
{
    status st = ST_OK;
    TRY(kernel_copy_in(e->q, to->buf, to->offset, from, to->len));
    TRY(kernel_sync(e->q));
fail:
    return st;
}

void
engine_counts_get(const engine *e, engine_counts *out)
{
    *out = e->counts;
}
