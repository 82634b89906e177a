/* SPDX-License-Identifier: Apache-2.0 */
/* Reading leaves out rows of the last layer: the states are the same bits as
 * with all of them. */
#include <string.h>

#include "base/mem.h"
#include "model/memory.h"
#include "tests/expect.h"
#include "tests/worker/rig.h"

enum { N_ID = 1050, MAX_TOKEN = 1100 };

static int32_t ids[N_ID];

static void
fill_ids(uint32_t n_vocab)
{
    uint32_t x = 1;

    for (size_t i = 0; i < N_ID; i++) {
        x = x * 1664525 + 1013904223;
        ids[i] = (int32_t)((x >> 8) % n_vocab);
    }
}

/* What a run leaves in the slot of its last segment. */
typedef struct last_rows {
    char *rows;
    size_t row; /* bytes */
    uint32_t n_row, n_mem;
    engine_counts counts;
} last_rows;

static void
keep_rows(const rig *r, const rig_job *job, last_rows *out)
{
    uint64_t seg = job->cut.n_segment - 1;
    engine_segment s = {.seg = seg,
                        .past = rig_past(&job->cut, &job->past, seg),
                        .n_token = segment_cut_tokens(&job->cut, seg)};
    const memory_span span = {.past = s.past, .n_token = s.n_token};
    kernel_cell cell = {0};
    engine_place at;

    memory_of(&r->cfg)->place(&r->cfg, r->cfg.n_layer - 1, &span, &cell);
    out->n_row = engine_rows(r->e, &s);
    out->n_mem = cell.n_mem;
    engine_x_place(r->e, 0, seg, out->n_row, &at);
    EXPECT_OK(mem_new(&out->rows, at.len, 1));
    EXPECT_OK(engine_read(r->e, &at, out->rows));
    out->row = at.len / out->n_row;
    engine_counts_get(r->e, &out->counts);
}

static void
run_one(rig *r, const rig_config *how, rig_job *job, last_rows *out)
{
    rig_open(r, how);
    rig_run(r, job, 1);
    keep_rows(r, job, out);
}

/* The rows that are left out are as they entered the last layer, or as its
 * memory read left them; the memory rows are all there. */
static void
check_rows(const last_rows *scored, const last_rows *reading)
{
    size_t row = scored->row;
    uint32_t n_early = scored->n_row - scored->n_mem;

    for (uint32_t i = 0; i < n_early; i++)
        assert_memory_not_equal(scored->rows + i * row, reading->rows + i * row,
                                row);
    assert_memory_equal(scored->rows + n_early * row,
                        reading->rows + n_early * row, scored->n_mem * row);
    assert_true(reading->counts.n_cell == scored->counts.n_cell);
    assert_true(reading->counts.flops < scored->counts.flops);
}

static void
check_states(const rig *r, const rig_job *a, const rig_job *b)
{
    assert_memory_equal(a->first_states, b->first_states,
                        rig_states_bytes(r, &a->first_past));
    assert_memory_equal(a->final_states, b->final_states,
                        rig_states_bytes(r, &a->final_past));
}

/* Three segments and a half, or as many as fit. */
static void
check_shape(const model_config *shape, const rig_config *on)
{
    uint64_t n_id = 3 * shape->segment_size + shape->segment_size / 2;
    rig_config how = {.shape = shape,
                      .device = on->device,
                      .compute = on->compute,
                      .n_thread = on->n_thread,
                      .order = WAVEFRONT_DIAGONAL,
                      .n_stream = 1,
                      .max_token = MAX_TOKEN};
    rig_job scored = {.ids = ids, .want_logits = true};
    rig_job reading = {.ids = ids};
    last_rows all = {0}, late = {0};
    rig a, b;

    EXPECT_OK(config_check(shape));
    fill_ids(shape->n_vocab);
    scored.n_id = reading.n_id = n_id < N_ID ? n_id : N_ID;
    run_one(&a, &how, &scored, &all);
    run_one(&b, &how, &reading, &late);
    check_states(&a, &scored, &reading);
    check_rows(&all, &late);
    mem_free(all.rows);
    mem_free(late.rows);
    rig_job_free(&scored);
    rig_job_free(&reading);
    rig_close(&a);
    rig_close(&b);
}

