/* SPDX-License-Identifier: Apache-2.0 */
/* The step behind the running one, enqueued before anybody has fed it.
 *
 * Between two steps of an answer a device would wait for the host, which learns
 * the token, feeds it and enqueues a row.  Which row that will be is known
 * while the step still runs: the one of the token that it draws, which the
 * device has. So that one is enqueued right behind it.  Fed later, as it nearly
 * always is, it is only counted.  If something else comes, what the row has
 * left is a key and a value behind the end of the run, a token nobody takes,
 * and rows of a free slot: all of it is written again before it is read. */
#include "worker/engine_impl.h"

#include <string.h>

status
engine_ahead_init(engine_ahead *a, kernel_device *dev)
{
    kernel_info info;

    kernel_info_get(dev, &info);
    /* One that computes on the host's thread has nothing to wait for. */
    a->able = strcmp(info.device, "cpu") != 0;
    return kernel_event_new(&a->event, dev);
}

void
engine_ahead_fini(engine_ahead *a)
{
    kernel_event_free(a->event);
    *a = (engine_ahead){0};
}

/* A row of an answer whose token is the likeliest one, whatever came before. */
static bool
is_plain(const engine_segment *s)
{
    return s->frozen && s->n_token == 1 && s->want == ENGINE_TOKEN &&
           s->sample.temperature <= 0.0F &&
           (s->sample.penalty <= 0.0F || s->sample.penalty == 1.0F);
}

/* The step that the running group is; NULL: it is something else, too. */
static const engine_done *
step_of(const engine *e)
{
    const engine_group *g = &e->group;
    const engine_done *d;

    if (e->head.n_cell != 1 || g->n_cell != e->part->n_layer)
        return NULL;
    d = &g->done[e->head.done_of[0]];
    for (uint32_t i = 0; i < g->n_cell; i++)
        if (g->done[i].stream != d->stream ||
            g->done[i].local_seg != d->local_seg)
            return NULL;
    return is_plain(&d->segment) ? d : NULL;
}

/* All layers and the head, of the token that lies on the device. */
static status
enqueue(engine *e)
{
    engine_ahead *a = &e->ahead;
    engine_done d = {
        .stream = a->stream, .local_seg = a->local_seg, .segment = a->segment};
    const engine_buffers *b = &e->buf;
    const kernel_sample_op op = {.ids = b->next, .args = &a->sample};
    kernel_cell c = {0};
    status st = ST_OK;

    TRY(kernel_copy(e->q, b->ids.buf, engine_buffers_offset(&b->ids, a->slot),
                    b->next.buf, engine_buffers_offset(&b->next, a->drawn),
                    sizeof(int32_t)));
    for (d.layer = 0; d.layer < e->part->n_layer; d.layer++) {
        c = engine_cell_of(e, &d);
        if (d.layer == 0)
            TRY(model_embed(e->m, e->q, &b->model, b->ids, &c, 1));
        TRY(model_run(e->m, e->q, &b->model, &c, 1, true, MODEL_ALL));
    }
    c = engine_head_cell(&c, &d);
    TRY(model_head(e->m, e->q, &b->model, &c, 1, b->logits, &op));
    TRY(engine_head_fetch(e, a->slot)); /* while others are read */
    TRY(kernel_event_record(a->event, e->q));
fail:
    return st;
}

status
engine_ahead_enqueue(engine *e)
{
    engine_ahead *a = &e->ahead;
    const engine_done *d = step_of(e);
    status st = ST_OK;

    a->there = a->fed = false;
    if (d == NULL || !a->able || !engine_may_climb(e) || e->memory->grows ||
        wavefront_room(e->w, d->stream) == 0 ||
        wavefront_fed(e->w, d->stream) != d->local_seg + 1)
        return ST_OK;
    a->segment = d->segment;
    a->segment.pos++;
    a->sample = d->segment.sample;
    a->stream = d->stream;
    a->local_seg = d->local_seg + 1;
    a->drawn = engine_slot(e, d->stream, d->local_seg);
    a->slot = engine_slot(e, d->stream, a->local_seg);
    if (a->slot == a->drawn || engine_check_room(e, &a->segment) != ST_OK)
        return ST_OK;
    TRY(enqueue(e));
    a->there = true;
fail:
    return st;
}

bool
engine_ahead_feed(engine *e, uint32_t id, const engine_segment *s,
                  const int32_t *ids)
{
    engine_ahead *a = &e->ahead;
    const engine_segment *own = &a->segment;

    if (!a->there || a->stream != id)
        return false;
    a->there = false;
    a->fed = !e->group.running && is_plain(s) && s->seg == own->seg &&
             s->past.n_token == own->past.n_token &&
             s->past.n_last == own->past.n_last && s->pos == own->pos &&
             wavefront_fed(e->w, id) == a->local_seg &&
             ids[0] == e->buf.host_next[a->drawn];
    return a->fed;
}

bool
engine_ahead_take(engine *e, uint32_t n_picked)
{
    engine_ahead *a = &e->ahead;
    const wavefront_cell *p = &e->group.picked[0];
    kernel_event *event = e->event;

    if (!a->fed || !engine_may_climb(e) || n_picked != 1 ||
        p->stream != a->stream || p->layer != 0 || p->seg != a->local_seg)
        return false;
    e->event = a->event;
    a->event = event;
    e->counts.n_ahead++;
    return true;
}

void
engine_ahead_drop(engine *e, uint32_t id)
{
    if (e->ahead.stream == id)
        e->ahead.there = e->ahead.fed = false;
}
