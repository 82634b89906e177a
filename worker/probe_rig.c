/* SPDX-License-Identifier: Apache-2.0 */
/* Some layers between two borders, on an engine of their own. */
#include "worker/probe_rig.h"

#include <string.h>

#include "base/bf16.h"
#include "base/clock.h"
#include "base/mem.h"
#include "model/weights.h"
#include "worker/draw.h"

enum {
    WARM = 64, /* tokens of the first segments */
    MAX_REPEAT = 50,
    MAX_CELL = PROBE_RIG_CELLS,
    MAX_LAYER = 8,
    GPU_CELL = 8,
    WEIGHT_BYTES = 32 << 20, /* of more than one layer: caches are smaller */
    ROWS_BYTES = 256 << 20   /* of hidden rows and keys of all cells */
};

static const double LEAST = 0.3; /* seconds behind opening */

/* --------------------------------------------------------------- clock --- */

static double
tick(const probe_rig *p)
{
    return p->own_core ? clock_thread_seconds() : clock_seconds();
}

double
probe_rig_left(const probe_rig *p)
{
    return probe_budget_left(&p->budget, clock_seconds(), tick(p));
}

/* -------------------------------------------------------------- set-up --- */

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
layers_of(const probe_rig *p)
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
fill_rows(probe_rig *p)
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
        uint16_t half = bf16_from_float(x);
        if (wide)
            memcpy(rows + i * sizeof x, &x, sizeof x);
        else
            memcpy(rows + i * sizeof half, &half, sizeof half);
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
open_engine(probe_rig *p)
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

/* ------------------------------------------------------------- running --- */

static status
feed(probe_rig *p, uint32_t id, const engine_segment *one)
{
    engine_segment s = *one;
    status st = ST_OK;

    s.seg = p->n_fed[id];
    /* Where one layer is all that there is, it is not the last one. */
    if (p->n_layer > 1)
        s.want |= ENGINE_STATE_ALONE;
    if (s.seg > 0)
        s.past = (memory_past){.n_token = p->cfg->segment_size,
                               .n_last = p->cfg->segment_size};
    TRY(engine_feed(p->e, id, &s, NULL));
    p->n_fed[id]++;
fail:
    return st;
}

static status
run_group(probe_rig *p, uint32_t n_cell)
{
    const engine_done *done = NULL;
    uint32_t n = 0;
    status st = ST_OK;

    TRY(engine_launch(p->e, &n));
    TRY(engine_collect(p->e, &done, &n));
    ASSERT(n == n_cell);
fail:
    return st;
}

/* The next segment of streams 0 .. n_cell - 1, like `one`, at a layer after the
 * other. */
static status
run_groups(probe_rig *p, uint32_t n_cell, const engine_segment *one,
           probe_rig_times *out)
{
    uint32_t n_usual = p->n_layer > 1 ? p->n_layer - 1 : 1;
    status st = ST_OK;

    for (uint32_t id = 0; id < n_cell; id++)
        TRY(feed(p, id, one));
    double start = tick(p);
    for (uint32_t i = 0; i < n_usual; i++)
        TRY(run_group(p, n_cell));
    double end = tick(p);
    for (uint32_t i = n_usual; i < p->n_layer; i++)
        TRY(run_group(p, n_cell));
    out->group = (end - start) / n_usual;
    out->last = p->n_layer > 1 ? tick(p) - end : 0;
    for (uint32_t id = 0; id < n_cell; id++)
        engine_release(p->e, id, p->n_fed[id] - 1);
fail:
    return st;
}

/* ------------------------------------------------------------- timing ---- */

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

status
probe_rig_time(probe_rig *p, uint32_t n_cell, const engine_segment *one,
               double enough, probe_rig_times *out)
{
    double group[MAX_REPEAT] = {0}, last[MAX_REPEAT] = {0};
    double start = tick(p), before = start, now = start;
    probe_rig_times t = {0};
    uint32_t n = 0;
    status st = ST_OK;

    TRY(run_groups(p, n_cell, one, &t));
    while (n == 0 || (n < MAX_REPEAT && now - start < enough)) {
        TRY(run_groups(p, n_cell, one, &t));
        group[n] = t.group;
        last[n++] = t.last;
        before = now;
        now = tick(p);
        if (now - before > probe_rig_left(p))
            break;
    }
    *out =
        (probe_rig_times){.group = median(group, n), .last = median(last, n)};
fail:
    return st;
}

status
probe_rig_time_once(probe_rig *p, double *seconds)
{
    const engine_segment full = {.n_token = p->cfg->segment_size};
    double t[MAX_LAYER] = {0}, before = tick(p);
    uint32_t n = 0, n_usual = p->n_layer > 1 ? p->n_layer - 1 : 1;
    status st = ST_OK;

    TRY(feed(p, 0, &full));
    while (n < n_usual) {
        TRY(run_group(p, 1));
        double now = tick(p);
        t[n++] = now - before;
        before = now;
        if (t[n - 1] > probe_rig_left(p))
            break;
    }
    /* The first one finds its scratch in fresh memory. */
    *seconds = n > 1 ? median(t + 1, n - 1) : t[0];
fail:
    return st;
}

status
probe_rig_open(probe_rig *p, kernel_device *dev, const model_config *cfg,
               bool own_core, double seconds)
{
    kernel_info info;
    engine_segment one = {.n_token = WARM};
    probe_rig_times t = {0};
    status st = ST_OK;

    *p = (probe_rig){.dev = dev, .cfg = cfg, .layer = usual_layer(cfg)};
    kernel_info_get(dev, &info);
    p->own_core = own_core && info.n_thread == 1;
    probe_budget_init(&p->budget, clock_seconds(), tick(p), seconds);
    p->n_layer = layers_of(p);
    p->n_cell = cells_of(&info, cfg, p->n_layer);
    p->ends[0] = p->layer;
    p->ends[1] = p->layer + p->n_layer;
    p->ends[2] = cfg->n_layer;
    if (one.n_token > cfg->segment_size)
        one.n_token = cfg->segment_size;
    TRY(open_engine(p));
    if (p->budget.until < clock_seconds() + LEAST)
        p->budget.until = clock_seconds() + LEAST;
    /* The first segments find their memory fresh. */
    TRY(run_groups(p, p->n_cell, &one, &t));
fail:
    return st;
}

void
probe_rig_close(probe_rig *p)
{
    engine_free(p->e);
    *p = (probe_rig){0};
}
