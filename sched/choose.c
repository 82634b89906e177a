/* SPDX-License-Identifier: Apache-2.0 */
/* Both placements, with and without replicas. */
#include "sched/choose.h"

/* Of the time without replicas, what they may take to be worth it. */
static const double SOONER = 0.9;

/* The better of the two that fits; NULL: none does. */
static const plan *
better(const choose *c)
{
    const plan *layers = &c->plan[PLACE_LAYERS];
    const plan *segments = &c->plan[PLACE_SEGMENTS];

    if (!c->fits[PLACE_LAYERS])
        return c->fits[PLACE_SEGMENTS] ? segments : NULL;
    if (!c->fits[PLACE_SEGMENTS])
        return layers;
    return plan_sooner(segments, layers) ? segments : layers;
}

/* ST_LIMIT: neither fits; the sentence is that of layers, which need less. */
static status
try_replicas(choose *out, const plan_job *job, uint32_t n)
{
    choose c = {.n_replica = n};
    plan_job each = *job;
    status st = ST_OK;

    each.n_stream = (job->n_doc + n - 1) / n;
    for (uint32_t kind = 0; kind < 2; kind++) {
        TRY(plan_try(&c.plan[kind], &each, (place_kind)kind, job->n_rank / n));
        c.fits[kind] = c.plan[kind].fits;
    }
    const plan *p = better(&c);
    if (p == NULL)
        return plan_refuse(&each, &c.plan[PLACE_LAYERS]);
    c.placement = p->placement;
    *out = c;
fail:
    return st;
}

status
choose_plan(choose *out, const plan_job *job, uint32_t n_replica)
{
    choose best = {0}, c = {0};
    status st = ST_OK;

    TRY(try_replicas(&best, job, n_replica > 0 ? n_replica : 1));
    double least = SOONER * best.plan[best.placement].result.seconds;
    uint32_t most = n_replica > 0 ? 1 : job->n_rank;
    for (uint32_t n = 2; n <= most && n <= job->n_doc; n++) {
        if (job->n_rank % n != 0)
            continue;
        if (try_replicas(&c, job, n) != ST_OK)
            break; /* more of them need more memory each */
        if (c.plan[c.placement].result.seconds >= least)
            continue;
        least = c.plan[c.placement].result.seconds;
        best = c;
    }
    *out = best;
fail:
    return st;
}
