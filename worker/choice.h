/* SPDX-License-Identifier: Apache-2.0 */
/* Which placement the ranks of a world take, how they divide the layers, and
 * how many replicas they are.
 *
 * Decided once and on rank 0, by simulation of both placements (sched/choose.h)
 * with what the ranks measured as they started, and told to all.  A placement
 * that was named is taken without a look at the clock: "layers", "segments",
 * or a division, "layers:5,3".  Where nothing can be told from the
 * measurements, place_parse()'s rule of thumb is taken. */
#ifndef WORKER_CHOICE_H
#define WORKER_CHOICE_H

#include "base/jsonout.h"
#include "model/weights.h"
#include "sched/choose.h"
#include "worker/probe.h"

/* The work that the choice is made for. */
typedef struct choice_job {
    uint32_t n_stream; /* documents at once, of all replicas */
    uint64_t n_seg;    /* segments of each */
    bool logits;       /* of every token are wanted */
    bool all_rows;     /* of the last layer are computed, as for logits */
} choice_job;

typedef struct choice {
    bool automatic; /* the simulations decided */
    uint32_t *ends; /* [size] of the place; NULL: even */
    uint32_t n_replica;
    /* of rank 0 alone: */
    uint32_t size;   /* ranks */
    cost_rank *rank; /* [size] measured, or NULL */
    cost_link *link; /* [size] */
    double seconds;  /* that the slowest rank took to measure */
    bool sane;       /* plans can be made of the measurements */
    bool fits[2];    /* by place_kind: plan[] is set and fits */
    plan plan[2];
    double level[2]; /* see choose */
} choice;

typedef struct choice_args {
    comm *comm;
    kernel_device *dev;
    const model_config *cfg;
    const char *dir; /* of the model */
    weights_want want;
    const char *name; /* of the placement that is asked for */
    double memory;    /* bytes that this rank may use; 0: what the device has */
    bool measure;     /* also where nothing is to be decided */
    bool replicas;    /* may be chosen, too */
} choice_args;

/* Sets p->kind and p->ends, which point into `c`, and where replicas are chosen
 * what place_deal() sets.  Collective.  ST_LIMIT: the
 * model fits on no division; says how many ranks would do. */
status choice_make(choice *c, place *p, const choice_args *args,
                   const choice_job *job) MUST_USE;
void choice_fini(choice *c);

/* In short, on the lead: FLOP/s of all ranks, the slowest and the farthest link
 * (0: there is none, or nothing was measured). */
void choice_sum(const choice *c, double *flops, cost_link *link);

/* The lead's measurements and plans as an object "plan"; nothing without. */
void choice_add_json(const choice *c, jsonout *j);

#endif
