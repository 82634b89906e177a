/* SPDX-License-Identifier: Apache-2.0 */
/* Sharing a stream's segments out to the ranks. */
#include "worker/lead.h"

#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "worker/idle.h"
#include "worker/lead_impl.h"

/* -------------------------------------------------------------- set-up --- */

size_t
lead_report_bytes(const engine *e)
{
    const model_config *cfg = model_config_of(engine_model(e));
    size_t row = (size_t)cfg->n_vocab * sizeof(float);
    size_t logits = member_logit_rows(e) * row;
    size_t state = engine_state_room(e);
    return state > logits ? state : logits;
}

static status
open_channels(lead *w)
{
    status st = ST_OK;
    uint32_t size = comm_size(w->c);
    report_in_config rc = {.n_rank = size,
                           .max_data = lead_report_bytes(w->e),
                           .turn = lead_gather_turn,
                           .take = lead_gather_take,
                           .ctx = w};
    uint32_t n_segment = w->n_each * w->n_slot;
    order_out_config oc = {.n_rank = size,
                           .n_queue = 2 * n_segment +
                                      w->n_each * (w->place.n_layer + 3) + 2,
                           .n_segment = n_segment,
                           .max_token = w->model->segment_size};
    if (size == 1)
        return ST_OK;
    TRY(report_in_new(&w->in, w->c, &rc));
    TRY(order_out_new(&w->order, w->c, &oc));
fail:
    return st;
}

status
lead_new(lead **out, comm *c, engine *e)
{
    lead *w = NULL;
    status st = ST_OK;
    const engine_config *cfg = engine_config_of(e);

    TRY(mem_new(&w, 1, sizeof *w));
    w->c = c;
    w->e = e;
    w->place = cfg->place;
    w->n_active = place_active(&cfg->place);
    w->n_each = cfg->n_stream;
    w->n_stream = place_replicas(&cfg->place) * w->n_each;
    w->n_slot = cfg->n_slot;
    w->model = model_config_of(engine_model(e));
    w->compute = engine_compute(e);
    TRY(mem_new(&w->stream, w->n_stream, sizeof *w->stream));
    TRY(mem_new(&w->n_ahead, (size_t)w->n_stream * w->n_active,
                sizeof *w->n_ahead));
    TRY(mem_new(&w->hop, (size_t)place_replicas(&w->place) * w->n_active,
                sizeof *w->hop));
    TRY(mem_new(&w->replica, place_replicas(&w->place), sizeof *w->replica));
    w->look_ns = clock_ns();
    for (uint32_t i = 0; i < place_replicas(&w->place); i++)
        w->replica[i].work.since_ns = w->look_ns;
    for (uint32_t id = 0; id < w->n_stream; id++)
        w->stream[id].n_ahead = w->n_ahead + (size_t)id * w->n_active;
    for (uint32_t id = 0; id < w->n_stream; id++)
        TRY(seen_init(&w->stream[id].seen, w->model->n_vocab, w->n_active));
    TRY(open_channels(w));
    TRY(member_new(&w->member, c, e, lead_gather_own, w));
    *out = w;
    return ST_OK;
fail:
    lead_free(w);
    return st;
}

void
lead_free(lead *w)
{
    if (w == NULL)
        return;
    member_free(w->member);
    order_out_free(w->order);
    report_in_free(w->in);
    for (uint32_t id = 0; w->stream != NULL && id < w->n_stream; id++) {
        mem_free(w->stream[id].restore);
        mem_free(w->stream[id].snapshot);
        seen_fini(&w->stream[id].seen);
    }
    mem_free(w->replica);
    mem_free(w->hop);
    mem_free(w->n_ahead);
    mem_free(w->stream);
    mem_free(w);
}

void
lead_on_event(lead *w, world_event_fn *fn, void *ctx)
{
    w->fn = fn;
    w->ctx = ctx;
}

/* ------------------------------------------------------------- streams --- */

/* To a rank of the stream's replica. */
static status
send(lead *w, uint32_t rank, const command *cmd, const void *data)
{
    uint32_t to = cmd->stream / w->n_each * w->place.size + rank;
    command own = *cmd;
    own.stream %= w->n_each;
    if (to == 0)
        return member_command(w->member, &own, data);
    return order_send(w->order, to, &own, data);
}

/* The layers whose states `rank` keeps at segment `seg`. */
static void
states_of(const lead *w, uint32_t rank, uint64_t seg, uint32_t *first,
          uint32_t *n)
{
    place_layers(&w->place, rank, first, n);
    if (w->place.kind == PLACE_SEGMENTS &&
        place_owner(&w->place, seg, 0) != rank)
        *n = 0;
}

