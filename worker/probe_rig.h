/* SPDX-License-Identifier: Apache-2.0 */
/* Some layers of a model between two borders, whose groups are timed.
 *
 * Cells of different layers follow each other, as they do in a world, so that a
 * cache keeps as much of their weights as it does there.  The last of several
 * layers computes no more than the last one of a model does when it reads.
 *
 * Where a rank is one thread with a core of its own, seconds of work are those
 * of its CPU time: what else runs on the core for a moment, a daemon that wakes
 * up or the start of another rank, is none of the core's pace. */
#ifndef WORKER_PROBE_RIG_H
#define WORKER_PROBE_RIG_H

#include "worker/engine.h"
#include "worker/probe_budget.h"

enum { PROBE_RIG_CELLS = 32 }; /* of a group at most */

typedef struct probe_rig {
    kernel_device *dev;
    const model_config *cfg;
    engine *e;
    uint32_t layer, n_layer;
    uint32_t n_cell;  /* of a large group: cells of as many streams */
    uint32_t ends[3]; /* the layers between two borders */
    bool own_core;    /* seconds are of CPU time */
    probe_budget budget;
    uint64_t n_fed[PROBE_RIG_CELLS]; /* segments that each stream was given */
} probe_rig;

/* Seconds of a group; `last`: of the last of several layers, else 0. */
typedef struct probe_rig_times {
    double group, last;
} probe_rig_times;

/* Borrows both.  All of it, opening included, shall take `seconds`, but not
 * less than 0.3 s behind opening.  `own_core`: no other rank shares this one's.
 * On failure, too, probe_rig_close() is called. */
status probe_rig_open(probe_rig *p, kernel_device *dev, const model_config *cfg,
                      bool own_core, double seconds) MUST_USE;
void probe_rig_close(probe_rig *p);
/* Seconds of work that there is time for yet. */
double probe_rig_left(const probe_rig *p);

/* The middle ones of groups of n_cell cells of segments like `one`, run for
 * `enough` seconds or until the time is up, at least once, after some that do
 * not count.  Blocks. */
status probe_rig_time(probe_rig *p, uint32_t n_cell, const engine_segment *one,
                      double enough, probe_rig_times *out) MUST_USE;

/* Of one full segment at as many layers as there is time for, at least one.
 * The last thing that is run: the segment is left where it is.  Blocks. */
status probe_rig_time_once(probe_rig *p, double *seconds) MUST_USE;

#endif
