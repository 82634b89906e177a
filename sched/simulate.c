/* SPDX-License-Identifier: Apache-2.0 */
/* Ranks, links and documents in simulated time. */
#include "sched/simulate.h"

#include "base/mem.h"
#include "sched/simulate_impl.h"

/* Bytes that MPI sends without being asked for them, over TCP. */
static const double EAGER = 65536;

/* ------------------------------------------------------------ building --- */

static status
check(const simulate_config *cfg)
{
    if (cfg->n_rank == 0 || cfg->n_doc == 0 || cfg->n_seg == 0 ||
        cfg->n_stream == 0)
        return status_fail(ST_ARG, "a simulation needs at least one rank, "
                                   "document, segment and stream");
    if (cfg->n_rank > cfg->cluster->n_rank)
        return status_fail(ST_ARG, "%u ranks on a cluster of %u", cfg->n_rank,
                           cfg->cluster->n_rank);
    return ST_OK;
}

static status
make_rank(simulate *s, uint32_t index)
{
    simulate_rank *r = &s->rank[index];
    uint32_t n_stream = s->cfg.n_stream;
    place p = s->place;
    status st = ST_OK;

    place_layers(&s->place, index, &r->layer_first, &r->n_layer);
    p.rank = index;
    r->next = (index + 1) % s->n_active;
    r->link = cost_link_of(s->cfg.cluster, index, r->next);
    r->cost = cost_rank_of(s->cfg.cluster, index);
    wavefront_config wc = {.n_stream = n_stream,
                           .n_layer = r->n_layer,
                           .n_slot = place_slots(&p),
                           .max_cell = s->cfg.max_cell > 0
                                           ? s->cfg.max_cell
                                           : n_stream * r->n_layer,
                           .max_each = place_group(&p, r->cost->n_cell),
                           .order = s->cfg.order,
                           .remote_state = s->ring};
    TRY(wavefront_new(&r->w, &wc));
    TRY(mem_new(&r->group, wc.max_cell, sizeof *r->group));
    TRY(mem_new(&r->n_coming, n_stream, sizeof *r->n_coming));
    r->cap_hop = n_stream * (s->ring ? r->n_layer + 1 : wc.n_slot) + 1;
    TRY(mem_new(&r->hop, r->cap_hop, sizeof *r->hop));
fail:
    return st;
}

static status
make(simulate *s, const simulate_config *cfg)
{
    status st = ST_OK;

    s->cfg = *cfg;
    s->place = (place){.kind = cfg->placement,
                       .n_layer = cfg->model->n_layer,
                       .size = cfg->n_rank,
                       .ends = cfg->ends};
    s->n_active = place_active(&s->place);
    s->ring = cfg->placement == PLACE_SEGMENTS && s->n_active > 1;
    TRY(mem_new(&s->rank, s->n_active, sizeof *s->rank));
    TRY(mem_new(&s->n_done, cfg->n_stream, sizeof *s->n_done));
    TRY(mem_new(&s->touched, s->n_active, sizeof *s->touched));
    /* A rank has a group, a hop that leaves, and hops in the air: never more
     * of them than it can have waiting and its receiver has places for. */
    size_t n_event = 0;
    for (uint32_t i = 0; i < s->n_active; i++) {
        TRY(make_rank(s, i));
        n_event += 2 * (size_t)s->rank[i].cap_hop + 2;
    }
    TRY(simulate_queue_init(&s->queue, n_event));
fail:
    return st;
}

static void
clear(simulate *s)
{
    for (uint32_t i = 0; s->rank != NULL && i < s->n_active; i++) {
        wavefront_free(s->rank[i].w);
        mem_free(s->rank[i].group);
        mem_free(s->rank[i].n_coming);
        mem_free(s->rank[i].hop);
    }
    simulate_queue_fini(&s->queue);
    mem_free(s->rank);
    mem_free(s->touched);
    mem_free(s->n_done);
}

/* Something may be able to start at a rank, or leave for it. */
static void
touch(simulate *s, uint32_t index)
{
    uint32_t near[2] = {index, (index + s->n_active - 1) % s->n_active};

    for (size_t i = 0; i < 2; i++) {
        if (s->rank[near[i]].touched)
            continue;
        s->rank[near[i]].touched = true;
        s->touched[s->n_touched++] = near[i];
    }
}

/* ------------------------------------------------------------- feeding --- */

/* Segments of the document in stream `id` that rank `index` is given. */
static uint64_t
share(const simulate *s, uint32_t index)
{
    uint64_t n = s->cfg.n_seg;

    if (s->cfg.placement == PLACE_LAYERS)
        return index == 0 ? n : 0;
    return index < n ? (n - 1 - index) / s->n_active + 1 : 0;
}

