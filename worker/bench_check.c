/* SPDX-License-Identifier: Apache-2.0 */
/* What the engine left beside what it should have: sums of squares. */
#include "worker/bench_check.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "kernels/random.h"
#include "sched/segment.h"
#include "worker/bench_reference.h"

enum { N_SAMPLE = 8, N_INNER = N_SAMPLE + 2, MIN_SEGMENT = 3 };

/* Squares of differences, and of what should be there. */
typedef struct sums {
    double error, all;
} sums;

typedef struct check {
    const bench_run_args *args;
    bench_check_result *r;
    uint64_t n_seg;
    uint32_t row[N_SAMPLE]; /* tokens of a segment, rising */
    uint32_t n_row;
    float *logits;       /* [n_seg, N_SAMPLE, n_vocab] */
    float *inner;        /* [n_seg, n_layer, 2, N_INNER, d] */
    bench_run_left left; /* states of all layers: A, then z */
    sums sum[BENCH_CHECK_N], layer[BENCH_CHECK_N];
} check;

const char *
bench_check_name(bench_check_what what)
{
    static const char *const names[BENCH_CHECK_N] = {
        [BENCH_CHECK_LOGITS] = "logits",
        [BENCH_CHECK_A] = "A",
        [BENCH_CHECK_Z] = "z",
        [BENCH_CHECK_READ] = "rows_after_read",
        [BENCH_CHECK_ROWS] = "rows_after_layer"};
    return names[what];
}

/* ---------------------------------------------------------------- rows --- */

/* The first and last token, and others by the seed. */
static void
sample_rows(check *k)
{
    uint32_t size = k->args->cfg->segment_size, n = 0;

    for (uint32_t i = 0; i < N_SAMPLE; i++) {
        uint64_t any = random_mix(k->args->seed + 77 + i) % size;
        uint32_t row = i == 0 ? 0 : i == 1 ? size - 1 : (uint32_t)any;
        uint32_t at = n;
        for (; at > 0 && k->row[at - 1] > row; at--)
            k->row[at] = k->row[at - 1];
        k->row[at] = row;
        n++;
    }
    k->n_row = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (i == 0 || k->row[i] != k->row[i - 1])
            k->row[k->n_row++] = k->row[i];
    }
}

/* Rows of a cell that are compared: tokens, the first and last memory row. */
static uint32_t
inner_rows(const check *k, uint32_t n_row, uint32_t out[N_INNER])
{
    uint32_t n_token = n_row - k->args->cfg->n_mem, n = 0;

    for (uint32_t i = 0; i < k->n_row && k->row[i] < n_token; i++)
        out[n++] = k->row[i];
    out[n++] = n_token;
    out[n++] = n_row - 1;
    return n;
}

static float *
inner_of(const check *k, uint64_t seg, uint32_t layer, int point)
{
    const model_config *c = k->args->cfg;
    return k->inner + ((seg * c->n_layer + layer) * 2 + (size_t)point) *
                          N_INNER * c->d_model;
}

static void
keep_logits(void *ctx, uint32_t stream, const engine_segment *segment,
            uint32_t row0, uint32_t n_row, const float *logits)
{
    const check *k = ctx;
    size_t n_vocab = k->args->cfg->n_vocab;
    (void)stream;

    for (uint32_t i = 0; i < k->n_row; i++) {
        if (k->row[i] >= row0 && k->row[i] - row0 < n_row)
            memcpy(k->logits + (segment->seg * N_SAMPLE + i) * n_vocab,
                   logits + (k->row[i] - row0) * n_vocab,
                   n_vocab * sizeof *logits);
    }
}

static void
keep_rows(void *ctx, uint32_t stream, const engine_segment *segment,
          uint32_t layer, int point, uint32_t n_row, const float *rows)
{
    const check *k = ctx;
    size_t d = k->args->cfg->d_model;
    float *to = inner_of(k, segment->seg, layer, point);
    uint32_t row[N_INNER], n = inner_rows(k, n_row, row);
    (void)stream;

    for (uint32_t i = 0; i < n; i++)
        memcpy(to + i * d, rows + row[i] * d, d * sizeof *rows);
}

/* ------------------------------------------------------------- compare --- */

/* got[n] against want[n], step apart; a NaN stays in the sum. */
static void
compare(check *k, bench_check_what what, const float *got, const double *want,
        size_t n)
{
    sums *of = &k->layer[what];

    for (size_t i = 0; i < n; i++) {
        double e = (double)got[i] - want[i];
        of->error += e * e;
        of->all += want[i] * want[i];
    }
    k->r->n_number += n;
}

/* A layer, or a row, is over. */
static void
settle(check *k, bench_check_what what)
{
    sums *of = &k->layer[what];
    double e = sqrt(of->error / of->all);

    if (of->all > 0 && !(e <= k->r->worst[what]))
        k->r->worst[what] = e;
    k->sum[what].error += of->error;
    k->sum[what].all += of->all;
    *of = (sums){0};
}

