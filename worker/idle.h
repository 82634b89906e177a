/* SPDX-License-Identifier: Apache-2.0 */
/* How a loop without work waits: politely, in growing steps.
 *
 * Polling is the only way to hear of an MPI message, and ranks may outnumber
 * cores.  So a loop that found nothing first yields, then sleeps 50 us, and
 * longer each time: up to 200 us while a stream is open and the next message
 * is near, up to 1.5 ms otherwise.  A value; zeroed is ready. */
#ifndef WORKER_IDLE_H
#define WORKER_IDLE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct idle {
    uint32_t n_turn; /* without work, saturating */
    uint32_t us;     /* last sleep */
} idle;

/* Something happened: start anew. */
void idle_reset(idle *i);
/* Microseconds to sleep now, 0: give the core away for a moment only. */
uint32_t idle_next(idle *i, bool near);
/* Sleeps that long. */
void idle_wait(idle *i, bool near);

#endif
