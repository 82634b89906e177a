/* SPDX-License-Identifier: Apache-2.0 */
/* The engine's promises: the same bits whatever runs beside a stream, however
 * groups are cut, and from a snapshot on. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "sched/segment.h"
#include "tests/worker/engine_rig.h"

static uint64_t seed;

static rig_job
random_job(size_t i)
{
    return (rig_job){.ids = engine_rig_ids[i],
                     .n_id = 1 + engine_rig_below(&seed, ENGINE_RIG_ID),
                     .n_generate = engine_rig_below(&seed, 2)
                                       ? 1 + engine_rig_below(&seed, 12)
                                       : 0,
                     .want_logits = true,
                     .priority = (int32_t)engine_rig_below(&seed, 2),
                     .start_group = engine_rig_below(&seed, 10)};
}

static void
assert_same(const rig *r, const rig_job *a, const rig_job *b)
{
    size_t row = r->cfg.n_vocab * sizeof(float);
    size_t state = rig_states_bytes(r, &a->final_past);
    assert_memory_equal(a->logits, b->logits, a->n_id * row);
    assert_memory_equal(a->final_states, b->final_states, state);
    assert_memory_equal(a->gen_ids, b->gen_ids,
                        a->n_generate * sizeof *a->gen_ids);
    assert_memory_equal(a->gen_logits, b->gen_logits, a->n_generate * row);
}

/* All of them together, in some way, against each alone. */
static void
check_together(const rig_config *how, uint32_t n_job)
{
    rig_config cfg = *how;
    rig_job jobs[ENGINE_RIG_JOB], alone[ENGINE_RIG_JOB];
    rig r;

    engine_rig_random(&seed);
    for (uint32_t i = 0; i < n_job; i++)
        jobs[i] = random_job(i);
    engine_rig_alone(alone, how->shape, jobs, n_job);
    cfg.n_stream = n_job;
    cfg.kv_cap = ENGINE_RIG_KV;
    cfg.max_token = ENGINE_RIG_TOKEN;
    rig_open(&r, &cfg);
    rig_run(&r, jobs, n_job);
    for (uint32_t i = 0; i < n_job; i++) {
        assert_same(&r, &alone[i], &jobs[i]);
        rig_job_free(&alone[i]);
        rig_job_free(&jobs[i]);
    }
    rig_close(&r);
}

static void
test_together_is_alone(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < engine_rig.n_try * RIG_N_VARIANT; i++) {
        seed = i;
        const model_config shape = rig_variant(i / engine_rig.n_try);
        rig_config how = {.shape = &shape,
                          .device = engine_rig.device[i % 2],
                          .compute = engine_rig.compute,
                          .n_thread = 1 + i / 2 % 2,
                          .order = i / 4 % 4 == 3 ? WAVEFRONT_SEQUENTIAL
                                                  : WAVEFRONT_DIAGONAL};
        if (i % 3 == 0)
            how.n_slot = 1 + engine_rig_below(&seed, 6);
        if (i % 5 == 0)
            how.max_cell = 1 + engine_rig_below(&seed, 4);
        check_together(&how, 1 + engine_rig_below(&seed, ENGINE_RIG_JOB));
    }
}

/* A job whose first n_first segments were read by another. */
static void
check_restored(rig *r, const rig_job *straight, uint32_t n_first)
{
    uint64_t cut = segment_start(n_first, r->cfg.segment_size);
    size_t row = r->cfg.n_vocab * sizeof(float);
    rig_job begin = {
        .ids = engine_rig_ids[0], .n_id = cut, .want_logits = true};
    rig_run(r, &begin, 1);
    rig_job jobs[2] = {{.ids = engine_rig_ids[1], .n_id = 30},
                       {.ids = engine_rig_ids[0] + cut,
                        .n_id = 53 - cut,
                        .want_logits = true,
                        .n_generate = 19,
                        .first_seg = n_first,
                        .past = begin.final_past,
                        .states = begin.final_states}};
    rig_run(r, jobs, 2);
    assert_memory_equal(jobs[1].gen_ids, straight->gen_ids,
                        19 * sizeof(int32_t));
    assert_memory_equal(jobs[1].gen_logits, straight->gen_logits, 19 * row);
    if (n_first < 6) /* otherwise nothing but the prompt is left */
        assert_memory_equal(jobs[1].final_states, straight->final_states,
                            rig_states_bytes(r, &straight->final_past));
    rig_job_free(&begin);
    rig_job_free(&jobs[0]);
    rig_job_free(&jobs[1]);
}

