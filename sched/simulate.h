/* SPDX-License-Identifier: Apache-2.0 */
/* A world in simulated time: what a placement would take on a cluster.
 *
 * The ranks of the simulation run the wavefront that real ranks run, fed and
 * slowed down as worker/ does it: a rank holds a bounded number of segments a
 * stream, hops leave a rank in order and one at a time, a hidden state needs a
 * free slot at its receiver.  Only time is simulated: a group takes what
 * sched/cost.h says, a hop the transfer on its link and the link's latency,
 * and both overlap but for what a hop takes of its ranks' own time.  Token ids,
 * which the lead hands out, cost nothing.
 *
 * Pure: no clock, no I/O, no randomness. */
#ifndef SCHED_SIMULATE_H
#define SCHED_SIMULATE_H

#include "sched/cost.h"
#include "sched/wavefront.h"

typedef struct simulate_config {
    const cost_model *model;
    const cost_cluster *cluster; /* ranks 0 .. n_rank - 1 of it are used */
    place_kind placement;
    const uint32_t *ends; /* of the place: how layers are divided */
    wavefront_order order;
    uint32_t n_rank; /* of one world */
    uint32_t n_doc;  /* documents, read one after the other by n_stream */
    uint32_t n_stream;
    uint64_t n_seg;    /* segments of each, all of them full */
    uint32_t max_cell; /* 0: no limit */
} simulate_config;

/* Where the time of the longest chain of causes went; sums up to seconds. */
typedef struct simulate_path {
    double compute, transfer, latency, wait;
} simulate_path;

typedef struct simulate_result {
    double seconds;               /* until the last document is read */
    uint64_t n_group_first;       /* of rank 0 */
    uint64_t n_group;             /* of the rank with the most */
    uint64_t n_group_all, n_cell; /* of all ranks */
    double bytes;                 /* moved between ranks */
    double busy;       /* of rank-seconds, the part in which groups ran */
    double efficiency; /* cost_useful() / (cost_flops() x seconds), at most 1 */
    double memory;     /* bytes of the fullest rank */
    simulate_path path;
} simulate_result;

/* ST_ARG: nothing to do, or more ranks than the cluster has.  ST_STATE: the
 * world stands still with work left, which would be a fault of sched/. */
status simulate_run(simulate_result *out, const simulate_config *cfg) MUST_USE;

#endif