/* Gives a rank what its slots have room for. */
static void
feed(simulate *s, uint32_t index)
{
    simulate_rank *r = &s->rank[index];

    for (uint32_t id = 0; id < s->cfg.n_stream; id++)
        while (wavefront_is_open(r->w, id) &&
               wavefront_fed(r->w, id) < share(s, index) &&
               wavefront_room(r->w, id) > 0)
            wavefront_feed(r->w, id);
    touch(s, index);
}

/* A document begins in stream `id`; its first segment's states are there. */
static void
open_stream(simulate *s, uint32_t id)
{
    s->n_opened++;
    s->n_done[id] = 0;
    for (uint32_t i = 0; i < s->n_active; i++)
        wavefront_open(s->rank[i].w, id, 0);
    for (uint32_t layer = 0; s->ring && layer < s->rank[0].n_layer; layer++)
        wavefront_state(s->rank[0].w, id, layer, 0);
    for (uint32_t i = 0; i < s->n_active; i++)
        feed(s, i);
}

/* The next document takes the place of one that is read. */
static void
close_stream(simulate *s, uint32_t id)
{
    for (uint32_t i = 0; i < s->n_active; i++)
        wavefront_close(s->rank[i].w, id);
    if (s->n_opened < s->cfg.n_doc)
        open_stream(s, id);
}

/* ---------------------------------------------------------------- hops --- */

static simulate_hop *
hop_at(simulate_rank *r, uint32_t i)
{
    return &r->hop[(r->first_hop + i) % r->cap_hop];
}

/* Two ranks that send to each other share one connection, and what one of them
 * says goes behind what it is sending.  A long hop is announced with its first
 * bytes, and the others wait for the receiver's answer (MPI's rendezvous). */
static bool
is_asked_for(const simulate *s, const simulate_rank *r, const simulate_hop *hop)
{
    return s->ring && s->n_active == 2 && hop->bytes > EAGER &&
           !cost_link_is_copy(r->link);
}

/* Puts bytes behind those that the rank is sending: when they are there. */
static double
say(simulate *s, simulate_rank *r, double bytes)
{
    double start = r->line_free_at > s->now ? r->line_free_at : s->now;

    r->line_free_at = start + cost_transfer(r->link, bytes);
    return r->line_free_at + r->link->latency_s;
}

static void
announce(simulate *s, simulate_rank *r, const simulate_hop *hop)
{
    r->debt += hop->bytes * r->link->send_s;
    simulate_queue_push(&s->queue, &(simulate_event){.at = say(s, r, EAGER),
                                                     .kind = SIMULATE_ASKED,
                                                     .rank = r->next,
                                                     .hop = *hop});
}

static void
answer(simulate *s, uint32_t index, const simulate_hop *hop)
{
    simulate_rank *r = &s->rank[index];

    simulate_queue_push(&s->queue, &(simulate_event){.at = say(s, r, 0),
                                                     .kind = SIMULATE_GRANTED,
                                                     .rank = r->next,
                                                     .hop = *hop});
}

static void
send_rest(simulate *s, uint32_t index, simulate_hop hop)
{
    simulate_rank *r = &s->rank[index];
    double at = say(s, r, hop.bytes - EAGER);
    double transfer = cost_transfer(r->link, hop.bytes);
    double latency = 2 * r->link->latency_s + s->rank[r->next].link->latency_s;

    hop.receive_s = r->link->receive_s;
    hop.path.transfer += transfer;
    hop.path.latency += latency;
    hop.path.wait += at - hop.ready_at - transfer - latency;
    hop.ready_at = at;
    s->rank[r->next].n_flying++;
    simulate_queue_push(&s->queue, &(simulate_event){.at = at,
                                                     .kind = SIMULATE_ARRIVED,
                                                     .rank = r->next,
                                                     .hop = hop});
}

static void
send(simulate *s, simulate_rank *r, const simulate_hop *hop)
{
    s->bytes += hop->bytes;
    if (is_asked_for(s, r, hop)) {
        announce(s, r, hop);
        return;
    }
    ASSERT(r->n_hop < r->cap_hop);
    *hop_at(r, r->n_hop++) = *hop;
}

/* Whether the receiver has a place for the first hop. */
static bool
has_place(const simulate *s, const simulate_rank *r, const simulate_hop *hop)
{
    const simulate_rank *to = &s->rank[r->next];

    return s->ring ||
           to->n_coming[hop->stream] < wavefront_room(to->w, hop->stream);
}

