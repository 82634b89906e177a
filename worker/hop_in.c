/* SPDX-License-Identifier: Apache-2.0 */
/* Hidden states and memory states on their way from the predecessor. */
#include <stdio.h>

#include "base/clock.h"
#include "base/mem.h"
#include "worker/hop_impl.h"

/* -------------------------------------------------------------- set-up --- */

static status
await_head(hop *h, hop_arrival *a)
{
    a->step = HOP_STEP_HEAD;
    a->stage = -1;
    a->to = (engine_place){0};
    return comm_irecv(h->c, &a->head_req, (uint32_t)h->cfg.from, TAG_HOP,
                      &a->head, sizeof a->head);
}

status
hop_in_init(hop *h)
{
    status st = ST_OK;
    if (h->cfg.from < 0)
        return ST_OK;
    TRY(hop_stages_init(&h->in, h->cfg.queue,
                        h->cfg.queue != NULL ? h->cfg.n_stage : 1,
                        h->cfg.max_payload));
    TRY(mem_new(&h->held, h->cfg.n_stream, sizeof *h->held));
    TRY(mem_new(&h->arrival, h->cfg.n_queue, sizeof *h->arrival));
    for (uint32_t i = 0; i < h->cfg.n_queue; i++)
        TRY(await_head(h, &h->arrival[i]));
fail:
    return st;
}

void
hop_in_fini(hop *h)
{
    for (uint32_t i = 0; h->arrival != NULL && i < h->cfg.n_queue; i++) {
        comm_cancel(h->c, &h->arrival[i].data_req);
        comm_cancel(h->c, &h->arrival[i].head_req);
    }
    mem_free(h->arrival);
    mem_free(h->held);
    hop_stages_fini(&h->in);
}

/* ---------------------------------------------------------------- time --- */

/* Counts what has passed since the last call, with as many payloads under way
 * as now; `hidden`: behind a group. */
static void
count(hop *h, bool hidden)
{
    uint64_t now = clock_ns();
    uint64_t passed = h->n_flight > 0 ? now - h->mark : 0;
    h->times.total += passed;
    h->times.hidden += hidden ? passed : 0;
    h->mark = now;
}

void
hop_group(hop *h, bool runs)
{
    count(h, h->grouped);
    h->grouped = runs;
}

void
hop_times_get(const hop *h, hop_times *out)
{
    *out = h->times;
}

/* ------------------------------------------------------------ receiving --- */

static hop_arrival *
arrival_at(const hop *h, uint32_t i)
{
    return &h->arrival[(h->first_in + i) % h->cfg.n_queue];
}

/* Whether an earlier hop of the same stream was left waiting in this pass. */
static bool
is_held(const hop *h, const hop_arrival *a)
{
    return h->held[a->head.stream] == h->pass;
}

static void
hold(hop *h, const hop_arrival *a)
{
    h->held[a->head.stream] = h->pass;
}

/* Posts the receive of a payload, where it has a place. */
static status
receive(hop *h, hop_arrival *a)
{
    status st = ST_OK;
    hop_verdict verdict = HOP_LATER;
    engine_place to = {0};
    size_t len = (size_t)a->head.len;
    bool staged = h->cfg.queue != NULL;
    int stage = -1;

    if (len > 0)
        TRY(hop_stages_find(&h->in, &stage));
    /* A place that was given is used. */
    if (len > 0 && staged && stage < 0)
        return ST_OK;
    TRY(h->cfg.place(h->cfg.ctx, &a->head, &to, &verdict));
    if (verdict == HOP_LATER)
        return ST_OK;
    if (len == 0) {
        a->step = HOP_STEP_ARRIVED;
        return ST_OK;
    }
    if (len > h->cfg.max_payload || (verdict == HOP_TAKE && to.len != len))
        return status_fail(ST_WIRE, "a hop of %zu bytes has no such place",
                           len);
    void *data = NULL;
    if (!staged && verdict == HOP_TAKE) {
        data = hop_address(h, &to);
    } else if (stage >= 0) {
        hop_stages_take(&h->in, stage);
        a->stage = stage;
        data = hop_stages_data(&h->in, stage);
    } else {
        return ST_OK; /* dropped, later */
    }
    a->to = to;
    /* Between processes of one host this very call copies the payload. */
    count(h, false);
    h->n_flight++;
    TRY(comm_irecv(h->c, &a->data_req, (uint32_t)h->cfg.from,
                   TAG_HOP_DATA + (int)a->head.stream, data, len));
    a->step = HOP_STEP_DATA;
fail:
    return st;
}

