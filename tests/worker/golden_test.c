/* SPDX-License-Identifier: Apache-2.0 */
/* The engine against the reference implementations' numbers: every tensor of
 * the golden cases, and plain base models against transformers, for all
 * schedules, devices and threads. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "model/safetensors.h"
#include "tests/expect.h"
#include "tests/worker/rig.h"

/* tests/golden/README.md: max|x - ref| / max|ref| of a tensor. */
static const float tolerance = 1e-4f;

static const char *const cases[] = {
    "armt-llama",
    "armt-llama-ragged",
    "armt-llama-bf16",
    "armt-llama-tied-llama3rope",
    "armt-llama-keynorm",
    "armt-llama-nocorrection",
    "armt-llama-heads-gating",
    "armt-llama-nodenom",
    "armt-llama-inner",
    "armt-llama-sliding-sink",
    "armt-llama-outer-sliding-sink",
    "armt-gpt2",
    "armt-gpt2-plainpos",
    "armt-qwen2",
    "rmt-llama",
    "rmt-gpt2",
};

/* tests/parity */
static const char *const bases[] = {"llama",
                                    "llama-biases",
                                    "llama-yarn",
                                    "mistral",
                                    "qwen2",
                                    "qwen3",
                                    "gpt2",
                                    "neox",
                                    "neox-sequential",
                                    "armt-sink-bare",
                                    "armt-window-bare"};

enum { SHORT_STEPS = 6, N_POINT = 2 };

static float worst; /* error of all tensors of a case so far */

typedef struct golden {
    char dir[128];
    safetensors *expected;
    int32_t *ids;
    size_t n_id;
} golden;

static void
golden_open(golden *g, const char *where, const char *name)
{
    char path[160];
    (void)snprintf(g->dir, sizeof g->dir, "%s/%s", where, name);
    (void)snprintf(path, sizeof path, "%s/expected.safetensors", g->dir);
    EXPECT_OK(safetensors_open(&g->expected, path));
    const safetensors_tensor *t = safetensors_find(g->expected, "input_ids");
    assert_non_null(t);
    g->n_id = t->dim[0];
    EXPECT_OK(mem_new(&g->ids, g->n_id, sizeof *g->ids));
    EXPECT_OK(safetensors_read_i32(t, g->ids, 0, g->n_id));
}

static void
golden_close(golden *g)
{
    safetensors_close(g->expected);
    mem_free(g->ids);
}

static const safetensors_tensor *
find(const golden *g, const char *name)
{
    const safetensors_tensor *t = safetensors_find(g->expected, name);
    if (t == NULL)
        fail_msg("%s has no tensor %s", g->dir, name);
    return t;
}

static size_t
n_number(const safetensors_tensor *t)
{
    size_t n = 1;
    for (uint32_t i = 0; i < t->n_dim; i++)
        n *= t->dim[i];
    return n;
}

/* x[n] against elements first .. first + n - 1 of a tensor; the error is
 * measured against the largest of the whole tensor. */
static void
compare(const golden *g, const char *name, const float *x, size_t first,
        size_t n)
{
    const safetensors_tensor *t = find(g, name);
    size_t n_all = n_number(t);
    float *ref = NULL;
    float most = 0, error = 0;

    assert_true(first + n <= n_all);
    EXPECT_OK(mem_new(&ref, n_all, sizeof *ref));
    EXPECT_OK(safetensors_read_f32(t, ref, 0, n_all));
    for (size_t i = 0; i < n_all; i++)
        most = fmaxf(most, fabsf(ref[i]));
    for (size_t i = 0; i < n; i++) {
        assert_true(isfinite(x[i]));
        error = fmaxf(error, fabsf(x[i] - ref[first + i]));
    }
    worst = fmaxf(worst, error / most);
    if (!(error <= tolerance * most))
        fail_msg("%s %s: error %g of %g", g->dir, name, (double)error,
                 (double)most);
    mem_free(ref);
}

/* W_mem.WHEN and z.WHEN of all layers, or memory.WHEN: what the reference
 * writes of its states is there, and nothing else is but windows. */