/* The shape that a GPU's fused launches take. */
static void
test_together_in_fast_launches(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < engine_rig.n_try; i++) {
        seed = 1000 + i;
        model_config shape = rig_shape();
        shape.d_model = 256;
        shape.d_head = shape.rope.d_rot = shape.d_mem = 64;
        shape.n_kv_head = 1;
        shape.d_ffn = 512;
        shape.segment_size = 24;
        shape.n_mem = 16;
        if (i % 4 == 3) {
            shape.l2_norm = shape.window = true;
            shape.n_sink = 1;
        }
        EXPECT_OK(config_check(&shape));
        rig_config how = {.shape = &shape,
                          .device = engine_rig.device[i % 2],
                          .compute = engine_rig.compute,
                          .n_thread = 2,
                          .order = i % 2 == 0 ? WAVEFRONT_DIAGONAL
                                              : WAVEFRONT_SEQUENTIAL,
                          .max_cell = i % 3};
        check_together(&how, 1 + i % ENGINE_RIG_JOB);
    }
}

/* States read after some segments, put under another stream, go on as if
 * nothing had happened. */
static void
test_snapshot_and_restore(void **state)
{
    (void)state;
    seed = 5;
    engine_rig_random(&seed);
    for (uint32_t i = 0; i < RIG_N_VARIANT; i++) {
        model_config shape = rig_variant(i);
        rig_config how = engine_rig_config(&shape, 2);
        rig r;
        how.n_thread = 2;
        rig_open(&r, &how);
        rig_job straight = {.ids = engine_rig_ids[0],
                            .n_id = 53,
                            .want_logits = true,
                            .n_generate = 19};
        rig_run(&r, &straight, 1);
        for (uint32_t n_first = 1; n_first <= 6; n_first++)
            check_restored(&r, &straight, n_first);
        rig_job_free(&straight);
        rig_close(&r);
    }
}

static void
test_samples_are_drawn(void **state)
{
    model_config shape = rig_shape();
    kernel_sample_args how[6];
    rig r;
    (void)state;
    seed = 9;
    engine_rig_random(&seed);
    for (uint32_t i = 0; i < 6; i++)
        how[i] = (kernel_sample_args){
            .temperature = 1.5f, .top_p = 1, .uniform = (float)i / 6};
    const rig_config on = engine_rig_config(&shape, 2);
    rig_open(&r, &on);
    rig_job jobs[2] = {
        {.ids = engine_rig_ids[0], .n_id = 20, .n_generate = 6},
        {.ids = engine_rig_ids[0], .n_id = 20, .n_generate = 6, .sample = how}};
    rig_run(&r, jobs, 2);
    assert_memory_equal(jobs[0].gen_logits, jobs[1].gen_logits,
                        shape.n_vocab * sizeof(float));
    assert_memory_not_equal(jobs[0].gen_ids, jobs[1].gen_ids,
                            6 * sizeof(int32_t));
    rig_job_free(&jobs[0]);
    rig_job_free(&jobs[1]);
    rig_close(&r);
}

static uint64_t
groups_of(const model_config *shape, uint32_t n_segment, uint32_t n_job)
{
    const uint64_t n_cell = (uint64_t)n_segment * shape->n_layer * n_job;
    engine_counts counts;
    rig_job jobs[2];
    rig r;
    const rig_config on = engine_rig_config(shape, n_job);
    rig_open(&r, &on);
    for (uint32_t i = 0; i < n_job; i++)
        jobs[i] = (rig_job){.ids = engine_rig_ids[i],
                            .n_id = n_segment * shape->segment_size};
    rig_run(&r, jobs, n_job);
    engine_counts_get(r.e, &counts);
    assert_int_equal(counts.n_cell, n_cell);
    assert_true(counts.flops > 0);
    assert_true(engine_bytes(r.e) > 0);
    for (uint32_t i = 0; i < n_job; i++)
        rig_job_free(&jobs[i]);
    rig_close(&r);
    return counts.n_group;
}

/* n + L - 1 groups where layers keep apart; otherwise one cell at a time, but
 * several documents at once. */
static void
test_groups_are_diagonals(void **state)
{
    (void)state;
    seed = 11;
    engine_rig_random(&seed);
    for (uint32_t i = 0; i < RIG_N_VARIANT; i++) {
        const model_config shape = rig_variant(i);
        bool chained = memory_of(&shape)->chained;
        for (uint32_t n = 1; n < 9; n++) {
            uint32_t n_group =
                chained ? n * shape.n_layer : n + shape.n_layer - 1;
            assert_int_equal(groups_of(&shape, n, 1), n_group);
            assert_int_equal(groups_of(&shape, n, 2), n_group);
        }
    }
}

