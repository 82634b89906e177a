/* SPDX-License-Identifier: Apache-2.0 */
/* A team of threads, each on a core of its own.
 *
 * The only place that knows OpenMP.  The calling thread is thread 0 of the
 * team: it is pinned while the team runs and afterwards gets its mask back, so
 * that threads it starts later are not caught on one core. */
#ifndef KERNELS_CPU_PARALLEL_H
#define KERNELS_CPU_PARALLEL_H

#include <stdint.h>

#include "base/status.h"

typedef struct parallel parallel;

/* `n_thread` threads (0: one for each core that this process may use) on cores
 * of the allowed set, starting behind those that `local_rank` earlier ranks
 * take; cores are shared when there are too few. */
status parallel_new(parallel **out, uint32_t n_thread,
                    uint32_t local_rank) MUST_USE;
void parallel_free(parallel *p);

uint32_t parallel_threads(const parallel *p);
uint32_t parallel_cores(const parallel *p); /* distinct ones */

/* fn(ctx, thread) on every thread; returns when all are done.  The system may
 * grant fewer threads: fn must not count on all of them. */
typedef void parallel_fn(void *ctx, uint32_t thread);
void parallel_run(parallel *p, parallel_fn *fn, void *ctx);

/* Inside fn, in a loop that waits for another thread: the n-th turn of it. */
void parallel_relax(uint32_t turn);

#endif