static status
open_on(lead *w, uint32_t id, uint32_t rank, const world_stream *in)
{
    status st = ST_OK;
    const lead_stream *s = &w->stream[id];
    uint32_t first = 0;
    uint32_t n = 0;
    if (s->restore != NULL)
        states_of(w, rank, s->first_seg, &first, &n);
    command open = {.kind = COMMAND_OPEN,
                    .stream = id,
                    .first_seg = s->first_seg,
                    .end_seg = s->end_seg,
                    .prompt = s->prompt,
                    .n_state = n,
                    .priority = in->priority};
    TRY(send(w, rank, &open, NULL));
    for (uint32_t layer = first; layer < first + n; layer++) {
        command put = {.kind = COMMAND_STATE,
                       .stream = id,
                       .len = lead_state_bytes(w, layer, &s->past),
                       .past = s->past,
                       .layer = layer};
        TRY(send(w, rank, &put,
                 s->restore + lead_state_offset(w, layer, &s->past)));
    }
fail:
    return st;
}

size_t
lead_state_bytes(const lead *w, uint32_t layer, const memory_past *past)
{
    return memory_state_bytes(w->model, w->compute, layer, past);
}

size_t
lead_state_offset(const lead *w, uint32_t layer, const memory_past *past)
{
    size_t n = 0;
    for (uint32_t i = 0; i < layer; i++)
        n += lead_state_bytes(w, i, past);
    return n;
}

static status
check_stream(const lead *w, const world_stream *s)
{
    uint64_t room = engine_config_of(w->e)->max_token;
    if (memory_of(w->model)->grows &&
        (s->past.n_token > room || s->n_token > room - s->past.n_token))
        return status_fail(ST_LIMIT,
                           "the keys of %llu tokens are to be kept, there is "
                           "room for %llu",
                           (unsigned long long)s->past.n_token + s->n_token,
                           (unsigned long long)room);
    if ((s->first_seg > 0) != (s->states != NULL) ||
        (s->first_seg > 0) != (s->past.n_token > 0))
        return status_fail(ST_ARG, "a stream that starts at segment %llu %s",
                           (unsigned long long)s->first_seg,
                           s->states != NULL ? "has no states before it"
                                             : "needs the states before it");
    if (s->first_seg + s->n_write < s->first_seg ||
        (s->n_write == 0 && !s->prompt))
        return status_fail(ST_ARG, "a stream without segments");
    return ST_OK;
}

/* A free stream of the replica that has most of them. */
static status
find_free(const lead *w, uint32_t *out)
{
    uint32_t most = 0;
    for (uint32_t first = 0; first < w->n_stream; first += w->n_each) {
        uint32_t n = 0, free_id = 0;
        for (uint32_t id = first + w->n_each; id-- > first;) {
            if (w->stream[id].open)
                continue;
            free_id = id;
            n++;
        }
        if (n > most) {
            most = n;
            *out = free_id;
        }
    }
    if (most > 0)
        return ST_OK;
    return status_fail(ST_STATE, "all %u streams are in use", w->n_stream);
}

status
lead_open(lead *w, uint32_t *id, const world_stream *in)
{
    status st = ST_OK;
    uint32_t free_id = 0;
    uint8_t *copy = NULL;

    if (w->in_turn)
        return status_fail(ST_STATE, "the world is in the middle of a turn");
    TRY(check_stream(w, in));
    TRY(find_free(w, &free_id));
    if (in->states != NULL) {
        size_t len = memory_states_bytes(w->model, w->compute, &in->past);
        TRY(mem_new(&copy, len, 1));
        memcpy(copy, in->states, len);
    }
    lead_stream *s = &w->stream[free_id];
    *s = (lead_stream){.open = true,
                       .first_seg = in->first_seg,
                       .end_seg = in->first_seg + in->n_write,
                       .next_seg = in->first_seg,
                       .done_seg = in->first_seg,
                       .past = in->past,
                       .prompt = in->prompt,
                       .restore = copy,
                       .n_ahead = s->n_ahead,
                       .seen = s->seen};
    seen_clear(&s->seen);
    memset(s->n_ahead, 0, w->n_active * sizeof *s->n_ahead);
    for (uint32_t rank = 0; rank < w->n_active && st == ST_OK; rank++)
        st = open_on(w, free_id, rank, in);
    w->broken = st; /* some ranks have it open, others not */
    TRY(st);
    *id = free_id;
fail:
    return st;
}

/* The rank that is given segment `seg`. */
static uint32_t
entry(const lead *w, uint64_t seg)
{
    return w->place.kind == PLACE_LAYERS ? 0 : place_owner(&w->place, seg, 0);
}

