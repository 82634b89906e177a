/* SPDX-License-Identifier: Apache-2.0 */
/* Which messages measure a link, so that it takes little time on any.
 *
 * Small ones for the latency, then longer and longer ones until one tells
 * enough, some more of its length for the bandwidth, and long ones between
 * which both ends sleep.  Of the length that is repeated the middle time
 * counts: a core that something else has for a moment makes one message late,
 * and a shaper lets the next one through sooner for it.  Nothing is begun that
 * would end behind `budget` if a message of twice the length takes twice as
 * long; what is longer than that is one message whose predecessors a shaper had
 * let through at once.  Pure: the clock is the caller's. */
#ifndef WORKER_PROBE_PACE_H
#define WORKER_PROBE_PACE_H

#include <stdbool.h>
#include <stdint.h>

#include "sched/cost.h"

enum {
    PROBE_PACE_SMALL = 64,        /* bytes */
    PROBE_PACE_LONGEST = 4 << 20, /* bytes */
    PROBE_PACE_MOST = 13,         /* messages of a round */
    PROBE_PACE_SAME = 5           /* of the length that is repeated */
};

/* `n` messages of `len` bytes, each answered by a small one. */
typedef struct probe_round {
    uint64_t n, len;
    uint32_t rests; /* 1: sleep between looks */
} probe_round;

/* Seconds of such a message and its answer, and CPU seconds at either end. */
typedef struct probe_times {
    double least, last;
    double send_s, receive_s; /* least */
} probe_times;

typedef struct probe_pace {
    double budget, spent;
    uint32_t step;
    double latency;
    uint64_t len; /* of the last long message, 0: none */
    double last;  /* its seconds; the middle ones of those repeated */
    double same[PROBE_PACE_SAME]; /* of those repeated, from the least on */
    uint32_t n_same;
    cost_link link;
} probe_pace;

/* `budget`: seconds that all messages shall take at most. */
void probe_pace_init(probe_pace *p, double budget);
/* The next round; false: that was all. */
bool probe_pace_next(probe_pace *p, probe_round *out);
/* How it went, and the seconds that all of it took. */
void probe_pace_tell(probe_pace *p, const probe_round *r, const probe_times *t,
                     double seconds);
/* What follows; zero is what was not measured. */
cost_link probe_pace_link(const probe_pace *p);

#endif
