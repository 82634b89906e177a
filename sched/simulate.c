/* SPDX-License-Identifier: Apache-2.0 */
/* Ranks, links and documents in simulated time. */
#include "sched/simulate.h"

#include "base/mem.h"
#include "sched/simulate_impl.h"

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

/* ---------------------------------------------------------------- loop --- */

/* Everything that can start now does; a start gives nobody room. */
static void
start_touched(simulate *s)
{
    for (uint32_t i = 0; i < s->n_touched; i++) {
        s->rank[s->touched[i]].touched = false;
        simulate_hop_start(s, s->touched[i]);
        simulate_group_start(s, s->touched[i]);
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
            simulate_hop_sent(s, e.rank);
            break;
        case SIMULATE_ASKED:
            simulate_hop_asked(s, e.rank, &e.hop);
            break;
        case SIMULATE_GRANTED:
            simulate_hop_granted(s, e.rank, e.hop);
            break;
        case SIMULATE_LEFT:
            simulate_hop_left(s, e.rank, e.hop);
            break;
        case SIMULATE_ARRIVED:
            simulate_hop_arrived(s, e.rank, &e.hop);
            break;
        case SIMULATE_DONE:
            simulate_group_end(s, e.rank);
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
    double useful = cfg->n_doc * cost_useful(cfg->model, cfg->cluster,
                                             cfg->n_rank, cfg->n_seg);
    out->efficiency = useful / (cost_flops(cfg->cluster, cfg->n_rank) * s->now);
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
        simulate_open_stream(&s, id);
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
