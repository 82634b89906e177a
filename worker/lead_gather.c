/* SPDX-License-Identifier: Apache-2.0 */
/* What the ranks report becomes events of the streams.
 *
 * Reports about a segment are taken when all segments before it are done, so
 * that callers hear of a stream in order.  A report so waits only for things
 * that happened before it, on whatever rank, and these are on their way:
 * waiting cannot end in a circle, not even inside a group of the lead's own. */
#include <string.h>

#include "base/crc.h"
#include "base/mem.h"
#include "worker/idle.h"
#include "worker/lead_impl.h"

static void
tell(lead *w, const world_event *ev)
{
    if (w->fn != NULL)
        w->fn(w->ctx, ev);
}

bool
lead_gather_turn(void *ctx, const report *r)
{
    const lead *w = ctx;
    if (r->stream >= w->n_stream || r->kind == REPORT_CLOSED ||
        r->kind == REPORT_STATE || r->kind == REPORT_SHARD ||
        r->kind == REPORT_TAKEN || r->kind == REPORT_SPOILED ||
        r->kind == REPORT_STEP || r->kind == REPORT_HERE)
        return true;
    const lead_stream *s = &w->stream[r->stream];
    return s->closing || r->seg == s->done_seg;
}

static void
take_done(lead *w, const report *r)
{
    lead_stream *s = &w->stream[r->stream];
    world_event ev = {
        .kind = WORLD_EVENT_SEGMENT, .stream = r->stream, .seg = r->seg};
    s->n_done++;
    /* Slots are given back by REPORT_TAKEN where rows are handed on. */
    if (w->place.kind == PLACE_SEGMENTS || w->n_active == 1)
        s->n_ahead[r->rank]--;
    if (!r->frozen)
        s->done_seg++;
    tell(w, &ev);
}

static void
take_state(lead *w, const report *r, const void *data)
{
    lead_stream *s = &w->stream[r->stream];
    if (r->len > 0)
        memcpy(s->snapshot + lead_state_offset(w, r->layer, &s->past), data,
               (size_t)r->len);
    if (--s->n_state_due > 0)
        return;
    world_event ev = {
        .kind = WORLD_EVENT_SNAPSHOT,
        .stream = r->stream,
        .seg = s->done_seg,
        .u.snapshot = {s->snapshot,
                       memory_states_bytes(w->model, w->compute, &s->past)}};
    tell(w, &ev);
    mem_free(s->snapshot);
    s->snapshot = NULL;
}

/* What was damaged between the ranks goes no further. */
static status
take_shard(lead *w, const report *r, const void *data)
{
    world_event ev = {.kind = WORLD_EVENT_SHARD,
                      .stream = r->stream,
                      .seg = r->seg,
                      .u.shard = {data, (size_t)r->len, r->layer, r->crc}};
    if (crc_add(0, data, (size_t)r->len) != r->crc)
        return status_fail(ST_WIRE,
                           "the state of layer %u was damaged on its way from "
                           "rank %u",
                           r->layer, r->rank);
    tell(w, &ev);
    return ST_OK;
}

static void
take_closed(lead *w, const report *r)
{
    lead_stream *s = &w->stream[r->stream];
    world_event ev = {.kind = WORLD_EVENT_CLOSED, .stream = r->stream};
    if (++s->n_closed < w->n_active)
        return;
    mem_free(s->snapshot);
    mem_free(s->restore);
    *s = (lead_stream){.n_ahead = s->n_ahead, .seen = s->seen};
    tell(w, &ev);
}

status
lead_gather_take(void *ctx, const report *r, const void *data)
{
    lead *w = ctx;
    bool of_none = r->kind == REPORT_STEP || r->kind == REPORT_HERE;
    uint32_t n_rank = r->kind == REPORT_HERE ? w->place.size : w->n_active;
    if (r->stream >= w->n_stream || (!of_none && !w->stream[r->stream].open) ||
        r->rank >= n_rank || r->layer >= w->place.n_layer)
        return status_fail(ST_WIRE, "rank %u reports of stream %u", r->rank,
                           r->stream);
    if (r->kind == REPORT_HERE)
        return lead_watch_answered(w, r);
    w->replica[r->stream / w->n_each].n_step++;
    w->hop[r->stream / w->n_each * w->n_active + r->rank] =
        (lead_hop){r->hop_ns, r->hop_hidden_ns};
    if (of_none)
        return ST_OK;
    const lead_stream *s = &w->stream[r->stream];
    world_event ev = {.stream = r->stream, .seg = r->seg};
    if (r->kind == REPORT_CLOSED) {
        take_closed(w, r);
    } else if (s->closing) {
        ; /* nobody waits for it any more */
    } else if (r->kind == REPORT_DONE) {
        take_done(w, r);
    } else if (r->kind == REPORT_TAKEN) {
        w->stream[r->stream].n_ahead[r->rank]--;
    } else if (r->kind == REPORT_LOGITS) {
        ev.kind = WORLD_EVENT_LOGITS;
        ev.u.logits.row0 = r->row0;
        ev.u.logits.n_row = r->n_row;
        ev.u.logits.values = data;
        tell(w, &ev);
    } else if (r->kind == REPORT_TOKEN) {
        ev.kind = WORLD_EVENT_TOKEN;
        ev.u.token = r->token;
        tell(w, &ev);
    } else if (r->kind == REPORT_SPOILED) {
        ev.kind = WORLD_EVENT_SPOILED;
        tell(w, &ev);
    } else if (r->kind == REPORT_SHARD) {
        return take_shard(w, r, data);
    } else if (s->snapshot != NULL &&
               r->len == lead_state_bytes(w, r->layer, &s->past)) {
        take_state(w, r, data);
    }
    return ST_OK;
}

status
lead_gather_own(void *ctx, const report *r, const void *data)
{
    lead *w = ctx;
    status st = ST_OK;
    idle wait = {0};
    while (!lead_gather_turn(w, r)) {
        bool busy = false;
        TRY(report_in_poll(w->in, &busy));
        if (!busy)
            idle_wait(&wait, true);
    }
    TRY(lead_gather_take(w, r, data));
fail:
    return st;
}
