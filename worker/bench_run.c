/* SPDX-License-Identifier: Apache-2.0 */
/* Timed runs of one engine, and a look at what they left in its memory. */
#include "worker/bench_run.h"

#include <math.h>
#include <string.h>

#include "base/bf16.h"
#include "base/clock.h"
#include "base/mem.h"
#include "sched/segment.h"

status
bench_run_engine(engine **out, const bench_run_args *a,
                 const engine_config *cfg)
{
    weights_part part = {
        .n_layer = a->cfg->n_layer, .embed = true, .head = true};
    weights *w = NULL;
    model *m = NULL;
    weights_types types;
    kernel_info info;
    status st = ST_OK;

    kernel_info_get(a->dev, &info);
    weights_types_of_compute(&types, info.compute);
    if (a->want == WEIGHTS_INT8 && info.compute != KERNEL_F32)
        TRY(status_fail(ST_UNSUPPORTED, "weights in 8 bits are not supported "
                                        "on this device, on the CPU alone"));
    if (a->want == WEIGHTS_INT8)
        weights_types_int8(&types, a->cfg);
    if (info.n_thread == 0)
        TRY(engine_fit(a->cfg, &part, info.compute, cfg, info.memory_free));
    TRY(weights_new_typed(&w, a->dev, a->cfg, &part, &types));
    TRY(weights_randomize(w, a->seed));
    TRY(model_new(&m, a->dev, a->cfg, w, a->cfg->n_layer * cfg->n_stream));
    w = NULL; /* the model's */
    TRY(engine_new(out, a->dev, m, cfg));
    m = NULL; /* the engine's */
fail:
    model_free(m);
    weights_free(w);
    return st;
}

static memory_past
past_of(const bench_run_args *a, uint64_t n_segment)
{
    uint32_t size = a->cfg->segment_size;
    if (n_segment == 0)
        return (memory_past){0};
    uint32_t n_last = segment_tokens(n_segment - 1, a->n_id, size);
    return (memory_past){.n_token = segment_start(n_segment - 1, size) + n_last,
                         .n_last = n_last};
}

static status
feed(engine *e, const bench_run_args *a, uint64_t *n_fed)
{
    uint32_t size = a->cfg->segment_size;
    uint64_t n = segment_count(a->n_id, size);
    status st = ST_OK;
    for (; *n_fed < n && engine_room(e, 0) > 0; (*n_fed)++) {
        uint32_t rows = a->all_rows ? ENGINE_ALL_ROWS : 0;
        engine_segment s = {.seg = *n_fed,
                            .past = past_of(a, *n_fed),
                            .n_token = segment_tokens(*n_fed, a->n_id, size),
                            .want = a->want_logits ? ENGINE_LOGITS : rows};
        TRY(engine_feed(e, 0, &s, a->ids + segment_start(*n_fed, size)));
    }
fail:
    return st;
}

status
bench_run_once(engine *e, const bench_run_args *a, double *seconds)
{
    const engine_done *done = NULL;
    uint64_t n_fed = 0;
    uint32_t n_cell = 1;
    status st = ST_OK;
    double start = clock_seconds();

    TRY(engine_open(e, 0, true, 0));
    while (n_cell > 0) {
        TRY(feed(e, a, &n_fed));
        TRY(engine_launch(e, &n_cell));
        if (n_cell > 0)
            TRY(engine_collect(e, &done, &n_cell));
    }
    *seconds = clock_seconds() - start;
fail:
    return st;
}

/* Insertion sort: there are few. */
double
bench_run_median(double *x, uint32_t n)
{
    for (uint32_t i = 1; i < n; i++) {
        double value = x[i];
        uint32_t at = i;
        for (; at > 0 && x[at - 1] > value; at--)
            x[at] = x[at - 1];
        x[at] = value;
    }
    return n % 2 == 1 ? x[n / 2] : (x[n / 2 - 1] + x[n / 2]) / 2;
}

static status
time_runs(engine *e, const bench_run_args *a, bench_run_result *r)
{
    double seconds[BENCH_RUN_MAX_REPEAT] = {0};
    engine_counts before, after;
    status st = ST_OK;

    ASSERT(a->n_repeat > 0 && a->n_repeat <= BENCH_RUN_MAX_REPEAT);
    TRY(bench_run_once(e, a, &r->warm));
    engine_counts_get(e, &before);
    for (uint32_t i = 0; i < a->n_repeat; i++) {
        engine_close(e, 0);
        TRY(bench_run_once(e, a, &seconds[i]));
    }
    engine_counts_get(e, &after);
    r->seconds = bench_run_median(seconds, a->n_repeat);
    r->n_group = (after.n_group - before.n_group) / a->n_repeat;
    r->flops = (after.flops - before.flops) / a->n_repeat;
fail:
    return st;
}

