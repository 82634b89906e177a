/* SPDX-License-Identifier: Apache-2.0 */
/* The engine against the reference implementations' numbers: every tensor of
 * the golden cases, and plain base models against transformers, for all
 * schedules, devices and threads. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "model/safetensors.h"
#include "tests/expect.h"
#include "tests/worker/golden_case.h"

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

enum { MAX_TENSOR = 32 };

/* A case from files of safetensors. */
typedef struct file {
    golden g;
    char dir[128];
    golden_tensor tensor[MAX_TENSOR];
    void *data[MAX_TENSOR];
} file;

static status
fill(weights *w, const void *dir)
{
    return weights_load(w, dir);
}

static void
read_tensor(file *f, const safetensors_tensor *t)
{
    size_t at = f->g.n_tensor++;
    golden_tensor *to = &f->tensor[at];
    bool is_id = strstr(t->name, "ids") != NULL;
    void *data = NULL;

    to->n = 1;
    to->n_row = t->dim[0];
    for (uint32_t i = 0; i < t->n_dim; i++)
        to->n *= t->dim[i];
    (void)snprintf(to->name, sizeof to->name, "%s", t->name);
    EXPECT_OK(mem_new(&data, to->n, sizeof(float)));
    f->data[at] = data;
    if (is_id)
        EXPECT_OK(safetensors_read_i32(t, data, 0, to->n));
    else
        EXPECT_OK(safetensors_read_f32(t, data, 0, to->n));
    to->i32 = is_id ? data : NULL;
    to->f32 = is_id ? NULL : data;
}

static void
file_open(file *f, const char *where, const char *name)
{
    safetensors *expected = NULL;
    char path[160];

    *f = (file){.g = {.name = name, .fill = fill, .tolerance = tolerance}};
    (void)snprintf(f->dir, sizeof f->dir, "%s/%s", where, name);
    (void)snprintf(path, sizeof path, "%s/expected.safetensors", f->dir);
    EXPECT_OK(config_load(&f->g.cfg, f->dir));
    EXPECT_OK(safetensors_open(&expected, path));
    assert_true(safetensors_count(expected) <= MAX_TENSOR);
    for (size_t i = 0; i < safetensors_count(expected); i++)
        read_tensor(f, safetensors_at(expected, i));
    safetensors_close(expected);
    f->g.tensor = f->tensor;
    f->g.fill_ctx = f->dir;
}

static void
file_close(file *f)
{
    print_message("%-30s largest error %.1e\n", f->dir, (double)f->g.worst);
    for (size_t i = 0; i < f->g.n_tensor; i++)
        mem_free(f->data[i]);
}

static void
check_case(const char *name, const rig_config *how)
{
    file f;
    file_open(&f, "golden", name);
    golden_check(&f.g, how);
    file_close(&f);
}

static void
check_aligned(const rig_config *how)
{
    file f;
    file_open(&f, "golden", "armt-llama-ragged");
    golden_check_aligned(&f.g, "logits_right", CONFIG_ALIGN_RIGHT, how);
    golden_check_aligned(&f.g, "logits_center", CONFIG_ALIGN_CENTER, how);
    file_close(&f);
}

/* A base model alone, read in chunks: what transformers gives in one pass. */
static void
check_base(const char *name, const rig_config *how)
{
    file f;
    rig r;
    file_open(&f, "parity", name);
    const golden_tensor *ids = golden_find(&f.g, "input_ids");
    size_t n_step = golden_find(&f.g, "gen_ids")->n;
    rig_config cfg = *how;
    cfg.shape = &f.g.cfg;
    cfg.fill = fill;
    cfg.fill_ctx = f.dir;
    cfg.n_stream = 2;
    cfg.kv_cap = 128;
    cfg.max_token = 96;
    rig_open(&r, &cfg);
    assert_true(ids->n > 3 * r.cfg.segment_size);
    rig_job job[2] = {
        {.ids = ids->i32, .n_id = ids->n, .want_logits = true},
        {.ids = ids->i32, .n_id = ids->n, .n_generate = (uint32_t)n_step}};
    rig_run(&r, job, 2);
    golden_compare(&f.g, "logits", job[0].logits, 0, ids->n * r.cfg.n_vocab);
    golden_compare_ids(&f.g, "gen_ids", job[1].gen_ids, n_step);
    golden_compare(&f.g, "gen_logits", job[1].gen_logits, 0,
                   n_step * r.cfg.n_vocab);
    rig_job_free(&job[0]);
    rig_job_free(&job[1]);
    rig_close(&r);
    file_close(&f);
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
        check_aligned(&how);
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
