/* SPDX-License-Identifier: Apache-2.0 */
/* longwave-plan: how long documents take on a cluster, by simulation of the
 * scheduler that runs there. */
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/option.h"
#include "sched/segment.h"
#include "worker/build.h"
#include "worker/plan_here.h"
#include "worker/plan_job.h"
#include "worker/plan_print.h"

enum {
    MAX_RANK = 1024,
    N_SWEEP = 11,
    FIRST_RANK_FLAG = 12, /* of all flags and heads */
    N_RANK_FLAG = 12,
    MANY_CELLS = 1 << 24, /* simulated, a matter of seconds */
    MOST_CELLS = 1 << 27, /* of half a minute, where there is no way round */
    LEAST_SEG = 1024      /* simulated of a document before the straight line */
};

typedef struct planner {
    const char *model, *preset, *cluster, *svg, *type;
    uint64_t segment, mem, tokens, documents, streams, ranks, node, threads;
    double tflops, half_rows, group_us, memory_gb;
    double inner_us, inner_gbs, outer_us, outer_gbs;
    bool sweep, json;

    comm *comm;
    plan_here here;
    model_config cfg;
    cost_model cost;
    cost_cluster c;
    plan_row row[N_SWEEP];
    size_t n_row;
} planner;

static const char summary[] =
    "Usage: longwave-plan [--preset NAME | --model DIR] [--cluster NAME]\n"
    "                     [--documents N] [--tokens N] [--sweep]\n\n"
    "Simulates reading documents on a cluster: time, efficiency, bytes moved,\n"
    "memory and the longest chain of causes for both placements, each with "
    "the\n"
    "worlds that suit it best, and which one --placement auto takes.";

static const char footer[] =
    "The simulation runs the scheduler of the workers; only time is made up:\n"
    "  seconds of a group = group time + FLOPs of its cells / rate\n"
    "  rate = peak x rows / (rows + half rows), rows of the whole group\n"
    "  seconds of a hop = bytes / bandwidth, and latency behind it\n"
    "efficiency = useful FLOPs / (ranks x peak x seconds), ramps included;\n"
    "of the last layer, as many as would take the time of those it has.";

/* ------------------------------------------------------------- options --- */

/* What the ranks of a cluster are, where it is not as the cluster has it. */
static void
rank_entries(planner *p, option_entry out[N_RANK_FLAG])
{
    const option_entry entry[N_RANK_FLAG] = {
        {"ranks", OPTION_U64, &p->ranks, "N", "0: all of the cluster", 0,
         MAX_RANK},
        {"sweep", OPTION_FLAG, &p->sweep, NULL,
         "1, 2, 4 ... 1024 ranks like these", 0, 0},
        {"node", OPTION_U64, &p->node, "N", "ranks of a node; 0: the cluster's",
         0, MAX_RANK},
        {"threads", OPTION_U64, &p->threads, "N",
         "of a rank, with --cluster here; 0: its share of the cores", 0, 1024},
        {"tflops", OPTION_F64, &p->tflops, "X",
         "peak of a rank; 0: the cluster's", 0, 1e6},
        {"half-rows", OPTION_F64, &p->half_rows, "X",
         "rows of a group that reach half of it; 0: the cluster's", 0, 1e6},
        {"group-us", OPTION_F64, &p->group_us, "X",
         "of any group; 0: the cluster's", 0, 1e6},
        {"memory-gb", OPTION_F64, &p->memory_gb, "X",
         "of a rank; 0: the cluster's", 0, 1e6},
        {"inner-us", OPTION_F64, &p->inner_us, "X",
         "latency between ranks of a node; 0: the cluster's", 0, 1e6},
        {"inner-gbs", OPTION_F64, &p->inner_gbs, "X",
         "bandwidth between them, GB/s; 0: the cluster's", 0, 1e6},
        {"outer-us", OPTION_F64, &p->outer_us, "X",
         "between nodes; 0: the cluster's", 0, 1e6},
        {"outer-gbs", OPTION_F64, &p->outer_gbs, "X",
         "between nodes; 0: the cluster's", 0, 1e6}};
    memcpy(out, entry, sizeof entry);
}

