/* SPDX-License-Identifier: Apache-2.0 */
/* The channel between neighbours: from the predecessor, to the successor.
 *
 * Internal to the world.  A hop is a header and a payload that lies in a
 * place of the engine.  Both go in order.  Payloads are sent synchronously,
 * so a sender is never further ahead than its receiver has places for.  Where
 * MPI cannot use the device's memory, payloads are staged in host memory.
 * No group may be running in any call but hop_touch(). */
#ifndef WORKER_HOP_H
#define WORKER_HOP_H

#include "worker/comm.h"
#include "worker/engine.h"
#include "worker/world_wire.h"

typedef struct hop hop;

/* The place of a sent hop is free again. */
typedef void hop_sent_fn(void *ctx, const hop_header *head, uint64_t local_seg);

typedef struct hop_config {
    int from, to;       /* neighbours, -1: none */
    uint32_t n_queue;   /* hops not yet sent, at most */
    size_t max_payload; /* bytes */
    bool staged;
    hop_sent_fn *sent;
    void *ctx;
} hop_config;

status hop_new(hop **out, comm *c, engine *e, const hop_config *cfg) MUST_USE;
void hop_free(hop *h);

/* Queues a hop; the place stays untouched until `sent`.  Without payload
 * (len 0) `from` is NULL. */
void hop_send(hop *h, const hop_header *head, const engine_place *from,
              uint64_t local_seg);
/* Starts and completes sends. */
status hop_push(hop *h, bool *busy) MUST_USE;

typedef enum hop_state {
    HOP_NONE = 0, /* nothing has come */
    HOP_WAITING,  /* a header: hop_take() when there is a place */
    HOP_ARRIVED   /* its payload is in place: use it, then hop_next() */
} hop_state;
status hop_poll(hop *h, hop_state *state, bool *busy) MUST_USE;
const hop_header *hop_head(const hop *h);
/* Receives the payload into `to`, NULL: throws it away. */
status hop_take(hop *h, const engine_place *to) MUST_USE;
/* The payload that has arrived, in host memory; NULL: it has none. */
void *hop_data(const hop *h);
status hop_next(hop *h) MUST_USE;

/* Lets MPI progress; for the hook of a queue. */
void hop_touch(hop *h);

#endif
