/* SPDX-License-Identifier: Apache-2.0 */
/* The channel between neighbours: from the predecessor, to the successor.
 *
 * Internal to the world.  A hop is a header and a payload that lies in a
 * place of the engine.  Headers go in order; receives for them are posted
 * ahead.  A payload's receive is posted as soon as its place is free, also
 * while a group runs (hop_touch()), and payloads of different streams do not
 * wait for each other.  Payloads are sent synchronously, so a sender is never
 * further ahead than its receiver has places for.
 * Where MPI cannot use the device's memory, payloads pass through stages in
 * host memory (hop_stages.h).  The queue that computes makes the copies and the
 * host waits for none: a hop is given to MPI once it lies in its stage, groups
 * wait for what they need by the order of the queue.  That order also makes a
 * place free for others as soon as its copy to the stage is enqueued: all that
 * is written to places (by groups, by copies from stages, by the engine) is
 * enqueued behind it.
 * No group may be running in any call but hop_touch() and hop_group(). */
#ifndef WORKER_HOP_H
#define WORKER_HOP_H

#include "worker/comm.h"
#include "worker/engine.h"
#include "worker/world_wire.h"

typedef struct hop hop;

/* The place of a sent hop is free again. */
typedef void hop_sent_fn(void *ctx, const hop_header *head, uint64_t local_seg);

typedef enum hop_verdict {
    HOP_LATER = 0, /* there is no place yet */
    HOP_TAKE,      /* into *to, which stays untouched until hop_next(); what is
                      enqueued behind that may read and write it */
    HOP_DROP       /* nobody wants it any more */
} hop_verdict;
/* Where a hop that has come shall go; may be called while a group runs.  Hops
 * of one stream are asked for in order. */
typedef status hop_place_fn(void *ctx, const hop_header *head, engine_place *to,
                            hop_verdict *verdict);

typedef struct hop_config {
    int from, to;        /* neighbours, -1: none */
    uint32_t n_stream;   /* whose hops come */
    uint32_t n_queue;    /* hops whose places are not free again, at most; so
                            many receives for headers are posted */
    size_t max_payload;  /* bytes */
    kernel_queue *queue; /* copies payloads to stages and back; NULL: MPI has
                            them where they lie */
    uint32_t n_stage;    /* each way, 1 or more; nothing without a queue */
    bool direct;         /* payloads lie where the host cannot see them */
    hop_sent_fn *sent;
    hop_place_fn *place;
    void *ctx;
} hop_config;

/* ST_NOMEM: also for want of memory for stages. */
status hop_new(hop **out, comm *c, const hop_config *cfg) MUST_USE;
/* Waits for copies of stages under way. */
void hop_free(hop *h);

/* Queues a hop; the place stays untouched until `sent`.  Without payload
 * (len 0) `from` is NULL. */
void hop_send(hop *h, const hop_header *head, const engine_place *from,
              uint64_t local_seg);
/* Starts and completes sends; *busy: something went on.  A failure of the
 * device shows here, in hop_poll() and in hop_next(). */
status hop_push(hop *h, bool *busy) MUST_USE;

/* The next hop whose payload is here, in its place or a stage: look at it, then
 * hop_next(), which has a stage copied to the place.  *head NULL: there is none
 * now.  Those of one stream come in order. */
status hop_poll(hop *h, const hop_header **head, bool *busy) MUST_USE;
/* Its payload, in host memory, where it may be changed; NULL: it has none
 * there, or was dropped. */
void *hop_data(const hop *h);
status hop_next(hop *h) MUST_USE;

/* Receives as far as there are places, gives to MPI what lies in its stage, and
 * lets MPI progress; for the hook of a queue, whose device is asked for events
 * and no more.  A failure shows in the next hop_push() or hop_poll(). */
void hop_touch(hop *h);
/* A group begins, or has ended: what is received meanwhile is hidden. */
void hop_group(hop *h, bool runs);

/* Nanoseconds in which a payload was on its way into this rank; of these the
 * ones in which a group computed, without those that were spent in MPI. */
typedef struct hop_times {
    uint64_t total, hidden;
} hop_times;
void hop_times_get(const hop *h, hop_times *out);

#endif
