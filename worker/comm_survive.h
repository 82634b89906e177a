/* SPDX-License-Identifier: Apache-2.0 */
/* Inside comm: what follows the death of a rank.  comm.h is the manual of its
 * other functions.
 *
 * comm_survive.c is for an MPI that lets the ranks that are left go on,
 * comm_mortal.c for all else, where a death ends all. */
#ifndef WORKER_COMM_SURVIVE_H
#define WORKER_COMM_SURVIVE_H

#include "worker/comm.h"

enum { COMM_SURVIVE_S = 30 }; /* for what waits for all ranks that are left */

/* At start-up: finds out whether a death is survived (comm_survives()), the
 * same on all ranks.  Collective. */
status comm_survive_find(comm *c) MUST_USE;

#endif