uint32_t
lead_room(const lead *w, uint32_t id)
{
    const lead_stream *s = &w->stream[id];
    if (!s->open || s->close_wanted || s->closing || s->snapshot != NULL)
        return 0;
    if (s->next_seg == s->end_seg && !s->prompt)
        return 0;
    if (w->place.kind == PLACE_LAYERS && id < w->n_each)
        return engine_room(w->e, id);
    return w->n_slot - s->n_ahead[entry(w, s->next_seg)];
}

/* Whether the frozen run is a full segment, and may be written. */
static bool
rolls_over(const lead *w, const lead_stream *s)
{
    return w->model->generation == CONFIG_ROLLOVER &&
           s->n_run == w->model->segment_size;
}

static status
check_segment(const lead *w, uint32_t id, const engine_segment *seg,
              const int32_t *ids)
{
    uint32_t size = w->model->segment_size;
    if (w->in_turn || id >= w->n_stream || lead_room(w, id) == 0)
        return status_fail(ST_STATE, "stream %u takes no segment now", id);
    const lead_stream *s = &w->stream[id];
    bool frozen = s->next_seg == s->end_seg;
    bool rolled = frozen && !seg->frozen && rolls_over(w, s);
    if (seg->seg != s->next_seg || (seg->frozen != 0) != (frozen && !rolled) ||
        seg->pos != (seg->frozen ? s->n_run : 0))
        return status_fail(ST_ARG, "segment %llu is out of order",
                           (unsigned long long)seg->seg);
    if (seg->n_token == 0 || seg->n_token > size ||
        (s->n_run > 0 && seg->n_token != (rolled ? size : 1)))
        return status_fail(ST_ARG, "a segment of %u tokens", seg->n_token);
    for (uint32_t i = 0; i < seg->n_token; i++) {
        if (ids[i] < 0 || (uint32_t)ids[i] >= w->model->n_vocab)
            return status_fail(ST_ARG, "token id %d is not below %u", ids[i],
                               w->model->n_vocab);
    }
    return ST_OK;
}

/* Prompt and answer come as frozen segments, in order: what their ids are is
 * what a penalty counts.  The rank that draws hears of new ones before it can
 * be given the segment. */
static status
count_seen(lead *w, uint32_t id, engine_segment *segment, const int32_t *ids)
{
    status st = ST_OK;
    seen *s = &w->stream[id].seen;
    uint32_t rank = w->place.kind == PLACE_LAYERS ? w->n_active - 1
                                                  : entry(w, segment->seg);
    command cmd = {.kind = COMMAND_SEEN, .stream = id};
    uint32_t n = 0;

    segment->sample.n_seen = 0;
    if (!segment->frozen || !seen_matters(segment->sample.penalty))
        return ST_OK;
    TRY(seen_add(s, ids, segment->n_token));
    ids = seen_take(s, rank, &n);
    cmd.len = n * sizeof *ids;
    if (n > 0)
        TRY(send(w, rank, &cmd, ids));
    segment->sample.n_seen = s->n;
fail:
    return st;
}

status
lead_feed(lead *w, uint32_t id, const engine_segment *segment,
          const int32_t *ids)
{
    status st = ST_OK;
    TRY(check_segment(w, id, segment, ids));
    lead_stream *s = &w->stream[id];
    uint32_t rank = entry(w, segment->seg);
    command cmd = {.kind = COMMAND_SEGMENT,
                   .stream = id,
                   .len = segment->n_token * sizeof *ids,
                   .capture = s->capture && !segment->frozen,
                   .segment = *segment};
    cmd.segment.past = s->past;
    TRY(count_seen(w, id, &cmd.segment, ids));
    TRY(send(w, rank, &cmd, ids));
    s->n_ahead[rank]++;
    s->n_fed++;
    s->capture = false;
    if (segment->frozen) {
        s->n_run += segment->n_token;
    } else {
        s->past = engine_past_after(&cmd.segment);
        s->n_run = 0;
        s->next_seg++;
        if (s->next_seg > s->end_seg)
            s->end_seg = s->next_seg; /* it rolled over */
    }
fail:
    return st;
}

void
lead_capture(lead *w, uint32_t id)
{
    if (id < w->n_stream)
        w->stream[id].capture = true;
}

status
lead_snapshot(lead *w, uint32_t id)
{
    status st = ST_OK;

    if (id >= w->n_stream || w->in_turn || !w->stream[id].open)
        return status_fail(ST_STATE, "stream %u is not open", id);
    lead_stream *s = &w->stream[id];
    if (s->close_wanted || s->closing || s->snapshot != NULL ||
        s->done_seg != s->next_seg || s->done_seg == 0)
        return status_fail(ST_STATE, "stream %u has no states to give now", id);
    TRY(mem_new(&s->snapshot,
                memory_states_bytes(w->model, w->compute, &s->past), 1));
    s->n_state_due = w->place.n_layer;
    s->snapshot_wanted = true;
fail:
    return st;
}

