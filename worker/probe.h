/* SPDX-License-Identifier: Apache-2.0 */
/* What the ranks of a world can do, measured as they start: the numbers of
 * sched/cost.h for this model on these devices and links.
 *
 * All ranks measure at the same time, so that what they share (memory, cores,
 * a network card) is shared while it is measured.  A rank takes less than a
 * second, 0.55 s for cells and 0.36 s for links of 10 Mbit/s or more, and on a
 * core that others have, too, it measures less and not longer: cells of
 * the model's own shape are run where one of them is done in time, and shorter
 * segments otherwise, from which full ones follow by their FLOPs. What cannot
 * be measured is left zero, which cost_rank_is_sane() and cost_link_is_sane()
 * find; it is never a failure of the world. */
#ifndef WORKER_PROBE_H
#define WORKER_PROBE_H

#include "kernels/kernel.h"
#include "model/config.h"
#include "sched/cost.h"
#include "worker/comm.h"

typedef struct probe_rank {
    cost_rank rank;
    cost_link link; /* to the next rank, of the last one to rank 0 */
    double seconds; /* that measuring took */
} probe_rank;

/* Up to 8 layers with weights of their own on the device: flops, half_rows,
 * last_times and kind; memory stays as it is.  `own_core`: as probe_rig_open().
 * Blocks. */
status probe_cells(cost_rank *out, kernel_device *dev, const model_config *cfg,
                   bool own_core) MUST_USE;

/* Latency and bandwidth of each rank's link to its successor, and what a byte
 * takes of either rank's CPU time: out is this rank's.  All of them shall take
 * no longer than until `end` (clock_seconds()).  Collective. */
status probe_links(cost_link *out, comm *c, double end) MUST_USE;

/* Both, gathered: all[size] is filled on rank 0 alone.  `bytes`: of memory that
 * this rank may use.  Collective; fails only where messages do. */
status probe_world(probe_rank *all, comm *c, kernel_device *dev,
                   const model_config *cfg, double bytes) MUST_USE;

#endif
