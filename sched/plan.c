/* SPDX-License-Identifier: Apache-2.0 */
/* Trying ways to deal out ranks. */
#include "sched/plan.h"

#include <stdio.h>

#include "base/mem.h"

/* An unequal division is taken when it needs at most so much of the even one's
 * time. */
static const double ENOUGH = 0.95;

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

    r->busy *= all * p->n_rank / job->n_rank;
    r->bytes *= all;
    r->n_cell = (uint64_t)job->n_doc * job->n_seg * job->model->n_layer;
    double useful = job->n_doc * cost_useful(job->model, job->cluster,
                                             job->n_rank, job->n_seg);
    r->efficiency =
        useful / (r->seconds * cost_flops(job->cluster, job->n_rank));
}

/* Layers that a rank has room for, beside the ends that it may have. */
static uint32_t
room(const plan_job *job, const cost_rank *r, const place *p)
{
    const cost_model *m = job->model;
    double ends = p->size > 1 ? m->ends_bytes / 2 : m->ends_bytes;
    double slots = (double)job->n_stream * m->x_bytes;
    double each = m->layer_bytes + job->n_stream * m->state_bytes + slots;
    double n = (r->memory - ends - 2 * slots) / each;

    if (n < 0)
        return 0;
    return n < m->n_layer ? (uint32_t)n : m->n_layer;
}

/* Seconds a segment of the slowest rank; 0: one has no room for its layers. */
static double
slowest(const place *p, const double *layer_s, const uint32_t *most,
        double tail_s)
{
    double worst = 0;

    for (uint32_t rank = 0; rank < p->size; rank++) {
        uint32_t first = 0, n = 0;
        place_layers(p, rank, &first, &n);
        double t = n * layer_s[rank];
        if (n > most[rank])
            return 0;
        if (n > 0 && first + n == p->n_layer)
            t += tail_s;
        worst = t > worst ? t : worst;
    }
    return worst;
}

/* What was measured is not so exact that a layer should move for a few per
 * cent. */
static void
settle(uint32_t *ends, const place *p, const double *layer_s,
       const uint32_t *most, double tail_s)
{
    place unequal = *p;

    unequal.ends = ends;
    double even_s = slowest(p, layer_s, most, tail_s);
    if (even_s <= 0 ||
        slowest(&unequal, layer_s, most, tail_s) < ENOUGH * even_s)
        return;
    for (uint32_t rank = 0, sum = 0; rank < p->size; rank++) {
        uint32_t first = 0, n = 0;
        place_layers(p, rank, &first, &n);
        ends[rank] = sum += n;
    }
}

status
plan_divide(uint32_t *ends, const plan_job *job, uint32_t n_rank)
{
    const cost_model *m = job->model;
    const place p = {.n_layer = m->n_layer, .size = n_rank};
    uint32_t last = (n_rank < m->n_layer ? n_rank : m->n_layer) - 1;
    double *layer_s = NULL;
    uint32_t *most = NULL;
    status st = ST_OK;

    TRY(mem_new(&layer_s, n_rank, sizeof *layer_s));
    TRY(mem_new(&most, n_rank, sizeof *most));
    for (uint32_t i = 0; i < n_rank; i++) {
        const cost_rank *r = cost_rank_of(job->cluster, i);
        layer_s[i] = cost_group(m, r, 1, 0);
        most[i] = room(job, r, &p);
    }
    const cost_rank *r = cost_rank_of(job->cluster, last);
    double tail_s =
        m->head_flops / r->flops + cost_group(m, r, 1, 1) - layer_s[last];
    TRY(place_divide(ends, &p, layer_s, most, tail_s));
    settle(ends, &p, layer_s, most, tail_s);
fail:
    mem_free(most);
    mem_free(layer_s);
    return st;
}

/* As of the simulations of a and b segments, both in the steady state. */
static double
line(double at_a, double at_b, uint64_t a, uint64_t b, uint64_t n)
{
    return at_b + (at_b - at_a) * ((double)(n - b) / (double)(b - a));
}

static uint64_t
count_line(uint64_t at_a, uint64_t at_b, uint64_t a, uint64_t b, uint64_t n)
{
    return (uint64_t)(line((double)at_a, (double)at_b, a, b, n) + 0.5);
}

/* Simulates cfg, or where it has more than `cap` segments, half as many and
 * `cap`: from there on every segment takes as long as the one before. */