/* Asks the ranks that have the states after the last done segment. */
static status
send_snapshot(lead *w, uint32_t id)
{
    status st = ST_OK;
    const lead_stream *s = &w->stream[id];
    command cmd = {.kind = COMMAND_SNAPSHOT, .stream = id, .past = s->past};
    uint64_t seg = s->done_seg == s->first_seg ? s->first_seg : s->done_seg - 1;
    for (uint32_t rank = 0; rank < w->n_active; rank++) {
        uint32_t first = 0;
        uint32_t n = 0;
        states_of(w, rank, seg, &first, &n);
        if (n > 0)
            TRY(send(w, rank, &cmd, NULL));
    }
fail:
    return st;
}

void
lead_close(lead *w, uint32_t id)
{
    if (id < w->n_stream && w->stream[id].open)
        w->stream[id].close_wanted = true;
}

static status
send_close(lead *w, uint32_t id)
{
    status st = ST_OK;
    command cmd = {.kind = COMMAND_CLOSE, .stream = id};
    for (uint32_t rank = 0; rank < w->n_active; rank++)
        TRY(send(w, rank, &cmd, NULL));
fail:
    return st;
}

/* What was asked for since the last turn, so that its events come in this
 * one. */
static status
send_wanted(lead *w, bool *busy)
{
    status st = ST_OK;
    for (uint32_t id = 0; id < w->n_stream; id++) {
        lead_stream *s = &w->stream[id];
        if (s->close_wanted && !s->closing) {
            s->closing = true;
            *busy = true;
            TRY(send_close(w, id));
        } else if (s->snapshot_wanted && !s->closing) {
            s->snapshot_wanted = false;
            *busy = true;
            TRY(send_snapshot(w, id));
        }
    }
fail:
    return st;
}

uint32_t
lead_streams_open(const lead *w)
{
    uint32_t n = 0;
    for (uint32_t id = 0; id < w->n_stream; id++)
        n += w->stream[id].open;
    return n;
}

void
lead_hops(const lead *w, double *seconds, double *hidden)
{
    uint64_t total_ns = 0, hidden_ns = 0;
    uint32_t n = place_replicas(&w->place) * w->n_active;

    member_hop_ns(w->member, &total_ns, &hidden_ns);
    for (uint32_t i = 1; i < n; i++) {
        total_ns += w->hop[i].total_ns;
        hidden_ns += w->hop[i].hidden_ns;
    }
    *seconds = (double)total_ns * 1e-9;
    *hidden = (double)hidden_ns * 1e-9;
}

const member *
lead_member(const lead *w)
{
    return w->member;
}

/* ---------------------------------------------------------------- loop --- */

/* States that have reached their ranks need no copy here. */
static status
push_orders(lead *w)
{
    status st = ST_OK;
    uint32_t n_left = 0;
    if (w->order != NULL)
        TRY(order_push(w->order, &n_left));
    for (uint32_t id = 0; n_left == 0 && id < w->n_stream; id++) {
        mem_free(w->stream[id].restore);
        w->stream[id].restore = NULL;
    }
fail:
    return st;
}

status
lead_turn(lead *w, bool *busy)
{
    status st = ST_OK;
    bool any = false;
    uint64_t n_here = w->n_here;

    w->in_turn = true;
    TRY(w->broken);
    TRY(send_wanted(w, &any));
    if (w->in != NULL)
        TRY(report_in_poll(w->in, &any));
    TRY(member_turn(w->member, &any));
    TRY(push_orders(w));
    w->n_turn += any && w->n_here == n_here;
    *busy = any;
fail:
    w->in_turn = false;
    return st;
}

status
lead_stop(lead *w)
{
    status st = ST_OK;
    idle wait = {0};
    command cmd = {.kind = COMMAND_STOP};
    uint32_t n_left = 1;

    for (uint32_t id = 0; id < w->n_stream; id++)
        lead_close(w, id);
    while (lead_streams_open(w) > 0 || lead_watch_owed(w)) {
        bool busy = false;
        TRY(lead_turn(w, &busy));
        if (busy)
            idle_reset(&wait);
        else
            idle_wait(&wait, true);
    }
    if (w->order == NULL)
        return ST_OK;
    for (uint32_t rank = 1; rank < comm_size(w->c); rank++)
        TRY(order_send(w->order, rank, &cmd, NULL));
    while (n_left > 0) {
        TRY(order_push(w->order, &n_left));
        if (n_left > 0)
            idle_wait(&wait, true);
    }
fail:
    return st;
}
