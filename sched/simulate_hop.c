/* SPDX-License-Identifier: Apache-2.0 */
/* Hops of a simulated world, on their way from a rank to the next. */
#include "sched/simulate_impl.h"

/* Bytes of a hop from where on MPI moves it over TCP only when its receiver has
 * asked for it (Open MPI's btl_tcp_min_rdma_pipeline_size).  Shorter ones that
 * wait for a word leave the line to others meanwhile. */
static const double ASKED_FOR = 196608;

static simulate_hop *
hop_at(simulate_rank *r, uint32_t i)
{
    return &r->hop[(r->first_hop + i) % r->cap_hop];
}

/* Two ranks that send to each other share one connection, and what one of them
 * says goes behind what it is sending.  A long hop is announced, its bytes wait
 * for the receiver's answer, and when they have left the sender says so (MPI's
 * rendezvous): of two hops that were granted together the first one is there no
 * sooner than the second. */
static bool
is_asked_for(const simulate *s, const simulate_rank *r, const simulate_hop *hop)
{
    return s->ring && s->n_active == 2 && hop->bytes >= ASKED_FOR &&
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
    simulate_queue_push(&s->queue, &(simulate_event){.at = say(s, r, 0),
                                                     .kind = SIMULATE_ASKED,
                                                     .rank = r->next,
                                                     .hop = *hop});
}

void
simulate_hop_asked(simulate *s, uint32_t index, const simulate_hop *hop)
{
    simulate_rank *r = &s->rank[index];

    simulate_queue_push(&s->queue, &(simulate_event){.at = say(s, r, 0),
                                                     .kind = SIMULATE_GRANTED,
                                                     .rank = r->next,
                                                     .hop = *hop});
}

void
simulate_hop_granted(simulate *s, uint32_t index, simulate_hop hop)
{
    simulate_rank *r = &s->rank[index];

    (void)say(s, r, hop.bytes);
    s->rank[r->next].n_flying++;
    simulate_queue_push(&s->queue, &(simulate_event){.at = r->line_free_at,
                                                     .kind = SIMULATE_LEFT,
                                                     .rank = index,
                                                     .hop = hop});
}

void
simulate_hop_left(simulate *s, uint32_t index, simulate_hop hop)
{
    simulate_rank *r = &s->rank[index];
    double at = say(s, r, 0);
    double transfer = cost_transfer(r->link, hop.bytes);
    double latency = 2 * r->link->latency_s + s->rank[r->next].link->latency_s;

    hop.receive_s = r->link->receive_s;
    hop.path.transfer += transfer;
    hop.path.latency += latency;
    hop.path.wait += at - hop.ready_at - transfer - latency;
    hop.ready_at = at;
    simulate_queue_push(&s->queue, &(simulate_event){.at = at,
                                                     .kind = SIMULATE_ARRIVED,
                                                     .rank = r->next,
                                                     .hop = hop});
}

void
simulate_hop_send(simulate *s, simulate_rank *r, const simulate_hop *hop)
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
void
simulate_hop_start(simulate *s, uint32_t index)
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
void
simulate_hop_sent(simulate *s, uint32_t index)
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
        simulate_feed(s, index);
    }
    simulate_touch(s, index);
    hop.receive_s = r->link->receive_s;
    hop.path.latency += r->link->latency_s;
    hop.ready_at = s->now + r->link->latency_s;
    simulate_queue_push(&s->queue, &(simulate_event){.at = hop.ready_at,
                                                     .kind = SIMULATE_ARRIVED,
                                                     .rank = r->next,
                                                     .hop = hop});
}

void
simulate_hop_arrived(simulate *s, uint32_t index, const simulate_hop *hop)
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
    simulate_touch(s, index);
}
