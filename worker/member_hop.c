/* SPDX-License-Identifier: Apache-2.0 */
/* Hops of one rank: places for what comes, and what goes on.
 *
 * With `layers` the ranks are a chain: hidden states hop down it, states stay.
 * With `segments` they are a ring: the state of layer l hops as soon as a
 * segment is through it, to the rank of the next segment, where the place is
 * free by then: that rank's own last state of the layer went round the whole
 * ring to become this one.  So a hop never waits for ever behind another
 * stream's, and no number of segments, layers and ranks can deadlock. */
#include "worker/member_impl.h"

#include <string.h>

#include "base/fault.h"
#include "worker/finite.h"

/* ----------------------------------------------------------------- out --- */

/* The lead knows what room the first rank of its own replica has. */
static void
give_slot(member *m, const hop_header *head, uint64_t local_seg)
{
    report r = {.kind = REPORT_TAKEN,
                .stream = head->stream,
                .seg = head->segment.seg,
                .rank = m->place.rank};
    engine_release(m->e, head->stream, local_seg);
    if (m->place.rank == 0 && m->failed == ST_OK)
        m->failed = m->report(m->ctx, &r, NULL);
}

void
member_hop_sent(void *ctx, const hop_header *head, uint64_t local_seg)
{
    member *m = ctx;
    member_stream *s = &m->stream[head->stream];
    s->n_hop--;
    if (head->kind == HOP_STATE)
        m->leaving[head->stream * m->n_layer + head->layer] = false;
    else if (head->kind == HOP_X && !s->closing)
        give_slot(m, head, local_seg);
}

void
member_hop_send_x(member *m, const engine_done *d)
{
    hop_header head = {
        .kind = HOP_X, .stream = d->stream, .segment = d->segment};
    engine_place from = {0};
    engine_x_place(m->e, d->stream, d->local_seg,
                   engine_rows(m->e, &d->segment), &from);
    head.len = from.len;
    head.capture = m->stream[d->stream].capture == d->segment.seg + 1;
    m->stream[d->stream].n_hop++;
    m->n_byte += head.len;
    hop_send(m->hop, &head, &from, d->local_seg);
}

void
member_hop_send_state(member *m, const engine_done *d, uint32_t layer)
{
    const memory_past past = engine_past_after(&d->segment);
    hop_header head = {.kind = HOP_STATE,
                       .stream = d->stream,
                       .layer = layer,
                       .segment = d->segment};
    engine_place from = {0};
    engine_state_place(m->e, d->stream, layer, &past, &from);
    head.len = from.len;
    m->stream[d->stream].n_hop++;
    m->leaving[d->stream * m->n_layer + layer] = true;
    m->n_byte += head.len;
    hop_send(m->hop, &head, &from, d->local_seg);
}

void
member_hop_send_fin(member *m, uint32_t id)
{
    hop_header fin = {.kind = HOP_FIN, .stream = id};
    m->stream[id].n_hop++;
    hop_send(m->hop, &fin, NULL, 0);
}

/* ------------------------------------------------------------------ in --- */

static status
state_place(const member *m, const hop_header *head, engine_place *to,
            hop_verdict *verdict)
{
    const memory_past past = engine_past_after(&head->segment);

    if (head->layer >= m->n_layer)
        return status_fail(ST_WIRE, "a hop of layer %u", head->layer);
    if (m->leaving[head->stream * m->n_layer + head->layer])
        return ST_OK;
    engine_state_place(m->e, head->stream, head->layer, &past, to);
    if (to->len != head->len || to->len > engine_state_room(m->e))
        return status_fail(ST_WIRE, "a state of %llu bytes",
                           (unsigned long long)head->len);
    *verdict = HOP_TAKE;
    return ST_OK;
}

status
member_hop_place(void *ctx, const hop_header *head, engine_place *to,
                 hop_verdict *verdict)
{
    member *m = ctx;
    member_stream *s = &m->stream[head->stream];

    *verdict = HOP_LATER;
    if (!s->open || (s->n_state > 0 && !s->closing))
        return ST_OK; /* it is ahead of the lead's commands */
    if (s->closing) {
        *verdict = HOP_DROP;
    } else if (head->kind == HOP_FIN) {
        *verdict = HOP_TAKE;
    } else if (head->kind == HOP_X) {
        /* Commands do not wait for hops: what it counts will come. */
        if (engine_room(m->e, head->stream) <= s->n_coming ||
            !engine_seen_here(m->e, head->stream, &head->segment))
            return ST_OK;
        engine_x_place(m->e, head->stream, s->n_fed + s->n_coming,
                       engine_rows(m->e, &head->segment), to);
        s->n_coming++;
        *verdict = HOP_TAKE;
    } else {
        return state_place(m, head, to, verdict);
    }
    return ST_OK;
}

/* Whether all numbers that hopped are finite; the parts of a state have types
 * of their own. */
static bool
is_finite(const member *m, const hop_header *head, const uint8_t *data)
{
    const model_config *cfg = model_config_of(engine_model(m->e));
    const memory_past past = engine_past_after(&head->segment);
    kernel_type compute = engine_compute(m->e);
    memory_tensor t[MEMORY_MAX_TENSOR];
    uint32_t n;

    if (head->kind != HOP_STATE)
        return finite_all(data, (size_t)head->len, compute);
    n = memory_of(cfg)->tensors(cfg, compute, m->layer_first + head->layer,
                                &past, t);
    for (uint32_t i = 0; i < n; i++)
        if (!finite_all(data + t[i].offset, memory_tensor_bytes(&t[i]),
                        t[i].type))
            return false;
    return true;
}

/* One broken number spoils all that is computed from it: the lead is told of
 * the first, and ends the stream. */
static status
check_hop(member *m, const hop_header *head)
{
    member_stream *s = &m->stream[head->stream];
    report r = {.kind = REPORT_SPOILED,
                .stream = head->stream,
                .seg = head->segment.seg,
                .rank = m->place.rank};
    uint8_t *data = hop_data(m->hop);

    if (data == NULL || s->closing || s->spoiled)
        return ST_OK;
    if (FAULT_SPOILS(HOP_DATA))
        memset(data, 0xff, sizeof(float));
    if (is_finite(m, head, data))
        return ST_OK;
    s->spoiled = true;
    return m->report(m->ctx, &r, NULL);
}

static status
use_hop(member *m, const hop_header *head)
{
    status st = ST_OK;
    member_stream *s = &m->stream[head->stream];

    TRY(check_hop(m, head));
    if (head->kind == HOP_FIN) {
        s->fin = true;
    } else if (s->closing) {
        ; /* thrown away */
    } else if (head->kind == HOP_X) {
        TRY(engine_feed(m->e, head->stream, &head->segment, NULL));
        if (head->capture)
            s->capture = head->segment.seg + 1;
        s->n_fed++;
        s->n_coming--;
    } else {
        engine_state_arrived(m->e, head->stream, head->layer);
    }
    TRY(hop_next(m->hop));
fail:
    return st;
}

status
member_hop_receive(member *m, bool *busy)
{
    status st = ST_OK;
    const hop_header *head = NULL;
    do {
        TRY(hop_poll(m->hop, &head, busy));
        if (head != NULL)
            TRY(use_hop(m, head));
    } while (head != NULL);
fail:
    return st;
}