static void
compare_states(const golden *g, const rig *r, const char *when,
               const memory_past *past, const uint8_t *states)
{
    uint32_t n_compared = 0;
    for (uint32_t layer = 0; layer < r->cfg.n_layer; layer++) {
        memory_tensor t[MEMORY_MAX_TENSOR];
        uint32_t n =
            memory_of(&r->cfg)->tensors(&r->cfg, KERNEL_F32, layer, past, t);
        for (uint32_t i = 0; i < n; i++) {
            char name[32];
            size_t n_number = memory_tensor_bytes(&t[i]) / sizeof(float);
            if (strcmp(t[i].name, "window") == 0)
                continue;
            (void)snprintf(name, sizeof name, "%s.%s", t[i].name, when);
            compare(g, name,
                    (const float *)(const void *)(states + t[i].offset),
                    layer * n_number, n_number);
            n_compared++;
        }
        states += memory_state_bytes(&r->cfg, KERNEL_F32, layer, past);
    }
    assert_true(n_compared > 0);
}

static void
compare_ids(const golden *g, const char *name, const int32_t *ids, size_t n)
{
    const safetensors_tensor *t = find(g, name);
    int32_t *ref = NULL;
    assert_int_equal(n_number(t), n);
    EXPECT_OK(mem_new(&ref, n, sizeof *ref));
    EXPECT_OK(safetensors_read_i32(t, ref, 0, n));
    assert_memory_equal(ids, ref, n * sizeof *ref);
    mem_free(ref);
}

typedef struct observed {
    const golden *g;
    uint32_t n_seen; /* points of segment 1 */
} observed;

static void
on_rows(void *ctx, uint32_t stream, const engine_segment *s, uint32_t layer,
        int point, uint32_t n_row, const float *rows)
{
    observed *o = ctx;
    char name[32];
    (void)stream;
    if (s->seg != 1 ||
        safetensors_find(o->g->expected, "seg1.layer0.in") == NULL)
        return; /* RMT's have none */
    (void)snprintf(name, sizeof name, "seg1.layer%u.%s", layer,
                   point == 0 ? "in" : "out");
    const safetensors_tensor *t = find(o->g, name);
    assert_int_equal(t->dim[0], n_row);
    compare(o->g, name, rows, 0, n_row * t->dim[1]);
    o->n_seen++;
}

/* Scores the document; with `look`, through the observer. */
static void
check_score(const golden *g, rig *r, bool look)
{
    observed seen = {.g = g};
    rig_job job = {.ids = g->ids, .n_id = g->n_id, .want_logits = true};
    r->rows = look ? on_rows : NULL;
    r->rows_ctx = &seen;
    rig_run(r, &job, 1);
    assert_int_equal(job.n_row_seen, g->n_id);
    compare(g, "logits", job.logits, 0, g->n_id * r->cfg.n_vocab);
    compare_states(g, r, "after_first", &job.first_past, job.first_states);
    compare_states(g, r, "final", &job.final_past, job.final_states);
    if (look && safetensors_find(g->expected, "seg1.layer0.in") != NULL)
        assert_int_equal(seen.n_seen, N_POINT * r->cfg.n_layer);
    rig_job_free(&job);
    r->rows = NULL;
}

/* Greedy answers to the whole document, and to its first S - 3 tokens. */
static void
check_generation(const golden *g, rig *r)
{
    size_t n_step = n_number(find(g, "gen_ids"));
    rig_job job[2] = {
        {.ids = g->ids, .n_id = g->n_id, .n_generate = (uint32_t)n_step},
        {.ids = g->ids,
         .n_id = r->cfg.segment_size - 3,
         .n_generate = SHORT_STEPS}};
    rig_run(r, job, 2);
    compare_ids(g, "gen_ids", job[0].gen_ids, n_step);
    compare(g, "gen_logits", job[0].gen_logits, 0, n_step * r->cfg.n_vocab);
    compare_ids(g, "short_gen_ids", job[1].gen_ids, SHORT_STEPS);
    compare(g, "short_gen_logits", job[1].gen_logits, 0,
            SHORT_STEPS * r->cfg.n_vocab);
    rig_job_free(&job[0]);
    rig_job_free(&job[1]);
}

