/* SPDX-License-Identifier: Apache-2.0 */
/* How a loop without work waits: politely, in growing steps.
 *
 * Polling is the only way to hear of an MPI message, and ranks may outnumber
 * cores.  While a stream is open and the next message is near, a loop that
 * found nothing gives the core away and asks again for 100 us at most; then it
 * sleeps 50 us, and longer each time, up to 200 us.  Without a stream it
 * sleeps at once, up to 1.5 ms.  A value; zeroed is ready. */
#ifndef WORKER_IDLE_H
#define WORKER_IDLE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct idle {
    uint64_t since_ns; /* without work, 0: no longer than this call */
    uint32_t us;       /* last sleep */
} idle;

/* Something happened: start anew. */
void idle_reset(idle *i);
/* Microseconds to sleep at clock_ns() `now`, 0: give the core away for a moment
 * only. */
uint32_t idle_next(idle *i, bool near, uint64_t now);
/* Sleeps that long. */
void idle_wait(idle *i, bool near);

#endif
