/* SPDX-License-Identifier: Apache-2.0 */
/* The lead's desk: messages of the daemon to errands, events of the world to
 * errands.  Main thread of the lead. */
#ifndef WORKER_DESK_H
#define WORKER_DESK_H

#include "worker/errand.h"
#include "worker/uplink.h"

typedef struct desk desk;

/* `n_errand`: streams of the world.  The line and the world outlive it. */
status desk_new(desk **out, world *w, uplink *u, const errand_shape *shape,
                uint32_t n_errand) MUST_USE;
void desk_free(desk *d);
/* Takes what has come, and lets every errand make a step. */
status desk_turn(desk *d, bool *busy) MUST_USE;
uint32_t desk_busy(const desk *d); /* errands under way */

#endif
