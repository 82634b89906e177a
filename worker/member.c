/* SPDX-License-Identifier: Apache-2.0 */
/* One rank's part of a world: streams on its engine, hops to its neighbours.
 *
 * A stream that is closed ends in order: each rank sends FIN behind its last
 * hop, throws away what still comes until its predecessor's FIN, and reports
 * CLOSED when both are through. */
#include "worker/member.h"

#include "base/clock.h"
#include "base/crc.h"
#include "base/fault.h"
#include "base/mem.h"
#include "worker/member_impl.h"

enum { TOUCH_NS = 200 * 1000, TELL_NS = 50 * 1000 * 1000 };

enum { LOGITS_BYTES = 256 << 10 }; /* of a piece, about */

/* Stages of hops, each way. */
enum { STAGE_BYTES = 64 << 20, MIN_STAGE = 4, MAX_STAGE = 32 };

size_t
member_max_hop(const engine *e)
{
    const model_config *cfg = model_config_of(engine_model(e));
    engine_segment full = {.n_token = cfg->segment_size};
    engine_place x = {0};
    size_t state = engine_state_room(e);
    engine_x_place(e, 0, 0, engine_rows(e, &full), &x);
    return x.len > state ? x.len : state;
}

/* -------------------------------------------------------------- set-up --- */

uint32_t
member_logit_rows(const engine *e)
{
    size_t row = model_config_of(engine_model(e))->n_vocab * sizeof(float);
    return row < LOGITS_BYTES ? (uint32_t)(LOGITS_BYTES / row) : 1;
}

/* Pieces of work are often much shorter than what hops need. */
static void
on_hook(void *ctx)
{
    member *m = ctx;
    uint64_t now = clock_ns();
    if (m->hop == NULL || now - m->touched_ns < TOUCH_NS)
        return;
    m->touched_ns = now;
    hop_touch(m->hop);
}

/* A report of logits is a copy, and on the lead a write to a file: hops have a
 * turn between two pieces. */
static void
on_logits(void *ctx, uint32_t id, const engine_segment *seg, uint32_t row0,
          uint32_t n_row, const float *logits)
{
    member *m = ctx;
    size_t n_vocab = model_config_of(engine_model(m->e))->n_vocab;
    uint32_t n_each = member_logit_rows(m->e);
    report r = {.kind = REPORT_LOGITS,
                .stream = id,
                .seg = seg->seg,
                .frozen = seg->frozen,
                .rank = m->place.rank};

    for (uint32_t i = 0; i < n_row && m->failed == ST_OK; i += n_each) {
        r.row0 = row0 + i;
        r.n_row = n_row - i < n_each ? n_row - i : n_each;
        r.len = r.n_row * n_vocab * sizeof *logits;
        m->failed = m->report(m->ctx, &r, logits + i * n_vocab);
        on_hook(m);
    }
}

static void
on_token(void *ctx, uint32_t id, const engine_segment *seg,
         const engine_token *token)
{
    member *m = ctx;
    report r = {.kind = REPORT_TOKEN,
                .stream = id,
                .seg = seg->seg,
                .token = *token,
                .frozen = seg->frozen,
                .rank = m->place.rank};
    if (m->failed == ST_OK)
        m->failed = m->report(m->ctx, &r, NULL);
}

/* Enough for what a group leaves and what the one before it has left, where
 * payloads are not so long that this would take much of the host's memory. */
static uint32_t
n_stage(const hop_config *hc)
{
    size_t n = STAGE_BYTES / hc->max_payload;

    n = n > MIN_STAGE ? n : MIN_STAGE;
    n = n < MAX_STAGE ? n : MAX_STAGE;
    return n < hc->n_queue ? (uint32_t)n : hc->n_queue;
}