static void
keep_last(void *ctx, uint32_t stream, const engine_segment *s, uint32_t row0,
          uint32_t n_row, const float *logits)
{
    (void)stream;
    assert_int_equal(n_row, 1);
    assert_int_equal(row0, s->n_token - 1);
    memcpy(ctx, logits, rig_shape().n_vocab * sizeof *logits);
}

/* Rows see only rows before them, so the last logits of every prefix are those
 * of the row in the whole segment, on whatever side of a tile's border. */
static void
test_logits_in_tiles(void **state)
{
    static const uint32_t prefix[] = {1, 63, 64, 65, 79, 80};
    model_config shape = rig_shape();
    const engine_done *done = NULL;
    float last[128];
    rig r;
    (void)state;
    seed = 12;
    engine_rig_random(&seed);
    shape.segment_size = ENGINE_RIG_ID;
    rig_config how = engine_rig_config(&shape, 1);
    how.n_thread = 2;
    rig_open(&r, &how);
    rig_job job = {
        .ids = engine_rig_ids[0], .n_id = ENGINE_RIG_ID, .want_logits = true};
    rig_run(&r, &job, 1);
    engine_sink_set(r.e, &(engine_sink){.ctx = last, .logits = keep_last});
    for (size_t i = 0; i < sizeof prefix / sizeof *prefix; i++) {
        engine_segment s = {.n_token = prefix[i], .want = ENGINE_LAST_LOGITS};
        const float *row = job.logits + (prefix[i] - 1) * shape.n_vocab;
        EXPECT_OK(engine_open(r.e, 0, true, 0));
        EXPECT_OK(engine_feed(r.e, 0, &s, engine_rig_ids[0]));
        for (uint32_t layer = 0; layer < shape.n_layer; layer++)
            assert_int_equal(engine_rig_turn(&r, &done), 1);
        for (uint32_t j = 0; j < shape.n_vocab; j++)
            assert_true(fabsf(last[j] - row[j]) < 1e-3f);
        engine_close(r.e, 0);
    }
    rig_job_free(&job);
    rig_close(&r);
}

static void
test_refuses(void **state)
{
    model_config shape = rig_shape();
    int32_t bad[8] = {0, 1, 2, 3, 4, 5, 6, (int32_t)shape.n_vocab};
    int32_t good[8] = {0};
    rig r;
    (void)state;
    rig_config how = engine_rig_config(&shape, 1);
    how.n_slot = 3;
    how.kv_cap = 10;
    rig_open(&r, &how);
    EXPECT_OK(engine_open(r.e, 0, true, 0));
    engine_segment s = {.n_token = 8};
    EXPECT_ST(engine_feed(r.e, 0, &s, bad), ST_ARG);
    bad[7] = -1;
    EXPECT_ST(engine_feed(r.e, 0, &s, bad), ST_ARG);
    s.n_token = 9;
    EXPECT_ST(engine_feed(r.e, 0, &s, good), ST_ARG);
    s.n_token = 0;
    EXPECT_ST(engine_feed(r.e, 0, &s, good), ST_ARG);
    assert_int_equal(engine_room(r.e, 0), 3);

    s = (engine_segment){.n_token = 8, .frozen = 1, .pos = 3};
    EXPECT_ST(engine_feed(r.e, 0, &s, good), ST_LIMIT);
    s.pos = UINT32_MAX;
    EXPECT_ST(engine_feed(r.e, 0, &s, good), ST_LIMIT);
    s.pos = 0;
    EXPECT_OK(engine_feed(r.e, 0, &s, good));
    s = (engine_segment){.n_token = 8};
    EXPECT_ST(engine_feed(r.e, 0, &s, good), ST_ARG); /* behind a prompt */
    s = (engine_segment){.n_token = 1, .frozen = 1, .pos = 8};
    EXPECT_OK(engine_feed(r.e, 0, &s, good));
    s.pos = 9;
    EXPECT_OK(engine_feed(r.e, 0, &s, good));
    EXPECT_ST(engine_feed(r.e, 0, &s, good), ST_STATE);
    engine_close(r.e, 0);
    rig_close(&r);
}

static int
run(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_together_is_alone),
        cmocka_unit_test(test_together_in_fast_launches),
        cmocka_unit_test(test_snapshot_and_restore),
        cmocka_unit_test(test_samples_are_drawn),
        cmocka_unit_test(test_groups_are_diagonals),
        cmocka_unit_test(test_logits_in_tiles),
        cmocka_unit_test(test_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int
main(void)
{
    return engine_rig_everywhere(run);
}
