/* SPDX-License-Identifier: Apache-2.0 */
/* Trying ways to deal out ranks. */
#include "sched/plan.h"

static uint32_t
ceil_div(uint32_t a, uint32_t b)
{
    return a / b + (a % b != 0);
}

/* Sums over all ranks, from the fullest world's: cells and bytes go with the
 * documents. */
static void
widen(plan *p, const plan_job *job, uint32_t n_doc)
{
    simulate_result *r = &p->result;
    double all = (double)job->n_doc / n_doc;
    double rank_seconds = job->n_rank * r->seconds;

    r->busy *= all * p->n_rank / job->n_rank;
    r->bytes *= all;
    r->n_cell = (uint64_t)job->n_doc * job->n_seg * job->model->n_layer;
    r->efficiency = (double)r->n_cell * job->model->cell_flops /
                    (rank_seconds * job->cluster->rank.flops);
}

status
plan_try(plan *out, const plan_job *job, place_kind placement, uint32_t n_rank)
{
    plan p = {.placement = placement, .n_rank = n_rank};
    status st = ST_OK;

    if (n_rank == 0 || job->n_rank % n_rank != 0)
        return status_fail(ST_ARG, "worlds of %u ranks do not divide %u",
                           n_rank, job->n_rank);
    p.n_world = job->n_rank / n_rank;
    uint32_t n_doc = ceil_div(job->n_doc, p.n_world);
    simulate_config cfg = {.model = job->model,
                           .cluster = job->cluster,
                           .placement = placement,
                           .n_rank = n_rank,
                           .n_doc = n_doc,
                           .n_stream = job->n_stream,
                           .n_seg = job->n_seg};
    TRY(simulate_run(&p.result, &cfg));
    widen(&p, job, n_doc);
    p.fits = p.result.memory <= job->cluster->rank.memory;
    *out = p;
fail:
    return st;
}

/* Ranks of one world that can have work at once: a rank a layer, or a rank for
 * every cell that its documents have ready. */
static uint64_t
useful_ranks(const plan_job *job, place_kind placement)
{
    uint64_t n_layer = job->model->n_layer;
    uint64_t depth = n_layer < job->n_seg ? n_layer : job->n_seg;

    return placement == PLACE_LAYERS ? n_layer : depth * job->n_stream;
}

bool
plan_sooner(const plan *a, const plan *b)
{
    if (a->result.seconds < b->result.seconds)
        return true;
    return a->result.seconds <= b->result.seconds &&
           a->result.bytes < b->result.bytes;
}

status
plan_best(plan *out, const plan_job *job, place_kind placement)
{
    plan best = {0}, p = {0};
    double least = 0;
    bool found = false;
    status st = ST_OK;

    for (uint32_t n = 1; n <= job->n_rank; n++) {
        if (job->n_rank % n != 0 || n > useful_ranks(job, placement))
            continue;
        TRY(plan_try(&p, job, placement, n));
        least = n == 1 || p.result.memory < least ? p.result.memory : least;
        if (!p.fits || (found && !plan_sooner(&p, &best)))
            continue;
        best = p;
        found = true;
    }
    if (!found)
        return status_fail(ST_LIMIT,
                           "placement %s needs %.1f GB of memory a rank at the "
                           "least on %u ranks, and a rank has %.1f GB",
                           place_name(placement), least * 1e-9, job->n_rank,
                           job->cluster->rank.memory * 1e-9);
    *out = best;
fail:
    return st;
}

status
plan_auto(plan *out, const plan_job *job)
{
    plan layers = {0}, segments = {0};
    status by_segments = plan_best(&segments, job, PLACE_SEGMENTS);
    status by_layers = plan_best(&layers, job, PLACE_LAYERS);

    if (by_layers != ST_OK && by_segments != ST_OK)
        return by_layers;
    if (by_layers != ST_OK)
        *out = segments;
    else if (by_segments != ST_OK)
        *out = layers;
    else
        *out = plan_sooner(&layers, &segments) ? layers : segments;
    return ST_OK;
}
