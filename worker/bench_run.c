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

/* ---------------------------------------------------------- what is left ---
 */

/* Adds the squares of x[n], which must be finite and not all zero; `what` they
 * are, of which layer. */
static status
add_squares(double *sum, const float *x, size_t n, const char *what,
            uint32_t layer)
{
    double own = 0;

    for (size_t i = 0; i < n; i++)
        own += (double)x[i] * (double)x[i];
    *sum += own;
    if (!isfinite(own) || own == 0)
        return status_fail(ST_STATE, "%s of layer %u is %s: no result", what,
                           layer, own == 0 ? "all zero" : "not finite");
    return ST_OK;
}

static status
check_growth(double norm, size_t n)
{
    if (norm > BENCH_RUN_MAX_RMS * sqrt((double)n))
        return status_fail(ST_STATE,
                           "the states' norm %g is that of numbers above %d, "
                           "they grow: no result",
                           norm, BENCH_RUN_MAX_RMS);
    return ST_OK;
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

/* n numbers in F32, whatever they are kept in. */
static void
widen(float *to, const uint8_t *from, kernel_type type, size_t n)
{
    if (type == KERNEL_F32) {
        memcpy(to, from, n * sizeof *to);
        return;
    }
    ASSERT(type == KERNEL_BF16);
    for (size_t i = 0; i < n; i++) {
        uint16_t half;

        memcpy(&half, from + i * sizeof half, sizeof half);
        to[i] = bf16_to_float(half);
    }
}

/* A layer's states go to `to`, by way of `room`. */
static status
read_layer(engine *e, const bench_run_args *a, const bench_run_end *end,
           uint32_t layer, uint8_t *room, float *to)
{
    memory_tensor t[MEMORY_MAX_TENSOR];
    size_t n = tensors_of(e, a, layer, &end->past, t);
    engine_place at;
    status st = ST_OK;

    engine_state_place(e, end->stream, layer, &end->past, &at);
    TRY(engine_read(e, &at, room));
    for (size_t i = 0; i < n; i++) {
        widen(to, room + t[i].offset, t[i].type, numbers_of(&t[i]));
        to += numbers_of(&t[i]);
    }
fail:
    return st;
}

/* Adds up the norms of a layer's states, and steps behind them. */
static status
look_at_layer(const float **x, const memory_tensor *t, uint32_t layer,
              bench_run_left *left)
{
    status st = ST_OK;

    for (uint32_t i = 0; i < left->n_norm; i++) {
        left->norm_name[i] = t[i].name;
        TRY(add_squares(&left->norm[i], *x, numbers_of(&t[i]), t[i].name,
                        layer));
        *x += numbers_of(&t[i]);
    }
fail:
    return st;
}

/* The rows that the last segment left behind the last layer. */
static status
look_at_rows(engine *e, const bench_run_args *a, const bench_run_end *end,
             bench_run_left *left)
{
    kernel_type type = engine_compute(e);
    size_t n = (size_t)end->n_row * a->cfg->d_model;
    engine_place at;
    uint8_t *room = NULL;
    float *x = NULL;
    status st = ST_OK;

    engine_x_place(e, end->stream, end->local_seg, end->n_row, &at);
    ASSERT(at.len == n * kernel_type_size(type));
    TRY(mem_new(&room, at.len, 1));
    TRY(mem_new(&x, n, sizeof *x));
    TRY(engine_read(e, &at, room));
    widen(x, room, type, n);
    TRY(add_squares(&left->rows_norm, x, n, "what comes out",
                    a->cfg->n_layer - 1));
    left->rows_norm = sqrt(left->rows_norm);
fail:
    mem_free(room);
    mem_free(x);
    return st;
}

static size_t
numbers_of_layer(const engine *e, const bench_run_args *a, uint32_t layer,
                 const memory_past *past)
{
    memory_tensor t[MEMORY_MAX_TENSOR];
    size_t n_tensor = tensors_of(e, a, layer, past, t), n = 0;

    for (size_t i = 0; i < n_tensor; i++)
        n += numbers_of(&t[i]);
    return n;
}

/* All layers' states, one behind the other; mem_free(). */
static status
read_states(engine *e, const bench_run_args *a, const bench_run_end *end,
            float **out, size_t *n)
{
    uint8_t *room = NULL;
    float *x = NULL, *to;
    status st = ST_OK;

    *n = 0;
    for (uint32_t layer = 0; layer < a->cfg->n_layer; layer++)
        *n += numbers_of_layer(e, a, layer, &end->past);
    TRY(mem_new(&room, engine_state_room(e), 1));
    TRY(mem_new(&x, *n, sizeof *x));
    to = x;
    for (uint32_t layer = 0; layer < a->cfg->n_layer; layer++) {
        TRY(read_layer(e, a, end, layer, room, to));
        to += numbers_of_layer(e, a, layer, &end->past);
    }
    *out = x;
    x = NULL; /* the caller's */
fail:
    mem_free(room);
    mem_free(x);
    return st;
}

static status
look_at_states(engine *e, const bench_run_args *a, const bench_run_end *end,
               size_t n, bench_run_left *left)
{
    const float *x = left->states;
    memory_tensor t[MEMORY_MAX_TENSOR];
    status st = ST_OK;

    for (uint32_t layer = 0; layer < a->cfg->n_layer; layer++) {
        left->n_norm = (uint32_t)tensors_of(e, a, layer, &end->past, t);
        TRY(look_at_layer(&x, t, layer, left));
    }
    for (uint32_t i = 0; i < left->n_norm; i++) {
        left->states_norm += left->norm[i];
        left->norm[i] = sqrt(left->norm[i]);
    }
    left->states_norm = sqrt(left->states_norm);
    TRY(check_growth(left->states_norm, n));
fail:
    return st;
}

status
bench_run_look(engine *e, const bench_run_args *a, const bench_run_end *end,
               bench_run_left *out)
{
    bench_run_left left = {0};
    size_t n = 0;
    status st = ST_OK;

    TRY(read_states(e, a, end, &left.states, &n));
    TRY(look_at_states(e, a, end, n, &left));
    TRY(look_at_rows(e, a, end, &left));
    left.states_bytes = n * sizeof *left.states;
    *out = left;
    left.states = NULL; /* the caller's */
fail:
    mem_free(left.states);
    return st;
}

bench_run_end
bench_run_end_of(const engine *e, const bench_run_args *a)
{
    uint64_t n = segment_count(a->n_id, a->cfg->segment_size);
    const engine_segment last = {
        .seg = n - 1,
        .past = past_of(a, n - 1),
        .n_token = segment_tokens(n - 1, a->n_id, a->cfg->segment_size)};

    return (bench_run_end){.past = past_of(a, n),
                           .local_seg = n - 1,
                           .n_row = engine_rows(e, &last)};
}

/* --------------------------------------------------------------- all --- */

/* Each run's result is looked at; the last one's is kept. */
static status
time_runs(engine *e, const bench_run_args *a, bench_run_result *r)
{
    const bench_run_end end = bench_run_end_of(e, a);
    double seconds[BENCH_RUN_MAX_REPEAT] = {0};
    engine_counts before, after;
    status st = ST_OK;

    ASSERT(a->n_repeat > 0 && a->n_repeat <= BENCH_RUN_MAX_REPEAT);
    TRY(bench_run_once(e, a, &r->warm));
    engine_counts_get(e, &before);
    for (uint32_t i = 0; i < a->n_repeat; i++) {
        engine_close(e, 0);
        TRY(bench_run_once(e, a, &seconds[i]));
        mem_free(r->left.states);
        r->left.states = NULL;
        TRY(bench_run_look(e, a, &end, &r->left));
    }
    engine_counts_get(e, &after);
    r->seconds = bench_run_median(seconds, a->n_repeat);
    r->n_group = (after.n_group - before.n_group) / a->n_repeat;
    r->flops = (after.flops - before.flops) / a->n_repeat;
fail:
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
    r.bytes = engine_bytes(e);
    *out = r;
    r.left.states = NULL; /* the caller's */
fail:
    mem_free(r.left.states);
    engine_free(e);
    return st;
}
