/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs that read a little, and then answer step by step. */
#include "worker/bench_decode.h"

#include "base/clock.h"
#include "base/mem.h"
#include "sched/segment.h"

/* A run of all jobs. */
typedef struct answers {
    const bench_decode_args *args;
    engine *e;
    int32_t next[BENCH_DECODE_MAX_JOB]; /* drawn last */
    uint64_t sum;                       /* of all drawn, in some way */
    bench_run_left left;                /* by the last job */
} answers;

double
bench_decode_bytes(const model_config *c, kernel_type compute, uint32_t n_job)
{
    double d = c->d_model, e = c->d_head,
           size = (double)kernel_type_size(compute);
    double key = config_d_key(c);
    double layer = d * (c->n_head + 2.0 * c->n_kv_head) * e +
                   c->n_head * e * d + 3.0 * d * c->d_ffn + d * c->d_mem +
                   2.0 * d;
    double number = c->state_type == CONFIG_BF16 ? 2.0 : 4.0;
    double state = key * (d * number + sizeof(float));

    return size * (c->n_layer * layer + d * (c->n_vocab + 1.0)) +
           n_job * c->n_layer * state;
}

static void
take_token(void *ctx, uint32_t stream, const engine_segment *segment,
           const engine_token *token)
{
    answers *a = ctx;
    (void)segment;
    a->next[stream] = token->id;
    a->sum = a->sum * 31 + (uint64_t)token->id * (stream + 1);
}

/* Runs what can run; tokens come to take_token(). */
static status
turn(answers *a)
{
    const engine_done *done = NULL;
    uint32_t n_cell = 1;
    status st = ST_OK;

    while (n_cell > 0) {
        TRY(engine_launch(a->e, &n_cell));
        if (n_cell > 0)
            TRY(engine_collect(a->e, &done, &n_cell));
    }
fail:
    return st;
}

/* Every job reads one segment, in different words, and gets its prompt. */
static status
begin(answers *a)
{
    uint32_t size = a->args->cfg->segment_size;
    status st = ST_OK;

    for (uint32_t job = 0; job < a->args->n_job; job++) {
        const engine_segment read = {.n_token = size};
        const engine_segment prompt = {
            .seg = 1,
            .past = {.n_token = size, .n_last = size},
            .n_token = BENCH_DECODE_PROMPT,
            .frozen = 1,
            .want = ENGINE_TOKEN,
            .sample = {.top_p = 1.0f}};
        TRY(engine_open(a->e, job, true, 0));
        TRY(engine_feed(a->e, job, &read, a->args->ids + job));
        TRY(turn(a));
        TRY(engine_feed(a->e, job, &prompt, a->args->ids + job));
    }
    TRY(turn(a));
fail:
    return st;
}

static status
step(answers *a, uint32_t n_drawn)
{
    uint32_t size = a->args->cfg->segment_size;
    status st = ST_OK;

    for (uint32_t job = 0; job < a->args->n_job; job++) {
        const engine_segment row = {.seg = 1,
                                    .past = {.n_token = size, .n_last = size},
                                    .n_token = 1,
                                    .pos = BENCH_DECODE_PROMPT + n_drawn,
                                    .frozen = 1,
                                    .want = ENGINE_TOKEN,
                                    .sample = {.top_p = 1.0f}};
        TRY(engine_feed(a->e, job, &row, &a->next[job]));
    }
    TRY(turn(a));
fail:
    return st;
}

/* What every job has left: its states as it read them, and the last row. */
static status
look(answers *a)
{
    const bench_run_args of = {.cfg = a->args->cfg};
    uint32_t size = a->args->cfg->segment_size;
    status st = ST_OK;

    for (uint32_t job = 0; job < a->args->n_job; job++) {
        /* Local segments: what was read, the prompt, a step each. */
        const bench_run_end end = {.stream = job,
                                   .past = {.n_token = size, .n_last = size},
                                   .local_seg = 1 + a->args->n_token,
                                   .n_row = 1};

        mem_free(a->left.states);
        a->left.states = NULL;
        TRY(bench_run_look(a->e, &of, &end, &a->left));
    }
fail:
    return st;
}

static status
run_once(answers *a, double *seconds)
{
    status st = ST_OK;

    a->sum = 0;
    TRY(begin(a));
    double start = clock_seconds();
    for (uint32_t i = 0; i < a->args->n_token; i++)
        TRY(step(a, i));
    *seconds = clock_seconds() - start;
    TRY(look(a));
    for (uint32_t job = 0; job < a->args->n_job; job++)
        engine_close(a->e, job);
fail:
    return st;
}

static status
time_runs(answers *a, bench_decode_result *r)
{
    double seconds[BENCH_RUN_MAX_REPEAT] = {0}, start = clock_seconds();
    engine_counts before, after;
    status st = ST_OK;

    TRY(run_once(a, &seconds[0]));
    r->warm = clock_seconds() - start;
    uint64_t sum = a->sum;
    engine_counts_get(a->e, &before);
    for (uint32_t i = 0; i < a->args->n_repeat; i++) {
        TRY(run_once(a, &seconds[i]));
        if (a->sum != sum)
            TRY(status_fail(ST_STATE, "the same answer came out different"));
    }
    r->seconds = bench_run_median(seconds, a->args->n_repeat);
    r->n_step = a->args->n_token;
    engine_counts_get(a->e, &after);
    r->n_ahead = (after.n_ahead - before.n_ahead) / a->args->n_repeat;
fail:
    return st;
}

status
bench_decode(bench_decode_result *out, const bench_decode_args *args)
{
    const engine_config cfg = {
        .place = {.n_layer = args->cfg->n_layer, .size = 1},
        .n_stream = args->n_job,
        .kv_cap = BENCH_DECODE_PROMPT + args->n_token + 1,
        .n_slot = 2};
    const bench_run_args of = {
        .dev = args->dev, .cfg = args->cfg, .want = WEIGHTS_STORED, .seed = 1};
    answers a = {.args = args};
    const engine_sink sink = {.ctx = &a, .token = take_token};
    bench_decode_result r = {0};
    kernel_info info;
    status st = ST_OK;

    kernel_info_get(args->dev, &info);
    TRY(bench_run_engine(&a.e, &of, &cfg));
    engine_sink_set(a.e, &sink);
    TRY(time_runs(&a, &r));
    r.bytes = bench_decode_bytes(args->cfg, info.compute, args->n_job);
    r.device_bytes = engine_bytes(a.e);
    r.states_norm = a.left.states_norm;
    r.rows_norm = a.left.rows_norm;
    *out = r;
fail:
    mem_free(a.left.states);
    engine_free(a.e);
    return st;
}
