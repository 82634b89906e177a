/* SPDX-License-Identifier: Apache-2.0 */
/* Some layers between two borders, timed: groups of one cell and of several.
 * Cells of different layers follow each other, as they do in a world, so that a
 * cache keeps as much of their weights as it does there. */
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "model/memory.h"
#include "model/weights.h"
#include "worker/draw.h"
#include "worker/engine.h"
#include "worker/probe.h"

enum {
    SHORT = 64, /* tokens of the first look */
    WIDE = 256, /* at most, of the rows whose attention is timed */
    N_REPEAT = 3,
    MAX_REPEAT = 25,
    MAX_CELL = 32,
    MAX_LAYER = 8,
    GPU_CELL = 8,
    WEIGHT_BYTES = 32 << 20, /* of more than one layer: caches are smaller */
    ROWS_BYTES = 256 << 20   /* of hidden rows and keys of all cells */
};

/* Seconds of the measurement after the first look, as planned; what takes
 * longer than MOST is run less often. */
static const double BUDGET = 0.3, MOST = 0.45;
/* Short groups are run oftener than N_REPEAT, for so long. */
static const double ENOUGH = 0.04;

typedef struct prober {
    kernel_device *dev;
    const model_config *cfg;
    engine *e;
    uint32_t layer, n_layer, n_cell;
    uint32_t ends[3]; /* the layers between two borders */
    double start;
    uint64_t n_fed[MAX_CELL]; /* segments that each stream was given */
} prober;

/* A layer with a memory where there is one: most layers have. */
static uint32_t
usual_layer(const model_config *cfg)
{
    for (uint32_t layer = 0; layer < cfg->n_layer; layer++)
        if (!config_is_bare(cfg, layer))
            return layer;
    return 0;
}

/* Neighbours of `layer` that are timed with it. */
static uint32_t
layers_of(const prober *p)
{
    weights_part one = {.layer_first = p->layer, .n_layer = 1};
    kernel_info info;

    kernel_info_get(p->dev, &info);
    size_t n = WEIGHT_BYTES / weights_bytes(p->cfg, &one, info.compute);
    size_t most = p->cfg->n_layer - p->layer;
    n = n < most ? n : most;
    n = n < MAX_LAYER ? n : MAX_LAYER;
    return n > 1 ? (uint32_t)n : 1;
}

/* Cells of a large group, as far as their rows have room.  One thread runs a
 * group cell by cell: more of them tell nothing. */
static uint32_t
cells_of(const kernel_info *info, const model_config *cfg, uint32_t n_layer)
{
    uint32_t n = info->n_thread == 0 ? GPU_CELL : 2 * info->n_thread;
    size_t row =
        cfg->d_model + 2 * (size_t)n_layer * cfg->n_kv_head * cfg->d_head;
    size_t most = ROWS_BYTES / (memory_max_rows(cfg) * row * sizeof(float));

    if (info->n_thread == 1)
        return 1;
    n = n < cfg->n_layer ? n : cfg->n_layer;
    n = n < MAX_CELL ? n : MAX_CELL;
    n = n < most ? n : (uint32_t)most;
    return n > 1 ? n : 2;
}

/* Hidden rows that look like some: zeros would be computed with, too, but what
 * a GPU draws for them is not what it draws for others. */
static status
fill_rows(prober *p)
{
    engine_segment full = {.n_token = p->cfg->segment_size};
    uint32_t n_row = engine_rows(p->e, &full);
    bool wide = engine_compute(p->e) == KERNEL_F32;
    engine_place at;
    uint8_t *rows = NULL;
    status st = ST_OK;

    engine_x_place(p->e, 0, 0, n_row, &at);
    TRY(mem_new(&rows, at.len, 1));
    for (size_t i = 0; i < at.len / (wide ? 4 : 2); i++) {
        float x = draw_uniform(1, i) - 0.5F;
        uint32_t bits;
        memcpy(&bits, &x, sizeof bits);
        uint16_t half = (uint16_t)(bits >> 16);
        if (wide)
            memcpy(rows + 4 * i, &bits, sizeof bits);
        else
            memcpy(rows + 2 * i, &half, sizeof half);
    }
    for (uint32_t id = 0; id < p->n_cell; id++) {
        engine_x_place(p->e, id, 0, n_row, &at);
        TRY(engine_write(p->e, &at, rows));
    }
fail:
    mem_free(rows);
    return st;
}

