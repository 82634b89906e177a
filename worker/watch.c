/* SPDX-License-Identifier: Apache-2.0 */
/* Stalls and paces. */
#include "worker/watch.h"

enum { FORGET = 64 }; /* steps */

/* A twentieth of what the daemon allows for a first step. */
static const uint64_t FIRST_NS = UINT64_C(30) * 1000 * 1000 * 1000;

/* The longest step is forgotten slowly, so that the daemon's patience follows
 * the work. */
void
watch_look(watch *w, uint64_t steps, bool due, uint64_t now, uint64_t away_ns)
{
    uint64_t gap = now - w->since_ns;

    if (due && steps == w->steps) {
        w->stalled_ns = gap;
        if (w->slowest_ns != 0 && away_ns > w->slowest_ns)
            w->slowest_ns = away_ns;
        return;
    }
    if (due && w->steps != 0) {
        w->slowest_ns -= w->slowest_ns / FORGET;
        if (gap > w->slowest_ns)
            w->slowest_ns = gap;
    }
    w->steps = steps;
    w->since_ns = now;
    w->stalled_ns = 0;
}

watch_stall
watch_stall_of(const watch *w)
{
    return (watch_stall){w->stalled_ns, w->slowest_ns};
}

static double
beside_pace(const watch_stall *s)
{
    return (double)s->ns /
           (double)(s->slowest_ns == 0 ? FIRST_NS : s->slowest_ns);
}

bool
watch_is_worse(const watch_stall *a, const watch_stall *b)
{
    return beside_pace(a) > beside_pace(b);
}
