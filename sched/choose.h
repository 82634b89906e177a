/* SPDX-License-Identifier: Apache-2.0 */
/* What a world of given ranks does with its documents: placement and replicas.
 * Pure. */
#ifndef SCHED_CHOOSE_H
#define SCHED_CHOOSE_H

#include "sched/plan.h"

typedef struct choose {
    uint32_t n_replica;
    place_kind placement;
    bool fits[2]; /* by place_kind */
    plan plan[2]; /* with these replicas; set where the other fits, too */
    /* Seconds by place_kind if all ranks had their mean rate; 0: both do not
     * fit, or ranks are equally fast, or of several kinds. */
    double level[2];
} choose;

/* The sooner placement that fits for job->n_doc documents, all of them open at
 * once and dealt out to the replicas (job->n_stream is not looked at).  Where
 * ranks of one kind were not equally fast when they were measured, the one that
 * loses less, at most, if they are so or if they are equal after all.
 * n_replica 0: one, or as many as divide the ranks and have a document each,
 * where all documents together are read 10 % sooner with them, since each of
 * them is read later.  ST_LIMIT as plan_refuse(): neither placement fits. */
status choose_plan(choose *out, const plan_job *job,
                   uint32_t n_replica) MUST_USE;

#endif
