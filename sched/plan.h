/* SPDX-License-Identifier: Apache-2.0 */
/* Which placement and how many worlds read a set of documents soonest.
 *
 * The ranks of a cluster are dealt out to worlds of equal size, each with the
 * whole model (replicas); documents go to the worlds in turn.  A plan is the
 * simulation of the world that has the most of them. */
#ifndef SCHED_PLAN_H
#define SCHED_PLAN_H

#include "sched/simulate.h"

typedef struct plan_job {
    const cost_model *model;
    const cost_cluster *cluster;
    uint32_t n_rank;      /* used of the cluster */
    uint32_t n_doc;       /* documents in all */
    uint32_t n_stream;    /* read at once by one world */
    uint64_t n_seg;       /* segments of each */
    uint64_t cap_seg;     /* simulated of these at most, the rest is a straight
                             line, some 3 % long at 256; 0: all */
    const uint32_t *ends; /* of layers, for worlds of all ranks of a replica;
                             NULL: as plan_divide() says */
} plan_job;

typedef struct plan {
    place_kind placement;
    uint32_t n_rank; /* of one world */
    uint32_t n_world;
    bool fits;              /* in the memory of each rank */
    simulate_result result; /* seconds, groups, path: of the fullest world;
                               cells, bytes, busy, efficiency: of all ranks */
} plan;

/* Whether `a` reads the documents sooner than `b`, or as soon with fewer bytes
 * moved. */
bool plan_sooner(const plan *a, const plan *b);

/* How the first n_rank ranks of the job's cluster share the layers:
 * ends[n_rank] of a place.  Even unless an unequal
 * division saves 5 %.
 * ST_LIMIT: there is not room for all. */
status plan_divide(uint32_t *ends, const plan_job *job,
                   uint32_t n_rank) MUST_USE;

/* One way.  ST_ARG: worlds of n_rank ranks do not divide the job's. */
status plan_try(plan *out, const plan_job *job, place_kind placement,
                uint32_t n_rank) MUST_USE;

/* ST_LIMIT, for a plan that does not fit: how much a rank needs, on how many
 * ranks and in how many replicas, what there is, and how many ranks would do.
 */
status plan_refuse(const plan_job *job, const plan *p) MUST_USE;

/* The soonest that fits, of `placement` with worlds of every size that
 * divides the job's ranks and can have work for each of its ranks.  ST_LIMIT:
 * none fits, as plan_refuse() says for the one that needs the least. */
status plan_best(plan *out, const plan_job *job, place_kind placement) MUST_USE;

/* Cells that plan_best() simulates, which is what it costs. */
double plan_cells(const plan_job *job, place_kind placement);

/* The sooner of both placements; fewer bytes among equals. */
status plan_auto(plan *out, const plan_job *job) MUST_USE;

#endif
