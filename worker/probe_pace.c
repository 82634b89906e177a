/* SPDX-License-Identifier: Apache-2.0 */
/* Which messages measure a link. */
#include "worker/probe_pace.h"

enum {
    FIRST_PINGS = 2,  /* connections are made meanwhile */
    PEEK = 8 << 10,   /* bytes: a look at very slow links */
    FIRST = 64 << 10, /* of the messages that grow */
};

static const double PINGS = 0.02;  /* seconds of all pings, the first apart */
static const double QUICK = 0.005; /* seconds: what is shorter goes twice */
static const double LONG = 0.01;   /* seconds of a message that tells enough */

enum { STEP_FIRST = 0, STEP_PING, STEP_GROW, STEP_SAME, STEP_REST, STEP_END };

void
probe_pace_init(probe_pace *p, double budget)
{
    *p = (probe_pace){.budget = budget};
}

/* More pings, where they are short. */
static uint64_t
pings(const probe_pace *p)
{
    double n = p->latency > 0 ? PINGS / (2 * p->latency) : 0;
    return n < PROBE_PACE_MOST ? (uint64_t)n : PROBE_PACE_MOST;
}

/* The length of the next message that grows; 0: no more. */
static uint64_t
grow(const probe_pace *p)
{
    if (p->len == 0)
        return PEEK;
    if (p->len == PEEK)
        return p->spent + FIRST / PEEK * p->last > p->budget ? 0 : FIRST;
    if (p->last >= LONG || p->len >= PROBE_PACE_LONGEST ||
        p->spent + 4 * p->last > p->budget)
        return 0;
    return 2 * p->len;
}

/* The last length once more; 0: it has been measured. */
static uint64_t
same(const probe_pace *p)
{
    bool soon = p->spent + 2 * p->last <= p->budget;
    return p->n_same < PROBE_PACE_SAME && soon ? p->len : 0;
}

/* The last length, or shorter, where that is all that there is time for. */
static bool
rest(const probe_pace *p, probe_round *out)
{
    double t = p->last;
    uint64_t len = p->len;
    for (; len > FIRST && p->spent + 2 * t > p->budget; len /= 2)
        t /= 2;
    *out = (probe_round){.n = t < QUICK ? 2 : 1, .len = len, .rests = 1};
    return p->spent + 2 * t <= p->budget;
}

bool
probe_pace_next(probe_pace *p, probe_round *out)
{
    switch (p->step) {
    case STEP_FIRST:
        *out = (probe_round){.n = FIRST_PINGS, .len = PROBE_PACE_SMALL};
        return true;
    case STEP_PING:
        *out = (probe_round){.n = pings(p), .len = PROBE_PACE_SMALL};
        if (out->n > 0)
            return true;
        p->step = STEP_GROW;
        /* fall through */
    case STEP_GROW:
        *out = (probe_round){.n = 1, .len = grow(p)};
        if (out->len > 0)
            return true;
        p->step = STEP_SAME;
        /* fall through */
    case STEP_SAME:
        *out = (probe_round){.n = 1, .len = same(p)};
        if (out->len > 0)
            return true;
        p->step = STEP_REST;
        /* fall through */
    case STEP_REST:
        return rest(p, out);
    default:
        return false;
    }
}

/* The middle one of those of a length counts, where there are any: the first
 * one of it may have found memory fresh, or been let through at once.  One that
 * took less than the pings did, for which the cores may have had no time, was
 * not slower than its bytes. */
static void
tell_long(probe_pace *p, uint64_t len, double last)
{
    if (p->step == STEP_SAME) {
        uint32_t i = p->n_same++;
        for (; i > 0 && p->same[i - 1] > last; i--)
            p->same[i] = p->same[i - 1];
        p->same[i] = last;
        last = p->same[(p->n_same - 1) / 2];
    }
    p->len = len;
    p->last = last;
    double own = last - 2 * p->latency, least = (double)len / last;
    if (own > 0)
        p->link.bytes_per_s = (double)len / own;
    else if (p->link.bytes_per_s < least)
        p->link.bytes_per_s = least;
}

void
probe_pace_tell(probe_pace *p, const probe_round *r, const probe_times *t,
                double seconds)
{
    p->spent += seconds;
    if (p->step <= STEP_PING) {
        if (p->step == STEP_FIRST || t->least / 2 < p->latency)
            p->latency = t->least / 2;
        p->step++;
    } else if (p->step <= STEP_SAME) {
        tell_long(p, r->len, t->last);
    } else {
        p->link.send_s = t->send_s / (double)r->len;
        p->link.receive_s = t->receive_s / (double)r->len;
        p->step = STEP_END;
    }
}

cost_link
probe_pace_link(const probe_pace *p)
{
    cost_link l = p->link;
    l.latency_s = p->latency;
    return l;
}