static status
open_engine(prober *p)
{
    weights_part part = {.layer_first = p->layer, .n_layer = p->n_layer};
    engine_config cfg = {.place = {.kind = PLACE_LAYERS,
                                   .n_layer = p->cfg->n_layer,
                                   .size = 3,
                                   .rank = 1,
                                   .ends = p->ends},
                         .n_stream = p->n_cell,
                         .n_slot = 1,
                         .max_cell = p->n_cell,
                         .kv_cap = p->cfg->segment_size,
                         .max_token = 4 * (uint64_t)p->cfg->segment_size};
    kernel_info info;
    weights *w = NULL;
    model *m = NULL;
    status st = ST_OK;

    kernel_info_get(p->dev, &info);
    TRY(weights_new(&w, p->dev, p->cfg, &part));
    if (weights_bytes(p->cfg, &part, info.compute) <= WEIGHT_BYTES)
        TRY(weights_randomize(w, 1));
    TRY(model_new(&m, p->dev, p->cfg, w, p->n_cell));
    w = NULL; /* the model's */
    TRY(engine_new(&p->e, p->dev, m, &cfg));
    m = NULL; /* the engine's */
    for (uint32_t id = 0; id < p->n_cell; id++)
        TRY(engine_open(p->e, id, true, 0));
    TRY(fill_rows(p));
fail:
    model_free(m);
    weights_free(w);
    return st;
}

/* The next segment of streams 0 .. n_cell - 1, like `one`, at a layer after the
 * other: the seconds of one of these groups. */
static status
run_groups(prober *p, uint32_t n_cell, const engine_segment *one,
           double *seconds)
{
    const engine_done *done = NULL;
    uint32_t n = 0;
    status st = ST_OK;

    for (uint32_t id = 0; id < n_cell; id++) {
        engine_segment s = *one;
        s.seg = p->n_fed[id];
        if (s.seg > 0)
            s.past = (memory_past){.n_token = p->cfg->segment_size,
                                   .n_last = p->cfg->segment_size};
        TRY(engine_feed(p->e, id, &s, NULL));
        p->n_fed[id]++;
    }
    double start = clock_seconds();
    for (uint32_t i = 0; i < p->n_layer; i++) {
        TRY(engine_launch(p->e, &n));
        TRY(engine_collect(p->e, &done, &n));
        ASSERT(n == n_cell);
    }
    *seconds = (clock_seconds() - start) / p->n_layer;
    for (uint32_t id = 0; id < n_cell; id++)
        engine_release(p->e, id, p->n_fed[id] - 1);
fail:
    return st;
}

static double
median(double *t, uint32_t n)
{
    for (uint32_t i = 1; i < n; i++)
        for (uint32_t k = i; k > 0 && t[k - 1] > t[k]; k--) {
            double swap = t[k];
            t[k] = t[k - 1];
            t[k - 1] = swap;
        }
    return t[n / 2];
}

/* The middle one of some runs, after one that does not count. */
static status
time_group(prober *p, uint32_t n_cell, const engine_segment *one,
           double *seconds)
{
    double t[MAX_REPEAT] = {0}, start = clock_seconds(), now = start;
    uint32_t n = 0;
    status st = ST_OK;

    TRY(run_groups(p, n_cell, one, &t[0]));
    while (n < N_REPEAT || (n < MAX_REPEAT && now - start < ENOUGH)) {
        TRY(run_groups(p, n_cell, one, &t[n++]));
        now = clock_seconds();
        if (now - p->start > MOST)
            break;
    }
    *seconds = median(t, n);
fail:
    return st;
}

static config_cell
cell_of(const prober *p, uint32_t n_token)
{
    const engine_segment s = {.n_token = n_token};
    return (config_cell){.n_row = engine_rows(p->e, &s),
                         .n_mem = p->cfg->n_mem};
}

static double
flops_of(const prober *p, uint32_t n_token)
{
    const config_cell c = cell_of(p, n_token);
    return config_cell_flops(p->cfg, &c);
}

/* FLOPs that grow with the square of the rows: attention's. */
static double
square_of(const prober *p, uint32_t n_token)
{
    double r = cell_of(p, n_token).n_row;
    return 2.0 * p->cfg->n_head * p->cfg->d_head * r * (r + 1);
}