/* Starts the transfer of the first hop where link and receiver allow. */
static void
start_hop(simulate *s, uint32_t index)
{
    simulate_rank *r = &s->rank[index];

    if (r->n_hop == 0 || r->sending || !has_place(s, r, hop_at(r, 0)))
        return;
    simulate_hop *hop = hop_at(r, 0);
    r->debt += hop->bytes * r->link->send_s;
    double t = cost_transfer(r->link, hop->bytes);
    r->sending = true;
    simulate_queue_push(&s->queue, &(simulate_event){.at = s->now + t,
                                                     .kind = SIMULATE_SENT,
                                                     .rank = index});
    /* A hop that waited for the link or for a place carries that along. */
    hop->path.wait += s->now - hop->ready_at;
    hop->path.transfer += t;
    if (!s->ring)
        s->rank[r->next].n_coming[hop->stream]++;
}

/* The first hop has left: its slot is free, and it arrives a latency later. */
static void
end_hop(simulate *s, uint32_t index)
{
    simulate_rank *r = &s->rank[index];
    simulate_hop hop = *hop_at(r, 0);

    r->sending = false;
    r->first_hop = (r->first_hop + 1) % r->cap_hop;
    r->n_hop--;
    s->rank[r->next].n_flying++;
    if (!s->ring) {
        wavefront_release(r->w, hop.stream,
                          wavefront_released(r->w, hop.stream));
        feed(s, index);
    }
    touch(s, index);
    hop.receive_s = r->link->receive_s;
    hop.path.latency += r->link->latency_s;
    hop.ready_at = s->now + r->link->latency_s;
    simulate_queue_push(&s->queue, &(simulate_event){.at = hop.ready_at,
                                                     .kind = SIMULATE_ARRIVED,
                                                     .rank = r->next,
                                                     .hop = hop});
}

static void
arrive(simulate *s, uint32_t index, const simulate_hop *hop)
{
    simulate_rank *r = &s->rank[index];

    r->n_flying--;
    if (s->ring) {
        wavefront_state(r->w, hop->stream, hop->layer, hop->local_seg);
    } else {
        wavefront_feed(r->w, hop->stream);
        r->n_coming[hop->stream]--;
    }
    /* An idle rank has the time. */
    if (r->n_cell > 0)
        r->debt += hop->bytes * hop->receive_s;
    r->woken = hop->path;
    r->woken_at = s->now;
    touch(s, index);
}

/* -------------------------------------------------------------- groups --- */

/* The chain of causes goes through what came last: the rank's own group
 * before, or the hop that woke it. */
static simulate_path
cause_of(const simulate *s, const simulate_rank *r)
{
    simulate_path p = r->woken_at > r->free_at ? r->woken : r->path;
    double known = p.compute + p.transfer + p.latency + p.wait;

    p.wait += s->now - known;
    return p;
}

/* Seconds of the group, with the logits of what leaves the last layer. */
static double
group_time(const simulate *s, const simulate_rank *r)
{
    const cost_model *m = s->cfg.model;
    uint32_t n_last = 0;

    for (uint32_t i = 0; i < r->n_cell; i++)
        n_last += r->layer_first + r->group[i].layer + 1 == s->place.n_layer;
    return cost_group(m, r->cost, r->n_cell, n_last) +
           n_last * m->head_flops / r->cost->flops;
}

/* Whether an idle rank is still copying what its predecessor has for it. */
static bool
is_copying(const simulate *s, uint32_t index)
{
    const simulate_rank *from =
        &s->rank[(index + s->n_active - 1) % s->n_active];

    return cost_link_is_copy(from->link) &&
           (s->rank[index].n_flying > 0 || from->sending ||
            (s->ring && from->n_hop > 0));
}

static void
start_group(simulate *s, uint32_t index)
{
    simulate_rank *r = &s->rank[index];

    if (r->n_cell > 0 || (s->n_active > 1 && is_copying(s, index)))
        return;
    r->n_cell = wavefront_pick(r->w, r->group);
    if (r->n_cell == 0)
        return;
    double t = group_time(s, r) + r->debt;
    r->debt = 0;
    r->path = cause_of(s, r);
    r->path.compute += t;
    simulate_queue_push(&s->queue, &(simulate_event){.at = s->now + t,
                                                     .kind = SIMULATE_DONE,
                                                     .rank = index});
    r->busy += t;
    r->n_group++;
    s->n_cell += r->n_cell;
}

