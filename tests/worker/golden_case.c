/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a golden case, and compares what comes out. */
#include "tests/worker/golden_case.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/expect.h"

enum { SHORT_STEPS = 6, N_POINT = 2 };

const golden_tensor *
golden_find(const golden *g, const char *name)
{
    for (size_t i = 0; i < g->n_tensor; i++) {
        if (strcmp(g->tensor[i].name, name) == 0)
            return &g->tensor[i];
    }
    return NULL;
}

static const golden_tensor *
find(const golden *g, const char *name)
{
    static const golden_tensor none;
    const golden_tensor *t = golden_find(g, name);
    if (t == NULL)
        fail_msg("%s has no tensor %s", g->name, name);
    return t != NULL ? t : &none;
}

void
golden_compare(golden *g, const char *name, const float *x, size_t first,
               size_t n)
{
    const golden_tensor *t = find(g, name);
    float most = 0, error = 0;

    assert_non_null(t->f32);
    assert_true(first + n <= t->n);
    for (size_t i = 0; i < t->n; i++)
        most = fmaxf(most, fabsf(t->f32[i]));
    for (size_t i = 0; i < n; i++) {
        assert_true(isfinite(x[i]));
        error = fmaxf(error, fabsf(x[i] - t->f32[first + i]));
    }
    g->worst = fmaxf(g->worst, error / most);
    if (g->tolerance > 0 && !(error <= g->tolerance * most))
        fail_msg("%s %s: error %g of %g", g->name, name, (double)error,
                 (double)most);
}

void
golden_compare_ids(const golden *g, const char *name, const int32_t *ids,
                   size_t n)
{
    const golden_tensor *t = find(g, name);

    assert_non_null(t->i32);
    assert_int_equal(t->n, n);
    assert_memory_equal(ids, t->i32, n * sizeof *ids);
}

/* W_mem.WHEN and z.WHEN of all layers, or memory.WHEN: what the reference
 * writes of its states is there, and nothing else is but windows. */
static void
compare_states(golden *g, const rig *r, const char *when,
               const memory_past *past, const uint8_t *states)
{
    kernel_type type = engine_compute(r->e);
    uint32_t n_compared = 0;
    for (uint32_t layer = 0; layer < r->cfg.n_layer; layer++) {
        memory_tensor t[MEMORY_MAX_TENSOR];
        uint32_t n = memory_of(&r->cfg)->tensors(&r->cfg, type, layer, past, t);
        for (uint32_t i = 0; i < n; i++) {
            char name[32];
            size_t n_number = memory_tensor_bytes(&t[i]) / sizeof(float);
            if (strcmp(t[i].name, "window") == 0)
                continue;
            (void)snprintf(name, sizeof name, "%s.%s", t[i].name, when);
            golden_compare(g, name,
                           (const float *)(const void *)(states + t[i].offset),
                           layer * n_number, n_number);
            n_compared++;
        }
        states += memory_state_bytes(&r->cfg, type, layer, past);
    }
    assert_true(n_compared > 0);
}

typedef struct observed {
    golden *g;
    uint32_t n_seen; /* points of segment 1 */
} observed;

static void
on_rows(void *ctx, uint32_t stream, const engine_segment *s, uint32_t layer,
        int point, uint32_t n_row, const float *rows)
{
    observed *o = ctx;
    char name[32];
    (void)stream;
    if (s->seg != 1 || golden_find(o->g, "seg1.layer0.in") == NULL)
        return; /* RMT's have none */
    (void)snprintf(name, sizeof name, "seg1.layer%u.%s", layer,
                   point == 0 ? "in" : "out");
    const golden_tensor *t = find(o->g, name);
    assert_int_equal(t->n_row, n_row);
    golden_compare(o->g, name, rows, 0, t->n);
    o->n_seen++;
}

/* Scores the document; with `look`, through the observer. */
static void
check_score(golden *g, rig *r, bool look)
{
    const golden_tensor *ids = find(g, "input_ids");
    observed seen = {.g = g};
    rig_job job = {.ids = ids->i32, .n_id = ids->n, .want_logits = true};
    r->rows = look ? on_rows : NULL;
    r->rows_ctx = &seen;
    rig_run(r, &job, 1);
    assert_int_equal(job.n_row_seen, ids->n);
    golden_compare(g, "logits", job.logits, 0, ids->n * r->cfg.n_vocab);
    compare_states(g, r, "after_first", &job.first_past, job.first_states);
    compare_states(g, r, "final", &job.final_past, job.final_states);
    if (look && golden_find(g, "seg1.layer0.in") != NULL)
        assert_int_equal(seen.n_seen, N_POINT * r->cfg.n_layer);
    rig_job_free(&job);
    r->rows = NULL;
}

/* Greedy answers to the whole document, and to its first S - 3 tokens. */
static void
check_generation(golden *g, rig *r)
{
    const golden_tensor *ids = find(g, "input_ids");
    size_t n_step = find(g, "gen_ids")->n;
    rig_job job[2] = {
        {.ids = ids->i32, .n_id = ids->n, .n_generate = (uint32_t)n_step},
        {.ids = ids->i32,
         .n_id = r->cfg.segment_size - 3,
         .n_generate = SHORT_STEPS}};
    rig_run(r, job, 2);
    if (g->tolerance > 0) { /* another token, and all behind it differs */
        golden_compare_ids(g, "gen_ids", job[0].gen_ids, n_step);
        golden_compare(g, "gen_logits", job[0].gen_logits, 0,
                       n_step * r->cfg.n_vocab);
        golden_compare_ids(g, "short_gen_ids", job[1].gen_ids, SHORT_STEPS);
        golden_compare(g, "short_gen_logits", job[1].gen_logits, 0,
                       SHORT_STEPS * r->cfg.n_vocab);
    }
    rig_job_free(&job[0]);
    rig_job_free(&job[1]);
}

static void
open_case(rig *r, const golden *g, const rig_config *how)
{
    rig_config cfg = *how;
    cfg.shape = &g->cfg;
    cfg.fill = g->fill;
    cfg.fill_ctx = g->fill_ctx;
    rig_open(r, &cfg);
}

void
golden_check(golden *g, const rig_config *how)
{
    rig_config cfg = *how;
    rig r;
    cfg.n_stream = 2;
    cfg.kv_cap = 128;
    open_case(&r, g, &cfg);
    check_score(g, &r, false);
    check_score(g, &r, true);
    check_generation(g, &r);
    rig_close(&r);
}

void
golden_check_aligned(golden *g, const char *tensor, config_align align,
                     const rig_config *how)
{
    const golden_tensor *ids = find(g, "input_ids");
    rig_job job = {.ids = ids->i32, .n_id = ids->n, .want_logits = true};
    rig_config cfg = *how;
    rig r;
    cfg.n_stream = 1;
    cfg.align = align;
    open_case(&r, g, &cfg);
    rig_run(&r, &job, 1);
    golden_compare(g, tensor, job.logits, 0, ids->n * r.cfg.n_vocab);
    rig_job_free(&job);
    rig_close(&r);
}