static status
simulate(simulate_result *out, simulate_config *cfg, uint64_t cap)
{
    simulate_result half = {0}, r = {0};
    uint64_t n = cfg->n_seg, a = cap / 2, b = cap / 2 * 2;
    status st = ST_OK;

    if (cap < 2 || n <= b)
        return simulate_run(out, cfg);
    cfg->n_seg = a;
    TRY(simulate_run(&half, cfg));
    cfg->n_seg = b;
    TRY(simulate_run(&r, cfg));
    double seconds = line(half.seconds, r.seconds, a, b, n);
    double stretch = seconds / r.seconds;
    r.efficiency *= (double)n / (double)b / stretch;
    r.busy *= (double)n / (double)b / stretch;
    r.path.compute *= stretch;
    r.path.transfer *= stretch;
    r.path.latency *= stretch;
    r.path.wait *= stretch;
    r.seconds = seconds;
    r.bytes = line(half.bytes, r.bytes, a, b, n);
    r.n_group_first = count_line(half.n_group_first, r.n_group_first, a, b, n);
    r.n_group = count_line(half.n_group, r.n_group, a, b, n);
    r.n_group_all = count_line(half.n_group_all, r.n_group_all, a, b, n);
    r.n_cell = count_line(half.n_cell, r.n_cell, a, b, n);
    *out = r;
fail:
    return st;
}

/* Whether each of a world's ranks has room for its part. */
static bool
fits(const simulate_config *cfg)
{
    place p = {.kind = cfg->placement,
               .n_layer = cfg->model->n_layer,
               .size = cfg->n_rank,
               .ends = cfg->ends};

    for (p.rank = 0; p.rank < p.size; p.rank++)
        if (cost_memory(cfg->model, &p, cfg->n_stream) >
            cost_rank_of(cfg->cluster, p.rank)->memory)
            return false;
    return true;
}

status
plan_try(plan *out, const plan_job *job, place_kind placement, uint32_t n_rank)
{
    plan p = {.placement = placement, .n_rank = n_rank};
    uint32_t *ends = NULL;
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
    if (placement == PLACE_LAYERS && job->ends != NULL) {
        cfg.ends = job->ends;
    } else if (placement == PLACE_LAYERS) {
        TRY(mem_new(&ends, n_rank, sizeof *ends));
        /* Without room for all, the even division says what is missing. */
        if (plan_divide(ends, job, n_rank) == ST_OK)
            cfg.ends = ends;
    }
    TRY(simulate(&p.result, &cfg, job->cap_seg));
    widen(&p, job, n_doc);
    p.fits = fits(&cfg);
    *out = p;
fail:
    mem_free(ends);
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
plan_refuse(const plan_job *job, const plan *p)
{
    double have = cost_rank_of(job->cluster, 0)->memory;
    char more[64] = "no number of ranks would do", each[64] = "";

    for (uint32_t i = 1; i < job->n_rank; i++)
        if (cost_rank_of(job->cluster, i)->memory < have)
            have = cost_rank_of(job->cluster, i)->memory;
    uint32_t n = cost_ranks_needed(job->model, have, job->n_stream);
    if (n > 0)
        (void)snprintf(more, sizeof more, "%u ranks with layers would do", n);
    if (p->n_world > 1)
        (void)snprintf(each, sizeof each, " in each of %u replicas",
                       p->n_world);
    return status_fail(ST_LIMIT,
                       "placement %s needs %.3g GB of memory a rank at the "
                       "least on %u rank%s%s, and a rank has %.3g GB; %s",
                       place_name(p->placement), p->result.memory * 1e-9,
                       p->n_rank, p->n_rank == 1 ? "" : "s", each, have * 1e-9,
                       more);
}

/* Whether plan_best() tries worlds of n ranks. */
static bool
is_tried(const plan_job *job, place_kind placement, uint32_t n)
{
    return job->n_rank % n == 0 && n <= useful_ranks(job, placement);
}

/* Of a document, as simulate() goes about it. */
static double
segments_simulated(const plan_job *job)
{
    uint64_t n = job->n_seg, cap = job->cap_seg / 2 * 2;

    return cap < 2 || n <= cap ? (double)n : 1.5 * (double)cap;
}

double
plan_cells(const plan_job *job, place_kind placement)
{
    double n_doc = 0; /* of all worlds that are simulated */

    for (uint32_t n = 1; n <= job->n_rank; n++)
        if (is_tried(job, placement, n))
            n_doc += ceil_div(job->n_doc, job->n_rank / n);
    return n_doc * segments_simulated(job) * job->model->n_layer;
}

status
plan_best(plan *out, const plan_job *job, place_kind placement)
{
    plan best = {0}, p = {0}, least = {0};
    bool found = false;
    status st = ST_OK;

    for (uint32_t n = 1; n <= job->n_rank; n++) {
        if (!is_tried(job, placement, n))
            continue;
        TRY(plan_try(&p, job, placement, n));
        if (n == 1 || p.result.memory < least.result.memory)
            least = p;
        if (!p.fits || (found && !plan_sooner(&p, &best)))
            continue;
        best = p;
        found = true;
    }
    if (!found)
        return plan_refuse(job, &least);
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
