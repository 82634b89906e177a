/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the simulation: ranks, and hops in the air between them. */
#ifndef SCHED_SIMULATE_IMPL_H
#define SCHED_SIMULATE_IMPL_H

#include "sched/simulate.h"

typedef struct simulate_hop {
    uint32_t stream, layer;
    uint64_t local_seg; /* of the receiver, where states hop */
    double bytes, receive_s;
    double ready_at; /* when it could have left, then when it arrives */
    simulate_path path;
} simulate_hop;

typedef struct simulate_rank {
    wavefront *w;
    uint32_t layer_first, n_layer;
    uint32_t next; /* the rank that its hops go to */
    const cost_link *link;
    const cost_rank *cost;

    wavefront_cell *group; /* running, n_cell of them */
    uint32_t n_cell;
    double free_at;
    simulate_path path;  /* of the group that runs, or ran last */
    simulate_path woken; /* of the hop that came last */
    double woken_at;

    simulate_hop *hop; /* ring of what waits to leave; the first may be under
                          way */
    uint32_t first_hop, n_hop, cap_hop;
    bool sending;
    double line_free_at; /* where hops are asked for */
    bool touched;        /* something may be able to start here */
    /* Hops to this rank that have left.  Where the receiver copies them itself,
     * it finds all that lie there before it looks for a group. */
    uint32_t n_flying;
    uint32_t *n_coming; /* [n_stream] hidden states under way to this rank */

    uint64_t n_group;
    double busy;
    double debt; /* own time that hops took from the group that comes next */
} simulate_rank;

/* At one moment links come first and groups last, so that every slot that is
 * free by then counts. */
typedef enum simulate_kind {
    SIMULATE_SENT = 0, /* the first hop of `rank` has left */
    SIMULATE_ASKED,    /* what announces `hop` is at its receiver, `rank` */
    SIMULATE_GRANTED,  /* the answer to that is at its sender, `rank` */
    SIMULATE_LEFT,     /* all of `hop` has left its sender, `rank` */
    SIMULATE_ARRIVED,  /* `hop` is at `rank` */
    SIMULATE_DONE      /* the group of `rank` is done */
} simulate_kind;

typedef struct simulate_event {
    double at;
    simulate_kind kind;
    uint32_t rank;
    uint64_t number;
    simulate_hop hop;
} simulate_event;

typedef struct simulate_queue {
    simulate_event *event;
    size_t n, cap;
    uint64_t n_ever;
} simulate_queue;

typedef struct simulate {
    simulate_config cfg;
    place place;
    uint32_t n_active;
    bool ring; /* states hop, not hidden states */
    simulate_rank *rank;
    uint64_t *n_done; /* [n_stream] segments of the document that are done */
    uint32_t n_opened;
    simulate_queue queue;
    uint32_t *touched; /* [n_active] ranks with `touched` set */
    uint32_t n_touched;
    double now;
    double bytes;
    uint64_t n_cell;
} simulate;

/* Something may be able to start at a rank, or leave for it. */
void simulate_touch(simulate *s, uint32_t index);
/* Gives a rank what its slots have room for. */
void simulate_feed(simulate *s, uint32_t index);
/* The next document begins in stream `id`. */
void simulate_open_stream(simulate *s, uint32_t id);
/* The document of stream `id` is read: the next one takes its place. */
void simulate_close_stream(simulate *s, uint32_t id);

/* Starts a group where rank `index` is idle and has cells. */
void simulate_group_start(simulate *s, uint32_t index);
/* The group of rank `index` is done. */
void simulate_group_end(simulate *s, uint32_t index);

/* `hop` leaves for the rank's successor as soon as it can. */
void simulate_hop_send(simulate *s, simulate_rank *r, const simulate_hop *hop);
/* Starts the transfer of a rank's first hop where link and receiver allow. */
void simulate_hop_start(simulate *s, uint32_t index);
/* What the events of these names do. */
void simulate_hop_sent(simulate *s, uint32_t index);
void simulate_hop_asked(simulate *s, uint32_t index, const simulate_hop *hop);
void simulate_hop_granted(simulate *s, uint32_t index, simulate_hop hop);
void simulate_hop_left(simulate *s, uint32_t index, simulate_hop hop);
void simulate_hop_arrived(simulate *s, uint32_t index, const simulate_hop *hop);

status simulate_queue_init(simulate_queue *q, size_t cap) MUST_USE;
void simulate_queue_fini(simulate_queue *q);
void simulate_queue_push(simulate_queue *q, const simulate_event *event);
void simulate_queue_pop(simulate_queue *q, simulate_event *out);

#endif