/* Moves one hop on as far as it goes now. */
static status
advance(hop *h, hop_arrival *a, bool *busy)
{
    status st = ST_OK;
    bool done = false;

    if (a->step == HOP_STEP_HEAD) {
        TRY(comm_test(h->c, &a->head_req, &done));
        if (!done)
            return ST_OK;
        if (a->head.stream >= h->cfg.n_stream)
            return status_fail(ST_WIRE, "a hop of stream %u", a->head.stream);
        a->step = HOP_STEP_WAITING;
        *busy = true;
    }
    if (a->step == HOP_STEP_WAITING && !is_held(h, a))
        TRY(receive(h, a));
    if (a->step == HOP_STEP_DATA) {
        TRY(comm_test(h->c, &a->data_req, &done));
        if (done) {
            a->step = HOP_STEP_ARRIVED;
            count(h, false);
            h->n_flight--;
            *busy = true;
        }
    }
    if (a->step == HOP_STEP_WAITING)
        hold(h, a);
fail:
    return st;
}

/* Headers come in order, so behind one that has not come there is nothing. */
static status
advance_all(hop *h, bool *busy)
{
    status st = ST_OK;
    h->pass++;
    for (uint32_t i = 0; i < h->cfg.n_queue; i++) {
        hop_arrival *a = arrival_at(h, i);
        TRY(advance(h, a, busy));
        if (a->step == HOP_STEP_HEAD)
            break;
    }
fail:
    return st;
}

/* -------------------------------------------------------------- using --- */

static hop_arrival *
find_arrived(hop *h)
{
    h->pass++;
    for (uint32_t i = 0; i < h->cfg.n_queue; i++) {
        hop_arrival *a = arrival_at(h, i);
        if (a->step == HOP_STEP_HEAD)
            break;
        if (a->step == HOP_STEP_USED)
            continue;
        if (a->step == HOP_STEP_ARRIVED && !is_held(h, a))
            return a;
        hold(h, a);
    }
    return NULL;
}

status
hop_poll(hop *h, const hop_header **head, bool *busy)
{
    status st = ST_OK;

    *head = NULL;
    TRY(hop_failed(h));
    if (h->cfg.from < 0)
        return ST_OK;
    count(h, false);
    TRY(advance_all(h, busy));
    hop_arrival *a = find_arrived(h);
    if (a == NULL)
        return ST_OK;
    h->current = a;
    *head = &a->head;
fail:
    return st;
}

void *
hop_data(const hop *h)
{
    const hop_arrival *a = h->current;
    if (a->to.buf == NULL)
        return NULL;
    if (a->stage >= 0)
        return hop_stages_data(&h->in, a->stage);
    return h->cfg.direct ? NULL : hop_address(h, &a->to);
}

status
hop_next(hop *h)
{
    status st = ST_OK;
    hop_arrival *a = h->current;

    ASSERT(a != NULL && a->step == HOP_STEP_ARRIVED);
    if (a->stage >= 0 && a->to.buf != NULL)
        TRY(hop_stages_drain(&h->in, a->stage, &a->to));
    else if (a->stage >= 0)
        hop_stages_give(&h->in, a->stage);
    a->step = HOP_STEP_USED;
    h->current = NULL;
    for (a = arrival_at(h, 0); a->step == HOP_STEP_USED; a = arrival_at(h, 0)) {
        h->first_in = (h->first_in + 1) % h->cfg.n_queue;
        TRY(await_head(h, a));
    }
fail:
    return st;
}

void
hop_touch(hop *h)
{
    bool busy = false;

    if (h->failed != ST_OK)
        return;
    count(h, h->grouped);
    if (h->n_flight > 0 || h->n_started > 0)
        comm_turn(h->c);
    h->failed = hop_start(h, &busy);
    if (h->failed == ST_OK && h->cfg.from >= 0)
        h->failed = advance_all(h, &busy);
    if (h->failed != ST_OK)
        (void)snprintf(h->failure, sizeof h->failure, "%s", status_text());
    count(h, false); /* the core's own time */
}
