/* SPDX-License-Identifier: Apache-2.0 */
/* Hops between two ranks, earliest arrival first; among equals, in the order
 * in which they left. */
#include <math.h>

#include "base/mem.h"
#include "sched/simulate_impl.h"

typedef struct simulate_flight {
    uint32_t to;
    uint64_t number;
    simulate_hop hop;
} flight;

/* No link has more hops in the air than its sender ever has in its queue and
 * its receiver has places for. */
status
simulate_air_init(simulate *s)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < s->n_active; i++)
        n += 2 * s->rank[i].cap_hop;
    s->air.cap = n;
    return mem_new(&s->air.flight, n, sizeof *s->air.flight);
}

void
simulate_air_fini(simulate *s)
{
    mem_free(s->air.flight);
}

static bool
before(const flight *a, const flight *b)
{
    if (a->hop.ready_at < b->hop.ready_at)
        return true;
    return a->hop.ready_at <= b->hop.ready_at && a->number < b->number;
}

static void
swap(flight *a, flight *b)
{
    flight t = *a;
    *a = *b;
    *b = t;
}

void
simulate_fly(simulate *s, uint32_t to, const simulate_hop *hop)
{
    simulate_air *a = &s->air;
    uint32_t i = a->n++;

    ASSERT(a->n <= a->cap);
    a->flight[i] = (flight){.to = to, .number = a->n_ever++, .hop = *hop};
    for (; i > 0 && before(&a->flight[i], &a->flight[(i - 1) / 2]);
         i = (i - 1) / 2)
        swap(&a->flight[i], &a->flight[(i - 1) / 2]);
}

double
simulate_next_arrival(const simulate *s)
{
    return s->air.n > 0 ? s->air.flight[0].hop.ready_at : (double)INFINITY;
}

bool
simulate_land(simulate *s, uint32_t *to, simulate_hop *hop)
{
    simulate_air *a = &s->air;

    if (a->n == 0 || a->flight[0].hop.ready_at > s->now)
        return false;
    *to = a->flight[0].to;
    *hop = a->flight[0].hop;
    a->flight[0] = a->flight[--a->n];
    for (uint32_t i = 0, child; (child = 2 * i + 1) < a->n; i = child) {
        if (child + 1 < a->n &&
            before(&a->flight[child + 1], &a->flight[child]))
            child++;
        if (!before(&a->flight[child], &a->flight[i]))
            break;
        swap(&a->flight[i], &a->flight[child]);
    }
    return true;
}