/* Few memory rows and many, beside few tokens and many. */
static void
test_every_model(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < RIG_N_VARIANT; i++) {
        for (uint32_t k = 0; k < 4; k++) {
            model_config c = rig_variant(i);

            if (c.n_mem > 0)
                c.n_mem = k % 2 == 0 ? 3 : 19;
            c.segment_size = k / 2 == 0 ? c.segment_size : 40;
            if (c.n_position > 0)
                c.n_position = 1024;
            check_shape(&c,
                        &(rig_config){.device = k == 1 ? "cpu-async" : "cpu",
                                      .n_thread = 1 + k % 2});
        }
    }
}

/* Rows and keys for several parts of an attention, with what limits the keys
 * that rows see. */
static void
test_long_segments(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 12; i++) {
        model_config c = rig_variant(i % 4 == 2 ? 3 : i % 4 == 3 ? 4 : 0);

        c.segment_size = i / 4 == 0 ? 300 : 400;
        c.n_mem = i / 4 == 2 ? 5 : 40;
        c.span = i % 4 == 1 ? 37 : 0;
        check_shape(&c, &(rig_config){.device = "cpu", .n_thread = 2});
    }
}

/* Nothing is left out where logits are wanted, and what is left out is counted:
 * three segments of 8 tokens. */
static void
test_rows_are_counted(void **state)
{
    const model_config c = rig_shape();
    rig_job job = {.ids = ids, .n_id = 24};
    rig_config how = {.shape = &c,
                      .device = "cpu",
                      .n_thread = 1,
                      .order = WAVEFRONT_DIAGONAL,
                      .n_stream = 1,
                      .max_token = MAX_TOKEN};
    engine_counts counts[2];
    double less;
    rig r;

    (void)state;
    fill_ids(c.n_vocab);
    for (int i = 0; i < 2; i++) {
        job = (rig_job){.ids = ids, .n_id = 24, .want_logits = i == 1};
        rig_open(&r, &how);
        rig_run(&r, &job, 1);
        engine_counts_get(r.e, &counts[i]);
        rig_job_free(&job);
        rig_close(&r);
    }
    less = 2.0 * c.n_head * c.d_head * c.d_model + 6.0 * c.d_model * c.d_ffn;
    less = 24 * less + 3 * 4.0 * c.n_head * c.d_head * (8 * 9 / 2);
    assert_true(counts[1].flops - counts[0].flops == less);
}

/* The fused launches and those for any shape. */
static void
test_on_a_gpu(void **state)
{
    static const char *const types[] = {"bf16", "f32"};
    const kernel_config cfg = {.device = "cuda"};
    kernel_device *dev = NULL;

    (void)state;
    if (kernel_open(&dev, &cfg) != ST_OK) {
        print_message("  not run: %s\n", status_text());
        return;
    }
    kernel_close(dev);
    for (uint32_t i = 0; i < RIG_N_VARIANT; i++) {
        model_config c = rig_shape();

        c.d_model = 256;
        c.d_head = c.rope.d_rot = c.d_mem = 64;
        c.n_kv_head = 1;
        c.d_ffn = 512;
        c.segment_size = i / 2 % 2 == 0 ? 24 : 300;
        c.n_mem = i / 4 % 2 == 0 ? 16 : 130;
        if (i / 8 == 1) {
            c.l2_norm = c.window = true;
            c.n_sink = 1;
        }
        check_shape(&c, &(rig_config){.device = "cuda",
                                      .compute = types[i % 2],
                                      .n_thread = 1});
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_model),
        cmocka_unit_test(test_long_segments),
        cmocka_unit_test(test_rows_are_counted),
        cmocka_unit_test(test_on_a_gpu),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
