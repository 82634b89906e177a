/* SPDX-License-Identifier: Apache-2.0 */
/* Ranks and messages between them: the owner of MPI.
 *
 * Only non-blocking point-to-point after start-up; the few collectives are
 * for start and end and say so.  Only the main thread calls
 * (MPI_THREAD_FUNNELED).  Alone (no launcher, or a build without MPI) there is
 * one rank and nothing of MPI is touched. */
#ifndef WORKER_COMM_H
#define WORKER_COMM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef struct comm comm;

/* Pieces below INT_MAX that a long message is cut into, of a MiB or more. */
enum { COMM_MAX_PIECE = 16 };

typedef struct comm_request {
    uint32_t n_piece; /* 0: idle */
    uint32_t n_done;
    void *piece[COMM_MAX_PIECE];
} comm_request;

/* Starts MPI when a launcher (mpirun, srun) started this process; the
 * launcher's arguments are taken out of argv. */
status comm_open(comm **out, int *argc, char ***argv) MUST_USE;
/* Ends MPI; collective.  NULL is fine.  Where comm_survives(), a rank that
 * waits for the others for longer than half a minute is ended by SIGALRM. */
void comm_close(comm *c);
/* Ends all ranks now with this exit status: only when they cannot be brought
 * to an orderly end.  Does not return where there is MPI. */
void comm_abort(comm *c, int exit_status);

/* Whether the ranks that are left can go on after one has died, the same on all
 * of them: Open MPI 5 under `mpirun --with-ft ulfm`. */
bool comm_survives(const comm *c);
/* Whether this rank knows of a death; false where none is survived.  Looked at
 * after a call has failed: it says why, and that all later ones will fail, on
 * every rank soon.  Not collective, never blocks. */
bool comm_has_lost(comm *c);
/* Both by all ranks that are left, after comm_has_lost(), in this order.
 * comm_give_up() ends what is under way: on return every request is idle to
 * comm_test() and its memory is the caller's again.  comm_shrink() then makes
 * the ranks that are left those of `c`, numbered anew in their order. Blocking;
 * a rank that is not through after half a minute is ended by SIGALRM.  After a
 * failure only comm_abort() is left. */
status comm_give_up(comm *c) MUST_USE;
status comm_shrink(comm *c) MUST_USE;

/* Bytes of a piece at most (at most and by default 2^30), the same on all
 * ranks; for tests.  They are cut smaller where COMM_MAX_PIECE allows. */
void comm_piece_set(comm *c, size_t bytes);

/* Collective: the ranks that name the same group, in order, by themselves; for
 * tests.  Closed before `c`. */
status comm_split(comm **out, comm *c, uint32_t group) MUST_USE;

/* Whether messages may lie in a GPU's memory (kernel_buf_device()): what MPI
 * says of itself, or what was set, for tests. */
bool comm_takes_device(const comm *c);
void comm_takes_device_set(comm *c, bool takes);

uint32_t comm_rank(const comm *c);
uint32_t comm_size(const comm *c);
uint32_t comm_local_rank(const comm *c); /* among the ranks of this host */
uint32_t comm_local_size(const comm *c);

/* Collective, blocking, for start-up.  Every rank gets ST_OK if all gave
 * ST_OK, else the status and sentence of the lowest failing rank. */
status comm_agree(comm *c, status st) MUST_USE;
/* Collective: ST_ARG naming `what` and the first other rank unless all ranks
 * have the same bytes. */
status comm_same(comm *c, const char *what, const void *data,
                 size_t len) MUST_USE;

/* Collective: every rank gets what rank 0 has in data[len]. */
status comm_share(comm *c, void *data, size_t len) MUST_USE;

/* Enqueue-only.  `sync`: complete only once the receiver has posted (so a
 * sender is never further ahead than its receiver allows).  Memory stays
 * untouched until comm_test() says done.  Messages of one (peer, tag) arrive
 * in order; sender and receiver name the same length. */
status comm_isend(comm *c, comm_request *req, uint32_t peer, int tag,
                  const void *data, size_t len, bool sync) MUST_USE;
status comm_irecv(comm *c, comm_request *req, uint32_t peer, int tag,
                  void *data, size_t len) MUST_USE;
/* Never blocks; makes progress.  An idle request is done. */
status comm_test(comm *c, comm_request *req, bool *done) MUST_USE;
/* A turn for MPI, which does nothing between calls; never blocks. */
void comm_turn(comm *c);
/* Cancels a receive that nothing has matched; for the end only. */
void comm_cancel(comm *c, comm_request *req);

#endif
