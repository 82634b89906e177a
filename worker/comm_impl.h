/* SPDX-License-Identifier: Apache-2.0 */
/* Inside comm: what its files that call MPI share; the only includer of mpi.h.
 * Not for anybody else.
 *
 *   comm_mpi.c      ranks, collectives, messages
 *   comm_survive.c  what follows the death of a rank */
#ifndef WORKER_COMM_IMPL_H
#define WORKER_COMM_IMPL_H

#include <mpi.h>
#if defined(OPEN_MPI) && defined(__has_include)
#if __has_include(<mpi-ext.h>)
#include <mpi-ext.h>
#endif
#endif

#include "worker/comm_survive.h"

struct comm {
    bool started; /* MPI_Init was called here */
    MPI_Comm world, host;
    uint32_t rank, size, local_rank, local_size;
    size_t piece; /* bytes of one at most */
    bool takes_device;
    bool survives;     /* a rank's death */
    bool given_up;     /* all requests are void */
    bool shrunk;       /* MPI_Finalize would wait for the dead */
    MPI_Request *open; /* [n_open], where it survives: not yet done */
    size_t n_open, room;
};

#define MPI_TRY(call) TRY(comm_mpi_status((call), #call))

/* What MPI says of a call, logged. */
status comm_mpi_status(int code, const char *call) MUST_USE;
/* Sets up c->world, a communicator of this project's.  Collective. */
status comm_mpi_settle_in(comm *c) MUST_USE;

#endif