static status
parse(planner *p, int argc, char **argv, bool *done)
{
    size_t n_argument = 0;
    *p = (planner){.comm = p->comm,
                   .preset = "armt-llama-8b",
                   .cluster = "8xh200",
                   .type = "bf16",
                   .tokens = 1 << 20,
                   .documents = 1,
                   .streams = 1};
    option_entry entry[] = {
        {"The model", OPTION_HEAD, NULL, NULL, NULL, 0, 0},
        {"preset", OPTION_TEXT, &p->preset, "NAME",
         "tiny, s256, s512, armt-llama-160m, -1b, -3b, -8b", 0, 0},
        {"model", OPTION_TEXT, &p->model, "DIR", "instead of a preset", 0, 0},
        {"segment", OPTION_U64, &p->segment, "S",
         "tokens of a segment; 0: the model's", 0, CONFIG_MAX_SEGMENT},
        {"mem", OPTION_U64, &p->mem, "M", "memory tokens; 0: the model's", 0,
         CONFIG_MAX_MEM_TOKENS},
        {"type", OPTION_TEXT, &p->type, "T",
         "of weights and hidden states: f32 or bf16", 0, 0},
        {"The work", OPTION_HEAD, NULL, NULL, NULL, 0, 0},
        {"tokens", OPTION_U64, &p->tokens, "N", "of each document", 1, 1 << 30},
        {"documents", OPTION_U64, &p->documents, "N", "in all", 1, 1 << 16},
        {"streams", OPTION_U64, &p->streams, "N", "read at once by a world", 1,
         256},
        {"The cluster", OPTION_HEAD, NULL, NULL, NULL, 0, 0},
        {"cluster", OPTION_TEXT, &p->cluster, "NAME",
         "8xh200, 128xh200, 64xcpu, or here: this machine, measured; under "
         "mpirun its ranks and their links",
         0, 0},
        [FIRST_RANK_FLAG +
            N_RANK_FLAG] = {"Output", OPTION_HEAD, NULL, NULL, NULL, 0, 0},
        {"svg", OPTION_TEXT, &p->svg, "FILE", "a plot of the efficiency", 0, 0},
        {"json", OPTION_FLAG, &p->json, NULL, "one line of JSON", 0, 0}};
    const option_set set = {.program = "longwave-plan",
                            .summary = summary,
                            .footer = footer,
                            .entry = entry,
                            .n_entry = sizeof entry / sizeof *entry};

    rank_entries(p, entry + FIRST_RANK_FLAG);
    return option_parse(&set, argc, argv, NULL, &n_argument, done);
}

static status
configure_model(planner *p)
{
    kernel_type type = KERNEL_F32;
    status st = ST_OK;

    if (strcmp(p->type, "bf16") == 0)
        type = KERNEL_BF16;
    else if (strcmp(p->type, "f32") != 0)
        TRY(status_fail(ST_ARG, "--type %.40s is none of f32, bf16", p->type));
    if (p->model != NULL)
        TRY(config_load(&p->cfg, p->model));
    else
        TRY(config_preset(&p->cfg, p->preset));
    if (p->segment > 0)
        p->cfg.segment_size = (uint32_t)p->segment;
    if (p->mem > 0)
        p->cfg.n_mem = (uint32_t)p->mem;
    TRY(config_check(&p->cfg));
    plan_job_model(&p->cost, &p->cfg, type, NULL, p->tokens);
fail:
    return st;
}

/* `value` in units of `unit`, if it was given. */
static void
replace(double *out, double value, double unit)
{
    if (value > 0)
        *out = value * unit;
}

/* Figures of each rank go only for as many as were measured, and as they
 * were. */
static status
measure_here(planner *p)
{
    cost_cluster *c = &p->c;
    status st = ST_OK;

    TRY(plan_here_open(&p->here, c, p->comm, &p->cfg, (uint32_t)p->threads));
    if (p->ranks > c->n_rank || p->sweep || p->tflops > 0 || p->half_rows > 0 ||
        p->group_us > 0 || p->memory_gb > 0)
        c->ranks = NULL;
    if (c->ranks == NULL || p->inner_us > 0 || p->inner_gbs > 0 ||
        p->outer_us > 0 || p->outer_gbs > 0)
        c->links = NULL;
    if (c->ranks == NULL && p->node == 0)
        c->n_rank_node = p->sweep ? MAX_RANK : (uint32_t)p->ranks;
fail:
    return st;
}

static status
configure_cluster(planner *p)
{
    cost_cluster *c = &p->c;
    status st = ST_OK;

    if (strcmp(p->cluster, "here") == 0)
        TRY(measure_here(p));
    else
        TRY(cost_cluster_preset(c, p->cluster));
    replace(&c->rank.flops, p->tflops, 1e12);
    replace(&c->rank.half_rows, p->half_rows, 1);
    replace(&c->rank.group_s, p->group_us, 1e-6);
    replace(&c->rank.memory, p->memory_gb, 1e9);
    replace(&c->inner.latency_s, p->inner_us, 1e-6);
    replace(&c->inner.bytes_per_s, p->inner_gbs, 1e9);
    replace(&c->outer.latency_s, p->outer_us, 1e-6);
    replace(&c->outer.bytes_per_s, p->outer_gbs, 1e9);
    if (p->node > 0)
        c->n_rank_node = (uint32_t)p->node;
    if (p->ranks > c->n_rank || p->sweep)
        c->n_rank = p->sweep ? MAX_RANK : (uint32_t)p->ranks;
fail:
    return st;
}

/* ---------------------------------------------------------------- plan --- */

