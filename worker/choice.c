/* SPDX-License-Identifier: Apache-2.0 */
/* Measuring, simulating, deciding, and telling all ranks. */
#include "worker/choice.h"

#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "model/memory.h"
#include "worker/plan_job.h"

enum { CAP_SEG = 512 };

/* What the lead tells the other ranks. */
typedef struct verdict {
    uint32_t kind, divided, n_replica;
} verdict;

void
choice_fini(choice *c)
{
    mem_free(c->link);
    mem_free(c->rank);
    mem_free(c->ends);
    *c = (choice){0};
}

/* ----------------------------------------------------------- measuring --- */

/* What a rank may use when nobody said: a GPU's free memory, or its part of
 * all that the host has (what is free now says little: files fill it). */
static double
own_memory(const choice_args *a)
{
    kernel_info info;
    double pages = (double)sysconf(_SC_PHYS_PAGES);

    kernel_info_get(a->dev, &info);
    if (a->memory > 0)
        return a->memory;
    if (info.n_thread == 0)
        return (double)info.memory_free;
    return pages * (double)sysconf(_SC_PAGESIZE) / comm_local_size(a->comm);
}

static status
measure(choice *c, const choice_args *a)
{
    probe_rank *all = NULL;
    uint32_t size = comm_size(a->comm);
    bool lead = comm_rank(a->comm) == 0;
    status st = ST_OK;

    TRY(comm_agree(a->comm, mem_new(&all, size, sizeof *all)));
    TRY(probe_world(all, a->comm, a->dev, a->cfg, own_memory(a)));
    if (!lead)
        goto fail;
    TRY(mem_new(&c->rank, size, sizeof *c->rank));
    TRY(mem_new(&c->link, size, sizeof *c->link));
    c->sane = true;
    for (uint32_t i = 0; i < size; i++) {
        c->rank[i] = all[i].rank;
        c->link[i] = all[i].link;
        c->seconds = all[i].seconds > c->seconds ? all[i].seconds : c->seconds;
        c->sane = c->sane && cost_rank_is_sane(&all[i].rank) &&
                  (size == 1 || cost_link_is_sane(&all[i].link));
    }
fail:
    mem_free(all);
    return st;
}

/* ------------------------------------------------------------ deciding --- */

static status
model_cost(cost_model *out, const choice_args *a, const choice_job *job)
{
    uint64_t n_token = job->n_seg * a->cfg->segment_size;
    kernel_info info;
    weights_types types;
    status st = ST_OK;

    kernel_info_get(a->dev, &info);
    TRY(weights_types_stored(&types, a->cfg, a->dir, info.compute, a->want));
    plan_job_model(out, a->cfg, info.compute, &types, n_token);
    if (job->logits)
        out->head_flops =
            2.0 * a->cfg->segment_size * a->cfg->n_vocab * a->cfg->d_model;
    if (job->logits || job->all_rows)
        out->last_flops = out->cell_flops;
fail:
    return st;
}

/* The measured ranks as a cluster; `rank` and `inner` are the slowest. */
static cost_cluster
cluster_of(const choice *c)
{
    cost_cluster all = {.name = "here",
                        .n_rank = c->size,
                        .n_rank_node = c->size,
                        .rank = c->rank[0],
                        .inner = c->link[0],
                        .ranks = c->rank,
                        .links = c->link};

    for (uint32_t i = 1; i < c->size; i++) {
        if (c->rank[i].flops < all.rank.flops)
            all.rank = c->rank[i];
        if (c->link[i].bytes_per_s < all.inner.bytes_per_s)
            all.inner = c->link[i];
    }
    all.outer = all.inner;
    return all;
}

/* Neither placement fits: the sentence of layers, which need the least. */
static status
simulate(choice *c, place *p, const choice_args *a, const choice_job *job)
{
    cost_model cost = {0};
    cost_cluster here = cluster_of(c);
    plan_job pj = {.model = &cost,
                   .cluster = &here,
                   .n_rank = c->size,
                   .n_doc = job->n_stream,
                   .n_seg = job->n_seg,
                   .cap_seg = CAP_SEG};
    choose best = {0};
    status st = ST_OK;

    TRY(model_cost(&cost, a, job));
    TRY(choose_plan(&best, &pj, a->replicas ? 0 : c->n_replica));
    p->kind = best.placement;
    c->n_replica = best.n_replica;
    memcpy(c->plan, best.plan, sizeof best.plan);
    memcpy(c->fits, best.fits, sizeof best.fits);
    memcpy(c->level, best.level, sizeof best.level);
    c->automatic = true;
    if (p->kind == PLACE_SEGMENTS)
        return ST_OK;
    pj.n_stream = (pj.n_doc + c->n_replica - 1) / c->n_replica;
    TRY(mem_new(&c->ends, c->size, sizeof *c->ends));
    if (plan_divide(c->ends, &pj, c->size / c->n_replica) == ST_OK)
        return ST_OK;
    mem_free(c->ends);
    c->ends = NULL;
fail:
    return st;
}

