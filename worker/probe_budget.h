/* SPDX-License-Identifier: Apache-2.0 */
/* What there is time for yet, of a measurement that ends in time on whatever
 * core it runs.
 *
 * Work is known by the CPU time that it takes; on a core that others have, too,
 * it lasts longer, as all that has run so far has.  Pure: the clocks are the
 * caller's. */
#ifndef WORKER_PROBE_BUDGET_H
#define WORKER_PROBE_BUDGET_H

#include <stdbool.h>

typedef struct probe_budget {
    double start, cpu_start; /* of both clocks, seconds */
    double until;
} probe_budget;

/* `now` and `cpu` of the two clocks; work shall end `seconds` later. */
void probe_budget_init(probe_budget *b, double now, double cpu, double seconds);
/* Seconds of work that there is time for, not below 0. */
double probe_budget_left(const probe_budget *b, double now, double cpu);

#endif
