/* SPDX-License-Identifier: Apache-2.0 */
/* Groups of a simulated world: when they run, and what leaves with them. */
#include "sched/simulate_impl.h"

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

void
simulate_group_start(simulate *s, uint32_t index)
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
            simulate_hop_send(s, r, &hop);
    } else if (last && index + 1 < s->n_active) {
        hop.bytes = s->cfg.model->x_bytes;
        simulate_hop_send(s, r, &hop);
        return;
    }
    if (last) {
        wavefront_release(r->w, cell->stream, cell->seg);
        s->n_done[cell->stream]++;
    }
}

void
simulate_group_end(simulate *s, uint32_t index)
{
    simulate_rank *r = &s->rank[index];
    uint32_t n = r->n_cell;

    wavefront_done(r->w);
    r->n_cell = 0;
    r->free_at = s->now;
    for (uint32_t i = 0; i < n; i++)
        cell_done(s, index, &r->group[i]);
    simulate_feed(s, index);
    for (uint32_t id = 0; id < s->cfg.n_stream; id++)
        if (wavefront_is_open(r->w, id) && s->n_done[id] == s->cfg.n_seg)
            simulate_close_stream(s, id);
}