/* The scored logits of the ragged document under another alignment. */
static void
check_aligned(const char *tensor, config_align align, const rig_config *how)
{
    golden g = {0};
    rig r;
    golden_open(&g, "golden", "armt-llama-ragged");
    rig_config cfg = *how;
    cfg.dir = g.dir;
    cfg.n_stream = 1;
    cfg.align = align;
    rig_open(&r, &cfg);
    rig_job job = {.ids = g.ids, .n_id = g.n_id, .want_logits = true};
    rig_run(&r, &job, 1);
    compare(&g, tensor, job.logits, 0, g.n_id * r.cfg.n_vocab);
    rig_job_free(&job);
    rig_close(&r);
    golden_close(&g);
}

static void
check_case(const char *name, const rig_config *how)
{
    golden g = {0};
    rig r;
    golden_open(&g, "golden", name);
    rig_config cfg = *how;
    cfg.dir = g.dir;
    cfg.n_stream = 2;
    cfg.kv_cap = 128;
    rig_open(&r, &cfg);
    check_score(&g, &r, false);
    check_score(&g, &r, true);
    check_generation(&g, &r);
    print_message("%-30s largest error %.1e\n", name, (double)worst);
    worst = 0;
    rig_close(&r);
    golden_close(&g);
}

/* A base model alone, read in chunks: what transformers gives in one pass. */
static void
check_base(const char *name, const rig_config *how)
{
    golden g = {0};
    rig r;
    golden_open(&g, "parity", name);
    rig_config cfg = *how;
    cfg.dir = g.dir;
    cfg.n_stream = 2;
    cfg.kv_cap = 128;
    cfg.max_token = 96;
    rig_open(&r, &cfg);
    assert_true(g.n_id > 3 * r.cfg.segment_size);
    size_t n_step = n_number(find(&g, "gen_ids"));
    rig_job job[2] = {
        {.ids = g.ids, .n_id = g.n_id, .want_logits = true},
        {.ids = g.ids, .n_id = g.n_id, .n_generate = (uint32_t)n_step}};
    rig_run(&r, job, 2);
    compare(&g, "logits", job[0].logits, 0, g.n_id * r.cfg.n_vocab);
    compare_ids(&g, "gen_ids", job[1].gen_ids, n_step);
    compare(&g, "gen_logits", job[1].gen_logits, 0, n_step * r.cfg.n_vocab);
    print_message("%-30s largest error %.1e\n", g.dir, (double)worst);
    worst = 0;
    rig_job_free(&job[0]);
    rig_job_free(&job[1]);
    rig_close(&r);
    golden_close(&g);
}

static void
check_all(wavefront_order order, const char *device)
{
    for (uint32_t n_thread = 1; n_thread <= 2; n_thread++) {
        const rig_config how = {
            .device = device, .n_thread = n_thread, .order = order};
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
            check_case(cases[i], &how);
        for (size_t i = 0; i < sizeof bases / sizeof *bases; i++)
            check_base(bases[i], &how);
        check_aligned("logits_right", CONFIG_ALIGN_RIGHT, &how);
        check_aligned("logits_center", CONFIG_ALIGN_CENTER, &how);
    }
}

static void
test_diagonal(void **state)
{
    (void)state;
    check_all(WAVEFRONT_DIAGONAL, "cpu");
}

static void
test_sequential(void **state)
{
    (void)state;
    check_all(WAVEFRONT_SEQUENTIAL, "cpu");
}

static void
test_diagonal_async(void **state)
{
    (void)state;
    check_all(WAVEFRONT_DIAGONAL, "cpu-async");
}

static void
test_sequential_async(void **state)
{
    (void)state;
    check_all(WAVEFRONT_SEQUENTIAL, "cpu-async");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_diagonal),
        cmocka_unit_test(test_sequential),
        cmocka_unit_test(test_diagonal_async),
        cmocka_unit_test(test_sequential_async),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
