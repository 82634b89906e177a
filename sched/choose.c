/* SPDX-License-Identifier: Apache-2.0 */
/* Both placements, with and without replicas. */
#include "sched/choose.h"

#include "base/mem.h"

/* Of the time without replicas, what they may take to be worth it. */
static const double SOONER = 0.9;

/* Ranks of one kind that are as unequal were measured in a bad moment of some
 * of them: a core that something else works on, too, is slower by up to 1.7. */
static const double UNEQUAL = 1.05, APART = 1.8;

/* ------------------------------------------------------------- one rate --- */

/* The mean rate where ranks of one kind were not equally fast, by no more than
 * a moment makes; else 0. */
static double
mean_rate(const plan_job *job)
{
    const cost_rank *first = cost_rank_of(job->cluster, 0);
    double least = first->flops, most = least, sum = 0;

    for (uint32_t i = 0; i < job->n_rank; i++) {
        const cost_rank *r = cost_rank_of(job->cluster, i);
        least = r->flops < least ? r->flops : least;
        most = r->flops > most ? r->flops : most;
        sum += r->flops;
        if (r->kind == 0 || r->kind != first->kind)
            return 0;
    }
    return most > UNEQUAL * least && most < APART * least ? sum / job->n_rank
                                                          : 0;
}

/* Seconds by placement if all ranks had that rate. */
static status
try_level(double seconds[2], const plan_job *job, uint32_t n_rank, double rate)
{
    cost_cluster level = *job->cluster;
    plan_job other = *job;
    cost_rank *ranks = NULL;
    uint32_t *ends = NULL;
    status st = ST_OK;

    TRY(mem_new(&ranks, job->n_rank, sizeof *ranks));
    TRY(mem_new(&ends, n_rank, sizeof *ends));
    for (uint32_t i = 0; i < job->n_rank; i++) {
        ranks[i] = *cost_rank_of(job->cluster, i);
        ranks[i].flops = rate;
    }
    level.ranks = ranks;
    other.cluster = &level;
    /* Layers are divided by what was measured. */
    TRY(plan_divide(ends, job, n_rank));
    other.ends = ends;
    for (uint32_t kind = 0; kind < 2; kind++) {
        plan p = {0};
        TRY(plan_try(&p, &other, (place_kind)kind, n_rank));
        seconds[kind] = p.result.seconds;
    }
fail:
    mem_free(ends);
    mem_free(ranks);
    return st;
}

/* ------------------------------------------------------------ placement --- */

/* What a placement takes at most beside the better one, over what was measured
 * and what else may be. */
static double
loss(const choose *c, place_kind kind)
{
    place_kind other = kind == PLACE_LAYERS ? PLACE_SEGMENTS : PLACE_LAYERS;
    double now = c->plan[kind].result.seconds / c->plan[other].result.seconds;
    double then = c->level[kind] / c->level[other];

    return now > then ? now : then;
}

/* Both fit.  Of ranks that were not equally fast when they were measured, as a
 * core is that serves others too for a while, layers would be divided and the
 * placement chosen by that moment: the one that loses less if they are equal
 * after all is taken. */
static status
safer(choose *c, const plan_job *job, uint32_t n_rank)
{
    double rate = mean_rate(job);
    status st = ST_OK;

    c->placement = plan_sooner(&c->plan[PLACE_SEGMENTS], &c->plan[PLACE_LAYERS])
                       ? PLACE_SEGMENTS
                       : PLACE_LAYERS;
    if (rate <= 0 || n_rank == 1)
        return ST_OK;
    TRY(try_level(c->level, job, n_rank, rate));
    double layers = loss(c, PLACE_LAYERS), segments = loss(c, PLACE_SEGMENTS);
    if (layers < segments)
        c->placement = PLACE_LAYERS;
    else if (segments < layers)
        c->placement = PLACE_SEGMENTS;
fail:
    return st;
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
    if (!c.fits[PLACE_LAYERS] && !c.fits[PLACE_SEGMENTS])
        return plan_refuse(&each, &c.plan[PLACE_LAYERS]);
    if (c.fits[PLACE_LAYERS] && c.fits[PLACE_SEGMENTS])
        TRY(safer(&c, &each, job->n_rank / n));
    else
        c.placement = c.fits[PLACE_LAYERS] ? PLACE_LAYERS : PLACE_SEGMENTS;
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