static status
decide(choice *c, place *p, const choice_args *a, const choice_job *job)
{
    const memory *mem = memory_of(a->cfg);
    const char *colon = strchr(a->name, ':');
    status st = ST_OK;

    if (colon != NULL) {
        TRY(mem_new(&c->ends, p->size, sizeof *c->ends));
        return place_parse_division(c->ends, p, colon + 1);
    }
    if (strcmp(a->name, "auto") != 0 || c->size == 1 || mem->chained ||
        mem->grows)
        return ST_OK; /* place_parse() knows */
    if (c->rank != NULL && c->sane)
        return simulate(c, p, a, job);
    log_warn("what the ranks measured cannot be planned with: placement "
             "\"%s\" by a rule of thumb",
             place_name(p->kind));
fail:
    return st;
}

/* -------------------------------------------------------------- telling --- */

static status
tell(choice *c, place *p, comm *ranks)
{
    verdict v = {
        .kind = p->kind, .divided = c->ends != NULL, .n_replica = c->n_replica};
    status st = ST_OK;

    TRY(comm_share(ranks, &v, sizeof v));
    TRY(place_deal(p, v.n_replica, comm_size(ranks), comm_rank(ranks)));
    c->n_replica = v.n_replica;
    if (v.divided && c->ends == NULL)
        st = mem_new(&c->ends, p->size, sizeof *c->ends);
    TRY(comm_agree(ranks, st));
    if (v.divided)
        TRY(comm_share(ranks, c->ends, p->size * sizeof *c->ends));
    p->kind = (place_kind)v.kind;
    p->ends = c->ends;
fail:
    return st;
}

status
choice_make(choice *c, place *p, const choice_args *args, const choice_job *job)
{
    bool lead = comm_rank(args->comm) == 0;
    uint32_t size = comm_size(args->comm);
    bool asked = strcmp(args->name, "auto") == 0 && size > 1;
    status st = ST_OK;

    *c = (choice){.size = size, .n_replica = place_replicas(p)};
    if (asked || args->measure)
        TRY(comm_agree(args->comm, measure(c, args)));
    TRY(comm_agree(args->comm, lead ? decide(c, p, args, job) : ST_OK));
    TRY(tell(c, p, args->comm));
fail:
    return st;
}

void
choice_sum(const choice *c, double *flops, cost_link *link)
{
    *flops = 0;
    *link = (cost_link){0};
    for (uint32_t i = 0; c->sane && i < c->size; i++) {
        const cost_link *l = &c->link[i];
        *flops += c->rank[i].flops;
        if (i == 0 || l->bytes_per_s < link->bytes_per_s)
            link->bytes_per_s = l->bytes_per_s;
        if (l->latency_s > link->latency_s)
            link->latency_s = l->latency_s;
    }
}

/* ---------------------------------------------------------------- JSON --- */

static void
add_plan(jsonout *j, const plan *p, bool fits, double level)
{
    const simulate_result *r = &p->result;

    jsonout_object(j, NULL);
    jsonout_text(j, "placement", place_name(p->placement));
    jsonout_bool(j, "fits", fits);
    jsonout_f64(j, "seconds", r->seconds);
    if (level > 0)
        jsonout_f64(j, "seconds_if_alike", level);
    jsonout_u64(j, "groups", r->n_group_first);
    jsonout_u64(j, "groups_most", r->n_group);
    jsonout_u64(j, "groups_all", r->n_group_all);
    jsonout_f64(j, "bytes_moved", r->bytes);
    jsonout_f64(j, "memory_bytes_per_rank", r->memory);
    jsonout_close_object(j);
}

static void
add_ranks(const choice *c, jsonout *j)
{
    jsonout_array(j, "ranks");
    for (uint32_t i = 0; i < c->size; i++) {
        jsonout_object(j, NULL);
        jsonout_f64(j, "flops_per_second", c->rank[i].flops);
        jsonout_f64(j, "half_rows", c->rank[i].half_rows);
        jsonout_f64(j, "last_layer_times", c->rank[i].last_times);
        jsonout_f64(j, "memory_bytes", c->rank[i].memory);
        jsonout_f64(j, "link_latency_seconds", c->link[i].latency_s);
        jsonout_f64(j, "link_bytes_per_second", c->link[i].bytes_per_s);
        jsonout_f64(j, "link_send_seconds_per_byte", c->link[i].send_s);
        jsonout_f64(j, "link_receive_seconds_per_byte", c->link[i].receive_s);
        jsonout_close_object(j);
    }
    jsonout_close_array(j);
}

void
choice_add_json(const choice *c, jsonout *j)
{
    if (c->rank == NULL)
        return;
    jsonout_object(j, "plan");
    jsonout_f64(j, "measuring_seconds", c->seconds);
    jsonout_bool(j, "sane", c->sane);
    add_ranks(c, j);
    jsonout_u64(j, "replicas", c->n_replica);
    jsonout_array(j, "placements");
    for (uint32_t kind = 0; c->automatic && kind < 2; kind++)
        add_plan(j, &c->plan[kind], c->fits[kind], c->level[kind]);
    jsonout_close_array(j);
    if (c->ends != NULL) {
        jsonout_array(j, "division");
        for (uint32_t i = 0; i < c->size / c->n_replica; i++)
            jsonout_u64(j, NULL, c->ends[i] - (i > 0 ? c->ends[i - 1] : 0));
        jsonout_close_array(j);
    }
    jsonout_close_object(j);
}