/* Seconds of a multiply-add's FLOP in attention: what some rows take more
 * behind the keys of nearly a full segment than behind none.  0: nothing can be
 * told.
 */
static status
time_attention(prober *p, uint32_t n_token, double *seconds)
{
    uint32_t n_row = n_token < WIDE ? n_token : WIDE;
    uint32_t n_past = p->cfg->segment_size - n_row;
    engine_segment near = {.n_token = n_row, .frozen = 1}, far = near;
    double t[2] = {0};
    status st = ST_OK;

    *seconds = 0;
    if (memory_of(p->cfg)->grows)
        return ST_OK;
    far.pos = n_past;
    TRY(time_group(p, 1, &near, &t[0]));
    TRY(time_group(p, 1, &far, &t[1]));
    double flops =
        4.0 * p->cfg->n_head * p->cfg->d_head * n_row * (double)n_past;
    if (t[1] > t[0])
        *seconds = (t[1] - t[0]) / flops;
fail:
    return st;
}

/* Seconds of a full cell from `t`, those of one of n_token tokens: products
 * and attention have a rate each. */
static status
stretch(prober *p, uint32_t n_token, double t, double *seconds)
{
    uint32_t full = p->cfg->segment_size;
    double square = square_of(p, full), rest = flops_of(p, full) - square;
    double s = square_of(p, n_token), r = flops_of(p, n_token) - s;
    double each = 0;
    status st = ST_OK;

    TRY(time_attention(p, n_token, &each));
    if (each <= 0 || s * each >= t) /* odd: one rate for both */
        each = t / (s + r);
    *seconds = (t - s * each) / r * rest + each * square;
fail:
    return st;
}

/* The longest segment whose groups can all be run in time, a power of two of
 * tokens below the full one; `t` is the seconds of a short one. */
static uint32_t
affordable(const prober *p, double t)
{
    double n_run = (N_REPEAT + 1) * (1.0 + p->n_cell) * p->n_layer;
    double rate = flops_of(p, SHORT) / t;
    uint32_t n = p->cfg->segment_size;

    if (n_run * flops_of(p, n) / rate <= BUDGET)
        return n;
    for (n = SHORT; 2 * n < p->cfg->segment_size; n *= 2)
        if (n_run * flops_of(p, 2 * n) / rate > BUDGET)
            break;
    return n;
}

static status
measure(prober *p, cost_rank *out)
{
    uint32_t full = p->cfg->segment_size;
    engine_segment one = {.n_token = full < SHORT ? full : SHORT};
    double t = 0, full_t = 0, many = 0;
    cost_rank r = {.memory = out->memory};
    kernel_info info;
    status st = ST_OK;

    kernel_info_get(p->dev, &info);
    r.n_cell = info.n_thread;
    r.all_rows = info.n_thread == 0;

    /* The first segments find their memory fresh. */
    TRY(run_groups(p, p->n_cell, &one, &t));
    TRY(time_group(p, 1, &one, &t));
    if (full > SHORT) {
        one.n_token = affordable(p, t);
        if (one.n_token > SHORT)
            TRY(time_group(p, 1, &one, &t));
    }
    many = t;
    if (p->n_cell > 1)
        TRY(time_group(p, p->n_cell, &one, &many));
    full_t = t;
    if (one.n_token < full)
        TRY(stretch(p, one.n_token, t, &full_t));
    const double rows = cell_of(p, full).n_row, flops = flops_of(p, full);
    const double n = p->n_cell;
    r.flops = flops / full_t;
    if (p->n_cell > 1)
        cost_fit(&r, (double[]){rows, n * rows}, (double[]){flops, n * flops},
                 (double[]){full_t, full_t * many / t});
    *out = r;
fail:
    return st;
}

status
probe_cells(cost_rank *out, kernel_device *dev, const model_config *cfg)
{
    prober p = {.dev = dev, .cfg = cfg, .layer = usual_layer(cfg)};
    kernel_info info;
    status st = ST_OK;

    kernel_info_get(dev, &info);
    p.n_layer = layers_of(&p);
    p.n_cell = cells_of(&info, cfg, p.n_layer);
    p.ends[0] = p.layer;
    p.ends[1] = p.layer + p.n_layer;
    p.ends[2] = cfg->n_layer;
    TRY(open_engine(&p));
    p.start = clock_seconds();
    TRY(measure(&p, out));
fail:
    engine_free(p.e);
    return st;
}
