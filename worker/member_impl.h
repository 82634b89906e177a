/* SPDX-License-Identifier: Apache-2.0 */
/* Inside member: what its files share.  Not for anybody else.
 *
 *   member.c      commands, groups, reports
 *   member_hop.c  what comes from and goes to the neighbours */
#ifndef WORKER_MEMBER_IMPL_H
#define WORKER_MEMBER_IMPL_H

#include "worker/hop.h"
#include "worker/member.h"

typedef struct member_stream {
    bool open, closing;
    bool fin;          /* the predecessor's FIN has come */
    uint32_t n_state;  /* STATE commands still to come */
    uint32_t n_hop;    /* queued or on their way out */
    uint64_t n_fed;    /* segments of this rank */
    uint32_t n_coming; /* hidden rows that have a slot and are not yet fed */
    uint64_t end_seg;  /* the first that is not written */
    bool prompt;
    bool spoiled;     /* so was reported */
    uint64_t capture; /* 1 + the segment whose states are reported, 0: none */
} member_stream;

struct member {
    engine *e;
    place place;
    uint32_t n_stream, n_layer, layer_first;
    bool has_from, has_to;
    member_report_fn *report;
    void *ctx;
    status failed;   /* of a report inside the sink */
    uint64_t n_byte; /* payload that has been handed to the successor */
    member_stream *stream;
    bool *leaving;  /* [n_stream, n_layer] the state is on its way out */
    uint8_t *state; /* one layer's state in host memory */
    hop *hop;       /* NULL: there are no neighbours */
    double work_s, work_cpu_s; /* of groups: see member_work() */
    uint64_t touched_ns;       /* when the hook last drove MPI */
    uint64_t told_ns;          /* when a step was told last */
};

/* hop_sent_fn; ctx is the member. */
void member_hop_sent(void *ctx, const hop_header *head, uint64_t local_seg);
/* hop_place_fn; likewise. */
status member_hop_place(void *ctx, const hop_header *head, engine_place *to,
                        hop_verdict *verdict) MUST_USE;
/* Uses what has come from the predecessor. */
status member_hop_receive(member *m, bool *busy) MUST_USE;
/* The hidden rows, or the state, that a finished cell left. */
void member_hop_send_x(member *m, const engine_done *d);
void member_hop_send_state(member *m, const engine_done *d, uint32_t layer);
/* Nothing more of this stream. */
void member_hop_send_fin(member *m, uint32_t id);

#endif