static status
open_hop(member *m, comm *c)
{
    const engine_config *cfg = engine_config_of(m->e);
    uint32_t n_active = place_active(&m->place);
    uint32_t rank = m->place.rank;
    uint32_t first = m->place.replica * m->place.size;
    bool ring = m->place.kind == PLACE_SEGMENTS;
    uint32_t n_each = ring ? m->n_layer : cfg->n_slot;
    engine_place state = {0};
    hop_config hc = {.from = -1,
                     .to = -1,
                     .sent = member_hop_sent,
                     .place = member_hop_place,
                     .ctx = m};

    if (n_active == 1)
        return ST_OK;
    if (ring || rank > 0)
        hc.from = (int)(first + (rank + n_active - 1) % n_active);
    if (ring || rank + 1 < n_active)
        hc.to = (int)(first + (rank + 1) % n_active);
    m->has_from = hc.from >= 0;
    m->has_to = hc.to >= 0;
    hc.n_stream = cfg->n_stream;
    /* A staged hop gives its place back before it has left. */
    hc.n_queue = cfg->n_stream * (n_each + 1) + 8;
    hc.max_payload = member_max_hop(m->e);
    engine_state_place(m->e, 0, 0, &(memory_past){0}, &state);
    if (kernel_buf_host(state.buf, state.offset) == NULL) {
        hc.direct = comm_takes_device(c) &&
                    kernel_buf_device(state.buf, state.offset) != NULL;
        hc.queue = hc.direct ? NULL : engine_queue(m->e);
    }
    hc.n_stage = n_stage(&hc);
    return hop_new(&m->hop, c, &hc);
}

status
member_new(member **out, comm *c, engine *e, member_report_fn *fn, void *ctx)
{
    member *m = NULL;
    status st = ST_OK;
    const engine_config *cfg = engine_config_of(e);

    TRY(mem_new(&m, 1, sizeof *m));
    m->e = e;
    m->place = cfg->place;
    m->n_stream = cfg->n_stream;
    m->report = fn;
    m->ctx = ctx;
    place_layers(&m->place, m->place.rank, &m->layer_first, &m->n_layer);
    TRY(mem_new(&m->stream, m->n_stream, sizeof *m->stream));
    TRY(mem_new(&m->leaving, (size_t)m->n_stream * m->n_layer,
                sizeof *m->leaving));
    TRY(mem_new(&m->state, engine_state_room(e), 1));
    TRY(open_hop(m, c));
    engine_sink sink = {.ctx = m, .logits = on_logits, .token = on_token};
    engine_sink_set(e, &sink);
    if (m->hop != NULL)
        kernel_queue_hook(engine_queue(e), on_hook, m);
    *out = m;
    return ST_OK;
fail:
    member_free(m);
    return st;
}

void
member_free(member *m)
{
    if (m == NULL)
        return;
    engine_sink_set(m->e, &(engine_sink){0});
    kernel_queue_hook(engine_queue(m->e), NULL, NULL);
    hop_free(m->hop);
    mem_free(m->state);
    mem_free(m->leaving);
    mem_free(m->stream);
    mem_free(m);
}

uint32_t
member_streams_open(const member *m)
{
    uint32_t n = 0;
    for (uint32_t id = 0; id < m->n_stream; id++)
        n += m->stream[id].open;
    return n;
}

uint64_t
member_moved(const member *m)
{
    return m->n_byte;
}

void
member_hop_ns(const member *m, uint64_t *total, uint64_t *hidden)
{
    hop_times times = {0};
    if (m->hop != NULL)
        hop_times_get(m->hop, &times);
    *total = times.total;
    *hidden = times.hidden;
}

void
member_work(const member *m, double *seconds, double *cpu_seconds)
{
    *seconds = m->work_s;
    *cpu_seconds = m->work_cpu_s;
}

/* ------------------------------------------------------------ commands --- */