static void
see_rows(void *ctx, uint64_t seg, uint32_t layer, int point, uint32_t n_row,
         const double *x)
{
    check *k = ctx;
    size_t d = k->args->cfg->d_model;
    const float *got = inner_of(k, seg, layer, point);
    uint32_t row[N_INNER], n = inner_rows(k, n_row, row);

    for (uint32_t i = 0; i < n; i++)
        compare(k, point == 0 ? BENCH_CHECK_READ : BENCH_CHECK_ROWS,
                got + i * d, x + row[i] * d, d);
}

static void
see_state(void *ctx, uint32_t layer, const double *A, const double *z)
{
    check *k = ctx;
    size_t key = config_d_key(k->args->cfg), n = key * k->args->cfg->d_model;
    const float *got = k->left.states + layer * (n + key);

    compare(k, BENCH_CHECK_A, got, A, n);
    compare(k, BENCH_CHECK_Z, got + n, z, key);
    for (bench_check_what what = BENCH_CHECK_A; what < BENCH_CHECK_N; what++)
        settle(k, what);
}

static void
see_logits(void *ctx, uint64_t seg, uint32_t row, const double *logits)
{
    check *k = ctx;
    size_t n = k->args->cfg->n_vocab;
    uint32_t i = 0;

    while (k->row[i] != row)
        i++;
    compare(k, BENCH_CHECK_LOGITS, k->logits + (seg * N_SAMPLE + i) * n, logits,
            n);
    settle(k, BENCH_CHECK_LOGITS);
}

/* ----------------------------------------------------------------- run --- */

static status
run_engine(check *k, engine *e)
{
    const engine_sink outer = {.ctx = k, .logits = keep_logits};
    const engine_sink inner = {
        .ctx = k, .logits = keep_logits, .rows = keep_rows};
    const bench_run_end end = bench_run_end_of(e, k->args);
    double seconds;
    status st = ST_OK;

    engine_sink_set(e, &inner);
    TRY(bench_run_once(e, k->args, &seconds));
    engine_close(e, 0);
    engine_sink_set(e, &outer); /* groups as in any run: these logits count */
    TRY(bench_run_once(e, k->args, &seconds));
    TRY(bench_run_look(e, k->args, &end, &k->left));
fail:
    return st;
}

static status
run_reference(check *k, engine *e, uint32_t n_thread)
{
    const bench_reference_args args = {
        .w = model_weights_of(engine_model(e)),
        .q = engine_queue(e),
        .ids = k->args->ids,
        .n_id = k->args->n_id,
        .row = k->row,
        .n_row = k->n_row,
        .n_thread = n_thread > 0 ? n_thread : 1,
        .sink = {k, see_rows, see_state, see_logits}};
    return bench_reference(&args);
}

static void
judge(const check *k, kernel_type compute)
{
    bench_check_result *r = k->r;

    bool exact =
        compute == KERNEL_F32 && k->args->cfg->state_type == CONFIG_F32;

    r->limit = exact ? 1e-4 : 3e-2;
    r->ok = true;
    for (bench_check_what i = 0; i < BENCH_CHECK_N; i++) {
        r->error[i] = sqrt(k->sum[i].error / k->sum[i].all);
        r->ok = r->ok && r->error[i] <= r->limit; /* a NaN is not */
    }
}

static status
rooms(check *k)
{
    const model_config *c = k->args->cfg;
    status st = ST_OK;

    TRY(mem_new(&k->logits, k->n_seg * N_SAMPLE,
                c->n_vocab * sizeof *k->logits));
    TRY(mem_new(&k->inner, k->n_seg * c->n_layer * 2 * N_INNER,
                c->d_model * sizeof *k->inner));
fail:
    return st;
}

status
bench_check(bench_check_result *out, const bench_run_args *args,
            uint32_t n_thread)
{
    engine_config cfg = {.place = {.n_layer = args->cfg->n_layer, .size = 1},
                         .order = args->order,
                         .n_stream = 1};
    bench_check_result r = {0};
    bench_run_args with_head = *args;
    check k = {.args = &with_head, .r = &r};
    engine *e = NULL;
    status st = ST_OK;

    with_head.want_logits = true;
    k.n_seg = segment_count(args->n_id, args->cfg->segment_size);
    if (k.n_seg < MIN_SEGMENT)
        return status_fail(ST_ARG, "a check needs --tokens for %d segments",
                           MIN_SEGMENT);
    sample_rows(&k);
    TRY(rooms(&k));
    TRY(bench_run_engine(&e, args, &cfg));
    TRY(run_engine(&k, e));
    TRY(run_reference(&k, e, n_thread));
    judge(&k, engine_compute(e));
    *out = r;
fail:
    mem_free(k.logits);
    mem_free(k.inner);
    mem_free(k.left.states);
    engine_free(e);
    return st;
}
