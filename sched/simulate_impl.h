/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the simulation: ranks, and hops in the air between them. */
#ifndef SCHED_SIMULATE_IMPL_H
#define SCHED_SIMULATE_IMPL_H

#include "sched/simulate.h"

typedef struct simulate_hop {
    uint32_t stream, layer;
    uint64_t local_seg; /* of the receiver, where states hop */
    double bytes;
    double ready_at; /* when it could have left, then when it arrives */
    simulate_path path;
} simulate_hop;

typedef struct simulate_rank {
    wavefront *w;
    uint32_t layer_first, n_layer;
    uint32_t next; /* the rank that its hops go to */
    const cost_link *link;

    wavefront_cell *group; /* running, n_cell of them */
    uint32_t n_cell;
    double done_at, free_at;
    simulate_path path;  /* of the group that runs, or ran last */
    simulate_path woken; /* of the hop that came last */
    double woken_at;

    simulate_hop *hop; /* ring of what waits to leave; the first may be under
                          way */
    uint32_t first_hop, n_hop, cap_hop;
    bool sending;
    double sent_at;
    uint32_t *n_coming; /* [n_stream] hidden states under way to this rank */

    uint64_t n_group;
    double busy;
} simulate_rank;

/* Hops that have left a link and have not arrived: a heap by time. */
typedef struct simulate_air {
    struct simulate_flight *flight;
    uint32_t n, cap;
    uint64_t n_ever;
} simulate_air;

typedef struct simulate {
    simulate_config cfg;
    place place;
    uint32_t n_active;
    bool ring; /* states hop, not hidden states */
    simulate_rank *rank;
    uint64_t *n_done; /* [n_stream] segments of the document that are done */
    uint32_t n_opened;
    simulate_air air;
    double now;
    double bytes;
    uint64_t n_cell;
} simulate;

status simulate_air_init(simulate *s) MUST_USE;
void simulate_air_fini(simulate *s);
/* `hop` arrives at rank `to` at hop->ready_at. */
void simulate_fly(simulate *s, uint32_t to, const simulate_hop *hop);
double simulate_next_arrival(const simulate *s);
/* Takes a hop that has arrived by now; false: there is none. */
bool simulate_land(simulate *s, uint32_t *to, simulate_hop *hop);

#endif