/* The ranks of the rows, first to last by doubling. */
static uint32_t
ranks_first(const planner *p)
{
    if (p->sweep)
        return 1;
    return p->ranks > 0 ? (uint32_t)p->ranks : p->c.n_rank;
}

static uint32_t
ranks_last(const planner *p)
{
    return p->sweep ? MAX_RANK : ranks_first(p);
}

static double
cells(const planner *p, plan_job job)
{
    double n = 0;

    for (job.n_rank = ranks_first(p); job.n_rank <= ranks_last(p);
         job.n_rank *= 2)
        n += plan_cells(&job, PLACE_LAYERS) + plan_cells(&job, PLACE_SEGMENTS);
    return n;
}

/* Long documents are simulated in part, so that an answer comes. */
static status
limit(const planner *p, plan_job *job)
{
    uint64_t cap = job->n_seg;

    for (; cells(p, *job) > MANY_CELLS && cap >= 2 * LEAST_SEG; cap /= 2)
        job->cap_seg = cap / 2;
    if (cells(p, *job) > MOST_CELLS)
        return status_fail(ST_ARG,
                           "%.3g cells are too many to simulate, %d at most: "
                           "fewer documents or ranks would do",
                           cells(p, *job), MOST_CELLS);
    if (job->cap_seg > 0)
        log_info("of %llu segments a document %llu are simulated; the rest "
                 "goes on as the last half of them",
                 (unsigned long long)job->n_seg,
                 (unsigned long long)job->cap_seg);
    return ST_OK;
}

/* Plans for n_rank ranks; that none fits is an answer, not a failure. */
static status
plan_row_make(planner *p, plan_job *job, uint32_t n_rank)
{
    plan_row *row = &p->row[p->n_row++];

    row->n_rank = job->n_rank = n_rank;
    for (uint32_t kind = 0; kind < 2; kind++) {
        status st = plan_best(&row->plan[kind], job, (place_kind)kind);
        if (st != ST_OK && st != ST_LIMIT)
            return st;
        row->ok[kind] = st == ST_OK;
    }
    return ST_OK;
}

static status
draw(const planner *p)
{
    if (p->model != NULL && file_same_within(p->svg, p->model))
        return status_fail(ST_ARG, "--svg %s: that is a file of the model's",
                           p->svg);
    return plan_print_svg(p->svg, p->row, p->n_row);
}

static status
show(planner *p, const plan_job *job)
{
    bool any = false;
    status st = ST_OK;

    for (size_t i = 0; i < p->n_row; i++)
        any = any || plan_print_choice(&p->row[i]) != NULL;
    if (!any) /* layers need the least: its sentence says what would do */
        return plan_best(&(plan){0}, job, PLACE_LAYERS);
    if (p->svg != NULL)
        TRY(draw(p));
    if (p->json)
        return plan_print_json(job, p->row, p->n_row);
    plan_print_table(job, p->row, p->n_row);
fail:
    return st;
}

static status
all(planner *p, int argc, char **argv)
{
    bool done = false;
    status st = ST_OK;

    TRY(parse(p, argc, argv, &done));
    if (done)
        return ST_OK;
    TRY(configure_model(p));
    TRY(configure_cluster(p));
    if (comm_rank(p->comm) > 0)
        return ST_OK; /* it has been measured */
    plan_job job = {.model = &p->cost,
                    .cluster = &p->c,
                    .n_doc = (uint32_t)p->documents,
                    .n_stream = (uint32_t)p->streams,
                    .n_seg = segment_count(p->tokens, p->cfg.segment_size)};
    TRY(limit(p, &job));
    for (uint32_t n = ranks_first(p); n <= ranks_last(p); n *= 2)
        TRY(plan_row_make(p, &job, n));
    TRY(show(p, &job));
fail:
    return st;
}

/* Under mpirun all ranks are measured, which is all that they are for. */
static status
start(planner *p, int *argc, char ***argv)
{
    status st = ST_OK;

    TRY(comm_open(&p->comm, argc, argv));
    TRY(build_same(p->comm));
    if (comm_rank(p->comm) > 0 && freopen("/dev/null", "w", stdout) == NULL)
        st = status_fail(ST_IO, "/dev/null cannot be opened");
    TRY(comm_agree(p->comm, st));
fail:
    return st;
}

int
main(int argc, char **argv)
{
    planner p = {0};
    log_init("longwave-plan", LOG_LEVEL_INFO);
    status st = start(&p, &argc, &argv);
    if (st == ST_OK)
        st = all(&p, argc, argv);
    bool lead = p.comm == NULL || comm_rank(p.comm) == 0;
    if (p.comm != NULL)
        st = comm_agree(p.comm, st);
    if (st != ST_OK && lead)
        log_error("%s", status_text());
    plan_here_close(&p.here);
    comm_close(p.comm);
    return status_exit_code(st);
}