static status
open_stream(member *m, const command *cmd)
{
    status st = ST_OK;
    member_stream *s = &m->stream[cmd->stream];
    bool here = m->place.kind == PLACE_LAYERS ||
                place_owner(&m->place, cmd->first_seg, 0) == m->place.rank;

    ASSERT(!s->open);
    TRY(engine_open(m->e, cmd->stream, here, cmd->priority));
    *s = (member_stream){.open = true,
                         .n_state = cmd->n_state,
                         .end_seg = cmd->end_seg,
                         .prompt = cmd->prompt != 0};
fail:
    return st;
}

static status
put_state(member *m, const command *cmd, const void *data)
{
    status st = ST_OK;
    member_stream *s = &m->stream[cmd->stream];
    engine_place to = {0};

    engine_state_place(m->e, cmd->stream, cmd->layer - m->layer_first,
                       &cmd->past, &to);
    ASSERT(s->n_state > 0 && to.len == cmd->len);
    if (to.len > 0)
        TRY(engine_write(m->e, &to, data));
    s->n_state--;
fail:
    return st;
}

static status
report_states(member *m, const command *cmd)
{
    uint32_t id = cmd->stream;
    status st = ST_OK;
    for (uint32_t layer = 0; layer < m->n_layer; layer++) {
        engine_place from = {0};
        engine_state_place(m->e, id, layer, &cmd->past, &from);
        report r = {.kind = REPORT_STATE,
                    .stream = id,
                    .len = from.len,
                    .layer = m->layer_first + layer,
                    .rank = m->place.rank};
        if (from.len > 0)
            TRY(engine_read(m->e, &from, m->state));
        TRY(m->report(m->ctx, &r, m->state));
    }
fail:
    return st;
}

static void
close_stream(member *m, uint32_t id)
{
    member_stream *s = &m->stream[id];
    /* What is on its way out of the stream's places goes on: nobody reuses
     * them before the id is opened again. */
    engine_close(m->e, id);
    s->closing = true;
    if (m->has_to)
        member_hop_send_fin(m, id);
}

status
member_command(member *m, const command *cmd, const void *data)
{
    status st = ST_OK;
    ASSERT(cmd->stream < m->n_stream);
    member_stream *s = &m->stream[cmd->stream];
    switch (cmd->kind) {
    case COMMAND_OPEN:
        return open_stream(m, cmd);
    case COMMAND_STATE:
        return put_state(m, cmd, data);
    case COMMAND_SEGMENT:
        TRY(engine_feed(m->e, cmd->stream, &cmd->segment, data));
        if (cmd->capture)
            s->capture = cmd->segment.seg + 1;
        s->n_fed++;
        return ST_OK;
    case COMMAND_SEEN:
        return engine_seen(m->e, cmd->stream, data,
                           (uint32_t)(cmd->len / sizeof(int32_t)));
    case COMMAND_SNAPSHOT:
        return report_states(m, cmd);
    case COMMAND_CLOSE:
        close_stream(m, cmd->stream);
        return ST_OK;
    case COMMAND_ASK:
        return m->report(m->ctx,
                         &(report){.kind = REPORT_HERE, .rank = m->place.rank},
                         NULL);
    default:
        return status_fail(ST_WIRE, "command %u is unknown", cmd->kind);
    }
fail:
    return st;
}

/* ---------------------------------------------------------------- work --- */

/* Whether this cell leaves a state that another rank needs, and of which
 * layer.  What is written behind a prompt is followed by another run. */
static bool
moves_on(const member *m, const engine_done *d, uint32_t *layer)
{
    const member_stream *s = &m->stream[d->stream];
    return m->hop != NULL && m->place.kind == PLACE_SEGMENTS &&
           engine_state_left(m->e, d, layer) &&
           (d->segment.seg + 1 < s->end_seg || s->prompt);
}

