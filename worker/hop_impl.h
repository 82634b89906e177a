/* SPDX-License-Identifier: Apache-2.0 */
/* Inside hop: what its files share.  Not for anybody else.
 *
 *   hop.c         set-up, and what goes to the successor
 *   hop_in.c      what comes from the predecessor
 *   hop_stages.c  host memory in between */
#ifndef WORKER_HOP_IMPL_H
#define WORKER_HOP_IMPL_H

#include "worker/hop.h"
#include "worker/hop_stages.h"

/* One hop on its way out. */
typedef struct hop_parcel {
    hop_header head;
    engine_place from;
    uint64_t local_seg;
    comm_request head_req, data_req;
    int stage; /* in use, -1: none */
    bool sent; /* the place has been given back */
} hop_parcel;

typedef enum hop_step {
    HOP_STEP_HEAD = 0, /* a header is awaited */
    HOP_STEP_WAITING,  /* it is here, its payload has no place yet */
    HOP_STEP_DATA,     /* the payload is on its way */
    HOP_STEP_ARRIVED,
    HOP_STEP_USED /* behind one that is not */
} hop_step;

/* One hop on its way in, or the wait for one. */
typedef struct hop_arrival {
    hop_step step;
    hop_header head;
    engine_place to; /* no buffer: dropped, or without payload */
    comm_request head_req, data_req;
    int stage; /* in use, -1: none */
} hop_arrival;

struct hop {
    comm *c;
    hop_config cfg;

    /* Out: a ring; the first n_started of its n parcels are with MPI, the first
     * n_staged are in a stage, are on their way there, or need none. */
    hop_parcel *parcel;
    uint32_t n_parcel; /* room */
    uint32_t first, n, n_staged, n_started;
    hop_stages out; /* one direction's are never waited for by the other */

    /* In: a ring of n_queue, in the order of the headers. */
    hop_arrival *arrival;
    uint32_t first_in;
    hop_arrival *current; /* that hop_poll() gave out */
    /* For what is staged or dropped; of what is only dropped, one does. */
    hop_stages in;
    uint64_t *held; /* [n_stream] pass in which a hop of it was left waiting */
    uint64_t pass;

    /* Time: counted up to `mark`. */
    uint32_t n_flight; /* payloads on their way in */
    bool grouped;      /* a group runs */
    uint64_t mark;
    hop_times times;

    status failed; /* in hop_touch() */
    char failure[256];
};

/* What MPI is given of a place, where nothing is staged. */
void *hop_address(const hop *h, const engine_place *at);
/* What failed in hop_touch(). */
status hop_failed(const hop *h) MUST_USE;
/* Gives to MPI, in order, the next parcels that it can have; in hop_touch(),
 * too. */
status hop_start(hop *h, bool *busy) MUST_USE;
status hop_in_init(hop *h) MUST_USE;
void hop_in_fini(hop *h);

#endif