/* Finite, not all zero, and not growing. */
static status
check_norm(double norm, size_t n)
{
    if (!isfinite(norm) || norm == 0)
        return status_fail(ST_STATE, "the states are %s: no result",
                           norm == 0 ? "all zero" : "not finite");
    if (norm > BENCH_RUN_MAX_RMS * sqrt((double)n))
        return status_fail(ST_STATE,
                           "the states' norm %g is that of numbers above %d, "
                           "they grow: no result",
                           norm, BENCH_RUN_MAX_RMS);
    return ST_OK;
}

static double
norm_of(const float *x, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sqrt(sum);
}

static size_t
tensors_of(const engine *e, const bench_run_args *a, uint32_t layer,
           const memory_past *past, memory_tensor out[MEMORY_MAX_TENSOR])
{
    return memory_of(a->cfg)->tensors(a->cfg, engine_compute(e), layer, past,
                                      out);
}

static size_t
numbers_of(const memory_tensor *t)
{
    return memory_tensor_bytes(t) / kernel_type_size(t->type);
}

/* Numbers of a tensor in F32, whatever it is kept in. */
static void
widen(float *to, const uint8_t *state, const memory_tensor *t)
{
    size_t n = numbers_of(t);

    state += t->offset;
    if (t->type == KERNEL_F32) {
        memcpy(to, state, n * sizeof *to);
        return;
    }
    ASSERT(t->type == KERNEL_BF16);
    for (size_t i = 0; i < n; i++) {
        uint16_t half;

        memcpy(&half, state + i * sizeof half, sizeof half);
        to[i] = bf16_to_float(half);
    }
}

static status
read_layer(engine *e, const bench_run_args *a, uint32_t layer, uint8_t *room,
           float **to)
{
    memory_past past = past_of(a, segment_count(a->n_id, a->cfg->segment_size));
    memory_tensor t[MEMORY_MAX_TENSOR];
    size_t n = tensors_of(e, a, layer, &past, t);
    engine_place at;
    status st = ST_OK;

    engine_state_place(e, 0, layer, &past, &at);
    TRY(engine_read(e, &at, room));
    for (size_t i = 0; i < n; i++) {
        widen(*to, room, &t[i]);
        *to += numbers_of(&t[i]);
    }
fail:
    return st;
}

status
bench_run_states(engine *e, const bench_run_args *a, float **states,
                 size_t *bytes)
{
    memory_past past = past_of(a, segment_count(a->n_id, a->cfg->segment_size));
    memory_tensor t[MEMORY_MAX_TENSOR];
    uint8_t *room = NULL;
    float *x = NULL, *to;
    size_t n = 0;
    status st = ST_OK;

    for (uint32_t layer = 0; layer < a->cfg->n_layer; layer++) {
        size_t n_tensor = tensors_of(e, a, layer, &past, t);

        for (size_t i = 0; i < n_tensor; i++)
            n += numbers_of(&t[i]);
    }
    TRY(mem_new(&room, engine_state_room(e), 1));
    TRY(mem_new(&x, n, sizeof *x));
    to = x;
    for (uint32_t layer = 0; layer < a->cfg->n_layer; layer++)
        TRY(read_layer(e, a, layer, room, &to));
    TRY(check_norm(norm_of(x, n), n));
    *states = x;
    *bytes = n * sizeof *x;
    x = NULL; /* the caller's */
fail:
    mem_free(room);
    mem_free(x);
    return st;
}

static size_t
weights_of(const bench_run_args *a)
{
    weights_part part = {
        .n_layer = a->cfg->n_layer, .embed = true, .head = true};
    kernel_info info;

    kernel_info_get(a->dev, &info);
    return weights_bytes(a->cfg, &part, info.compute);
}

status
bench_run(bench_run_result *out, const bench_run_args *args)
{
    engine_config cfg = {.place = {.n_layer = args->cfg->n_layer, .size = 1},
                         .order = args->order,
                         .n_stream = 1};
    bench_run_result r = {0};
    engine *e = NULL;
    kernel_info before, after;
    status st = ST_OK;

    kernel_info_get(args->dev, &before);
    TRY(bench_run_engine(&e, args, &cfg));
    TRY(time_runs(e, args, &r));
    kernel_info_get(args->dev, &after);
    if (before.n_thread == 0)
        r.taken = before.memory_free - after.memory_free - weights_of(args);
    r.n_ran = kernel_ran(engine_queue(e), r.ran, BENCH_RUN_MAX_RAN);
    TRY(bench_run_states(e, args, &r.states, &r.states_bytes));
    r.norm = norm_of(r.states, r.states_bytes / sizeof *r.states);
    r.bytes = engine_bytes(e);
    *out = r;
    r.states = NULL; /* the caller's */
fail:
    mem_free(r.states);
    engine_free(e);
    return st;
}
