/* SPDX-License-Identifier: Apache-2.0 */
/* Time that is left, as work. */
#include "worker/probe_budget.h"

/* Seconds of CPU time that tell what part of a core there is: the system deals
 * it out in pieces of some milliseconds. */
static const double TELLING = 0.02;

void
probe_budget_init(probe_budget *b, double now, double cpu, double seconds)
{
    *b = (probe_budget){.start = now, .cpu_start = cpu, .until = now + seconds};
}

double
probe_budget_left(const probe_budget *b, double now, double cpu)
{
    double had = cpu - b->cpu_start, passed = now - b->start;
    /* A moment that all of the core is had, so that the first piece that it is
     * not does not decide. */
    double part = (had + TELLING) / (passed + TELLING);

    return now < b->until ? part * (b->until - now) : 0;
}
