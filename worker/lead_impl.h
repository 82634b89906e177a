/* SPDX-License-Identifier: Apache-2.0 */
/* Inside lead: what its files share.  Not for anybody else.
 *
 *   lead.c         streams, shared out to the ranks
 *   lead_gather.c  what the ranks report, in the order of the streams
 *   lead_watch.c   whether they go on */
#ifndef WORKER_LEAD_IMPL_H
#define WORKER_LEAD_IMPL_H

#include "worker/lead.h"
#include "worker/member.h"
#include "worker/order.h"
#include "worker/report.h"
#include "worker/seen.h"
#include "worker/watch.h"

typedef struct lead_stream {
    bool open;
    bool close_wanted, closing;  /* asked for; sent to the ranks */
    uint32_t n_closed;           /* ranks that are through with it */
    uint64_t first_seg, end_seg; /* the written segments: [first, end) */
    uint64_t next_seg, done_seg; /* to be fed, to be reported next */
    memory_past past;            /* written segments that were fed */
    bool prompt;
    bool capture;           /* the next segment */
    uint32_t n_run;         /* tokens of the frozen run so far */
    uint8_t *restore;       /* states on their way to the ranks */
    uint8_t *snapshot;      /* states on their way back */
    bool snapshot_wanted;   /* asked for, not yet of the ranks */
    uint32_t n_state_due;   /* layers missing in it */
    uint32_t *n_ahead;      /* [n_active] segments given to a rank that still
                               have slots there; its first one only, with layers */
    uint64_t n_fed, n_done; /* segments, frozen ones too */
    seen seen;              /* what its penalty counts */
} lead_stream;

/* Of one rank, as of its last report. */
typedef struct lead_hop {
    uint64_t total_ns, hidden_ns;
} lead_hop;

typedef struct lead_replica {
    uint64_t n_step; /* reports of its ranks */
    watch work;
    uint64_t asked_ns;  /* when its ranks were asked, or had a stream last */
    uint32_t n_owed;    /* of their answers */
    uint64_t silent_ns; /* for which answers have been owed */
} lead_replica;

struct lead {
    comm *c;
    engine *e;
    place place;
    uint32_t n_active, n_slot; /* of each replica */
    uint32_t n_each;           /* streams of each */
    uint32_t n_stream;         /* of all */
    const model_config *model;
    kernel_type compute;
    member *member;
    report_in *in;    /* NULL: this rank is alone */
    order_out *order; /* likewise */
    lead_stream *stream;
    uint32_t *n_ahead; /* what n_ahead of all streams point into */
    lead_hop *hop;     /* [n_active] of each replica */
    world_event_fn *fn;
    void *ctx;
    lead_replica *replica; /* [place_replicas()] */
    uint64_t look_ns;      /* when they were looked at last */
    uint64_t n_here;       /* answers of ranks that rest */
    uint64_t n_turn;       /* in which something else happened */
    bool in_turn;
    status broken; /* why the world cannot go on */
};

/* The states of all layers lie behind each other: the bytes of one, and where
 * it begins. */
size_t lead_state_bytes(const lead *w, uint32_t layer, const memory_past *past);
size_t lead_state_offset(const lead *w, uint32_t layer,
                         const memory_past *past);

/* Whether a report may be taken now (report_turn_fn), and taking it
 * (report_take_fn). */
bool lead_gather_turn(void *ctx, const report *r);
status lead_gather_take(void *ctx, const report *r, const void *data) MUST_USE;
/* What the lead's own member reports, which may be too early: takes the
 * others' until its turn has come (member_report_fn). */
status lead_gather_own(void *ctx, const report *r, const void *data) MUST_USE;

/* Whether a rank that was asked has not answered; a rank has. */
bool lead_watch_owed(const lead *w);
status lead_watch_answered(lead *w, const report *r) MUST_USE;

#endif