/* The state that a captured segment left, before the next one changes it. */
static status
report_shard(member *m, const engine_done *d, uint32_t layer)
{
    status st = ST_OK;
    engine_place from = {0};
    memory_past past = engine_past_after(&d->segment);

    engine_state_place(m->e, d->stream, layer, &past, &from);
    report r = {.kind = REPORT_SHARD,
                .stream = d->stream,
                .len = from.len,
                .seg = d->segment.seg,
                .layer = m->layer_first + layer,
                .rank = m->place.rank};
    if (from.len > 0)
        TRY(engine_read(m->e, &from, m->state));
    r.crc = crc_add(0, m->state, from.len);
    TRY(m->report(m->ctx, &r, m->state));
fail:
    return st;
}

static status
cell_done(member *m, const engine_done *d)
{
    status st = ST_OK;
    bool last = d->layer + 1 == m->n_layer;
    uint32_t layer = 0;
    if (!d->segment.frozen &&
        m->stream[d->stream].capture == d->segment.seg + 1 &&
        engine_state_left(m->e, d, &layer))
        TRY(report_shard(m, d, layer));
    if (last && m->place.kind == PLACE_LAYERS && m->has_to) {
        member_hop_send_x(m, d);
    } else if (last) {
        report r = {.kind = REPORT_DONE,
                    .stream = d->stream,
                    .seg = d->segment.seg,
                    .frozen = d->segment.frozen,
                    .rank = m->place.rank};
        TRY(m->report(m->ctx, &r, NULL));
    }
    /* After the report: what the next rank reports of the next segment must
     * not be older (report.h). */
    if (moves_on(m, d, &layer))
        member_hop_send_state(m, d, layer);
fail:
    return st;
}

static status
compute(member *m, const engine_done **done, uint32_t *n)
{
    double start = clock_seconds(), cpu = clock_thread_seconds();
    status st = ST_OK;

    TRY(engine_launch(m->e, n));
    if (*n == 0)
        return ST_OK;
    TRY(engine_collect(m->e, done, n));
    m->work_s += clock_seconds() - start;
    m->work_cpu_s += clock_thread_seconds() - cpu;
fail:
    return st;
}

static status
run_group(member *m, bool *busy)
{
    status st = ST_OK;
    const engine_done *done = NULL;
    uint32_t n = 0;

    if (m->hop != NULL)
        hop_group(m->hop, true);
    TRY(compute(m, &done, &n));
    if (m->hop != NULL)
        hop_group(m->hop, false);
    if (n == 0)
        return ST_OK;
    *busy = true;
    if (FAULT_FAILS(WORLD_GROUP))
        TRY(status_fail(ST_DEVICE, "a fault was asked for"));
    TRY(m->failed);
    for (uint32_t i = 0; i < n; i++)
        TRY(cell_done(m, &done[i]));
fail:
    return st;
}

static status
end_closed(member *m, bool *busy)
{
    status st = ST_OK;
    for (uint32_t id = 0; id < m->n_stream; id++) {
        member_stream *s = &m->stream[id];
        if (!s->closing || s->n_hop > 0 || (m->has_from && !s->fin))
            continue;
        report r = {.kind = REPORT_CLOSED, .stream = id, .rank = m->place.rank};
        *s = (member_stream){0};
        *busy = true;
        TRY(m->report(m->ctx, &r, NULL));
    }
fail:
    return st;
}

/* A segment's end may be many groups away: that the rank goes on is seen by
 * these, a few times a second. */
static status
tell_step(member *m)
{
    report r = {.kind = REPORT_STEP, .rank = m->place.rank};
    uint64_t now = clock_ns();

    if (now - m->told_ns < TELL_NS)
        return ST_OK;
    m->told_ns = now;
    return m->report(m->ctx, &r, NULL);
}

status
member_turn(member *m, bool *busy)
{
    status st = ST_OK;
    bool stepped = false;
    if (m->hop != NULL)
        TRY(member_hop_receive(m, &stepped));
    TRY(run_group(m, &stepped));
    if (m->hop != NULL)
        TRY(hop_push(m->hop, &stepped));
    if (stepped)
        TRY(tell_step(m));
    *busy |= stepped;
    TRY(end_closed(m, busy));
fail:
    return st;
}
