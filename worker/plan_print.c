/* SPDX-License-Identifier: Apache-2.0 */
/* Tables and JSON of plans. */
#include "worker/plan_print.h"

#include <stdio.h>

#include "base/jsonout.h"

const plan *
plan_print_choice(const plan_row *row)
{
    const plan *a = &row->plan[PLACE_LAYERS];
    const plan *b = &row->plan[PLACE_SEGMENTS];

    if (!row->ok[PLACE_LAYERS])
        return row->ok[PLACE_SEGMENTS] ? b : NULL;
    if (!row->ok[PLACE_SEGMENTS])
        return a;
    return plan_sooner(a, b) ? a : b;
}

/* Of the whole time; sums of rounded times may fall short of nothing. */
static double
percent(double part, const simulate_result *r)
{
    return part > 0 ? 100 * part / r->seconds : 0;
}

enum { NUMBER = 32 };

/* Four digits, or all that stand before the point. */
static const char *
plain(char out[NUMBER], double x)
{
    (void)snprintf(out, NUMBER, x < 9999.5 ? "%.4g" : "%.0f", x);
    return out;
}

static void
print_plan(const plan_row *row, place_kind kind)
{
    const plan *p = &row->plan[kind];
    const simulate_result *r = &p->result;
    const simulate_path *path = &r->path;
    const char *mark = plan_print_choice(row) == p ? "*" : "";
    char seconds[NUMBER], moved[NUMBER];

    if (!row->ok[kind]) {
        printf("%6u  %-10s does not fit\n", row->n_rank, place_name(kind));
        return;
    }
    printf("%6u  %-9s%1s%8u%10u%12s%11.1f%%%10s%9.2f  "
           "%3.0f%% %3.0f%% %3.0f%% %3.0f%%\n",
           row->n_rank, place_name(kind), mark, p->n_world, p->n_rank,
           plain(seconds, r->seconds), 100 * r->efficiency,
           plain(moved, r->bytes * 1e-9), r->memory * 1e-9,
           percent(path->compute, r), percent(path->transfer, r),
           percent(path->latency, r), percent(path->wait, r));
}

void
plan_print_table(const plan_job *job, const plan_row *row, size_t n_row)
{
    const cost_rank *r = &job->cluster->rank;

    printf(
        "%u document%s of %llu segment%s on %s: %.4g TFLOP/s a rank, half of "
        "it at %.0f rows\n",
        job->n_doc, job->n_doc == 1 ? "" : "s", (unsigned long long)job->n_seg,
        job->n_seg == 1 ? "" : "s", job->cluster->name, r->flops * 1e-12,
        r->half_rows);
    printf("one document keeps at most %llu ranks busy\n\n",
           (unsigned long long)(job->n_seg < job->model->n_layer
                                    ? job->n_seg
                                    : job->model->n_layer));
    printf("%6s  %-10s%8s%10s%12s%12s%10s%9s  %s\n", "ranks", "placement",
           "worlds", "of ranks", "seconds", "efficiency", "GB moved", "GB/rank",
           "path: compute, transfer, latency, wait");
    for (size_t i = 0; i < n_row; i++) {
        print_plan(&row[i], PLACE_LAYERS);
        print_plan(&row[i], PLACE_SEGMENTS);
    }
    printf("\n* what --placement auto takes\n");
}

static void
add_plan(jsonout *j, const plan_row *row, place_kind kind)
{
    const plan *p = &row->plan[kind];
    const simulate_result *r = &p->result;

    jsonout_object(j, NULL);
    jsonout_u64(j, "ranks", row->n_rank);
    jsonout_text(j, "placement", place_name(kind));
    jsonout_bool(j, "fits", row->ok[kind]);
    if (row->ok[kind]) {
        jsonout_bool(j, "auto", plan_print_choice(row) == p);
        jsonout_u64(j, "worlds", p->n_world);
        jsonout_u64(j, "ranks_per_world", p->n_rank);
        jsonout_f64(j, "seconds", r->seconds);
        jsonout_f64(j, "efficiency", r->efficiency);
        jsonout_f64(j, "busy", r->busy);
        jsonout_u64(j, "groups", r->n_group);
        jsonout_f64(j, "bytes_moved", r->bytes);
        jsonout_f64(j, "memory_bytes_per_rank", r->memory);
        jsonout_object(j, "path");
        jsonout_f64(j, "compute", r->path.compute);
        jsonout_f64(j, "transfer", r->path.transfer);
        jsonout_f64(j, "latency", r->path.latency);
        jsonout_f64(j, "wait", r->path.wait > 0 ? r->path.wait : 0);
        jsonout_close_object(j);
    }
    jsonout_close_object(j);
}

static void
add_link(jsonout *j, const char *key, const cost_link *l)
{
    jsonout_object(j, key);
    jsonout_f64(j, "latency_seconds", l->latency_s);
    jsonout_f64(j, "bytes_per_second", l->bytes_per_s);
    jsonout_close_object(j);
}

static void
add_cluster(jsonout *j, const cost_cluster *c)
{
    jsonout_object(j, "cluster");
    jsonout_text(j, "name", c->name);
    jsonout_u64(j, "ranks", c->n_rank);
    jsonout_u64(j, "ranks_per_node", c->n_rank_node);
    jsonout_f64(j, "flops_per_second", c->rank.flops);
    jsonout_f64(j, "half_rows", c->rank.half_rows);
    jsonout_f64(j, "group_seconds", c->rank.group_s);
    jsonout_f64(j, "memory_bytes", c->rank.memory);
    add_link(j, "inner", &c->inner);
    add_link(j, "outer", &c->outer);
    jsonout_close_object(j);
}

status
plan_print_json(const plan_job *job, const plan_row *row, size_t n_row)
{
    jsonout j;
    status st;

    jsonout_init(&j);
    jsonout_object(&j, NULL);
    add_cluster(&j, job->cluster);
    jsonout_u64(&j, "documents", job->n_doc);
    jsonout_u64(&j, "segments", job->n_seg);
    jsonout_u64(&j, "streams", job->n_stream);
    jsonout_f64(&j, "cell_flops", job->model->cell_flops);
    jsonout_array(&j, "plans");
    for (size_t i = 0; i < n_row; i++) {
        add_plan(&j, &row[i], PLACE_LAYERS);
        add_plan(&j, &row[i], PLACE_SEGMENTS);
    }
    jsonout_close_array(&j);
    jsonout_close_object(&j);
    st = jsonout_print(&j, stdout);
    jsonout_fini(&j);
    return st;
}
