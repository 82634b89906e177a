/* SPDX-License-Identifier: Apache-2.0 */
/* Which program a rank runs: its version, and which build of that. */
#ifndef WORKER_BUILD_H
#define WORKER_BUILD_H

#include "worker/comm.h"

/* Collective: ST_ARG unless all ranks run one version, and one build of it, for
 * headers travel as they lie in memory (world_wire.h).  A build is known by the
 * id that the linker left in the running program; where no rank has one,
 * versions alone are compared. */
status build_same(comm *c) MUST_USE;

#endif