/* What leaves the rank, or the model, with a cell that is done. */
static void
cell_done(simulate *s, uint32_t index, const wavefront_cell *cell)
{
    simulate_rank *r = &s->rank[index];
    bool last = cell->layer + 1 == r->n_layer;
    simulate_hop hop = {
        .stream = cell->stream, .ready_at = s->now, .path = r->path};

    if (s->ring) {
        uint64_t next = cell->seg * s->n_active + index + 1;
        hop.layer = cell->layer;
        hop.local_seg = next / s->n_active;
        hop.bytes = s->cfg.model->state_bytes;
        if (next < s->cfg.n_seg)
            send(s, r, &hop);
    } else if (last && index + 1 < s->n_active) {
        hop.bytes = s->cfg.model->x_bytes;
        send(s, r, &hop);
        return;
    }
    if (last) {
        wavefront_release(r->w, cell->stream, cell->seg);
        s->n_done[cell->stream]++;
    }
}

static void
end_group(simulate *s, uint32_t index)
{
    simulate_rank *r = &s->rank[index];
    uint32_t n = r->n_cell;

    wavefront_done(r->w);
    r->n_cell = 0;
    r->free_at = s->now;
    for (uint32_t i = 0; i < n; i++)
        cell_done(s, index, &r->group[i]);
    feed(s, index);
    for (uint32_t id = 0; id < s->cfg.n_stream; id++)
        if (wavefront_is_open(r->w, id) && s->n_done[id] == s->cfg.n_seg)
            close_stream(s, id);
}

/* ---------------------------------------------------------------- loop --- */

/* Everything that can start now does; a start gives nobody room. */
static void
start_touched(simulate *s)
{
    for (uint32_t i = 0; i < s->n_touched; i++) {
        s->rank[s->touched[i]].touched = false;
        start_hop(s, s->touched[i]);
        start_group(s, s->touched[i]);
    }
    s->n_touched = 0;
}

/* All events of the next moment. */
static void
step(simulate *s)
{
    simulate_event e;

    s->now = s->queue.event[0].at;
    while (s->queue.n > 0 && s->queue.event[0].at <= s->now) {
        simulate_queue_pop(&s->queue, &e);
        switch (e.kind) {
        case SIMULATE_SENT:
            end_hop(s, e.rank);
            break;
        case SIMULATE_ASKED:
            answer(s, e.rank, &e.hop);
            break;
        case SIMULATE_GRANTED:
            send_rest(s, e.rank, e.hop);
            break;
        case SIMULATE_ARRIVED:
            arrive(s, e.rank, &e.hop);
            break;
        case SIMULATE_DONE:
            end_group(s, e.rank);
            break;
        }
    }
}

static void
sum_up(const simulate *s, simulate_result *out)
{
    const simulate_config *cfg = &s->cfg;
    double busy = 0;
    const simulate_rank *slowest = &s->rank[0];

    *out = (simulate_result){
        .seconds = s->now, .n_cell = s->n_cell, .bytes = s->bytes};
    for (uint32_t i = 0; i < s->n_active; i++) {
        const simulate_rank *r = &s->rank[i];
        busy += r->busy;
        out->n_group_all += r->n_group;
        if (r->n_group > out->n_group)
            out->n_group = r->n_group;
        if (r->free_at > slowest->free_at)
            slowest = r;
        place p = s->place;
        p.rank = i;
        double memory = cost_memory(cfg->model, &p, cfg->n_stream);
        out->memory = memory > out->memory ? memory : out->memory;
    }
    out->n_group_first = s->rank[0].n_group;
    out->busy = busy / (cfg->n_rank * s->now);
    out->efficiency = cfg->n_doc * cost_useful(cfg->model, cfg->n_seg) /
                      (cost_flops(cfg->cluster, cfg->n_rank) * s->now);
    out->path = slowest->path;
}

status
simulate_run(simulate_result *out, const simulate_config *cfg)
{
    simulate s = {0};
    status st = ST_OK;

    TRY(check(cfg));
    TRY(make(&s, cfg));
    for (uint32_t id = 0; id < cfg->n_stream && s.n_opened < cfg->n_doc; id++)
        open_stream(&s, id);
    uint64_t n_want = (uint64_t)cfg->n_doc * cfg->n_seg * s.place.n_layer;
    start_touched(&s);
    while (s.queue.n > 0) {
        step(&s);
        start_touched(&s);
    }
    if (s.n_cell != n_want)
        TRY(status_fail(ST_STATE,
                        "the simulated world stands still with %llu "
                        "of %llu cells done",
                        (unsigned long long)s.n_cell,
                        (unsigned long long)n_want));
    sum_up(&s, out);
fail:
    clear(&s);
    return st;
}
