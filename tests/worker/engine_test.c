/* SPDX-License-Identifier: Apache-2.0 */
/* The engine's promises: the same bits whatever runs beside a stream, however
 * groups are cut and ranks are split, and from a snapshot on. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "sched/segment.h"
#include "tests/expect.h"
#include "tests/worker/rig.h"

enum { MAX_JOB = 4, MAX_ID = 80, KV_CAP = 64, MAX_TOKEN = 100 };

/* What the tests run on now: ranks 0 and 1, and turns. */
static const char *device[2] = {"cpu", "cpu-async"};
static const char *compute = "f32";
static uint32_t n_try = 20; /* of each variant */

static uint64_t seed;

static uint32_t
random_below(uint32_t n)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(seed >> 33) % n;
}

static int32_t ids[MAX_JOB][MAX_ID];

static void
random_ids(void)
{
    for (size_t i = 0; i < MAX_JOB; i++) {
        for (size_t j = 0; j < MAX_ID; j++)
            ids[i][j] = (int32_t)random_below(rig_shape().n_vocab);
    }
}

static rig_job
random_job(size_t i)
{
    return (rig_job){.ids = ids[i],
                     .n_id = 1 + random_below(MAX_ID),
                     .n_generate = random_below(2) ? 1 + random_below(12) : 0,
                     .want_logits = true,
                     .priority = (int32_t)random_below(2),
                     .start_group = random_below(10)};
}

/* What a job asks for, without what came of it. */
static rig_job
again(const rig_job *job)
{
    return (rig_job){.ids = job->ids,
                     .n_id = job->n_id,
                     .n_generate = job->n_generate,
                     .want_logits = job->want_logits,
                     .states = job->states,
                     .first_seg = job->first_seg,
                     .past = job->past};
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

/* Each job alone on a plain engine. */
static void
run_alone(rig_job *out, const model_config *shape, const rig_job *jobs,
          uint32_t n_job)
{
    rig r;
    rig_open(&r, &(rig_config){.shape = shape,
                               .device = device[0],
                               .compute = compute,
                               .n_thread = 1,
                               .order = WAVEFRONT_SEQUENTIAL,
                               .n_stream = 1,
                               .max_token = MAX_TOKEN,
                               .kv_cap = KV_CAP});
    for (uint32_t i = 0; i < n_job; i++) {
        out[i] = again(&jobs[i]);
        rig_run(&r, &out[i], 1);
    }
    rig_close(&r);
}

/* All of them together, in some way, against each alone. */
static void
check_together(const rig_config *how, uint32_t n_job)
{
    rig_config cfg = *how;
    rig_job jobs[MAX_JOB], alone[MAX_JOB];
    rig r;

    random_ids();
    for (uint32_t i = 0; i < n_job; i++)
        jobs[i] = random_job(i);
    run_alone(alone, how->shape, jobs, n_job);
    cfg.n_stream = n_job;
    cfg.kv_cap = KV_CAP;
    cfg.max_token = MAX_TOKEN;
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
    for (uint32_t i = 0; i < n_try * RIG_N_VARIANT; i++) {
        seed = i;
        const model_config shape = rig_variant(i / n_try);
        rig_config how = {.shape = &shape,
                          .device = device[i % 2],
                          .compute = compute,
                          .n_thread = 1 + i / 2 % 2,
                          .order = i / 4 % 4 == 3 ? WAVEFRONT_SEQUENTIAL
                                                  : WAVEFRONT_DIAGONAL};
        if (i % 3 == 0)
            how.n_slot = 1 + random_below(6);
        if (i % 5 == 0)
            how.max_cell = 1 + random_below(4);
        check_together(&how, 1 + random_below(MAX_JOB));
    }
}

/* A job whose first n_first segments were read by another. */
static void
check_restored(rig *r, const rig_job *straight, uint32_t n_first)
{
    uint64_t cut = segment_start(n_first, r->cfg.segment_size);
    size_t row = r->cfg.n_vocab * sizeof(float);
    rig_job begin = {.ids = ids[0], .n_id = cut, .want_logits = true};
    rig_run(r, &begin, 1);
    rig_job jobs[2] = {{.ids = ids[1], .n_id = 30},
                       {.ids = ids[0] + cut,
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

/* States read after some segments, put under another stream, go on as if
 * nothing had happened. */
/* The shape that a GPU's fused launches take. */
static void
test_together_in_fast_launches(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < n_try; i++) {
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
                          .device = device[i % 2],
                          .compute = compute,
                          .n_thread = 2,
                          .order = i % 2 == 0 ? WAVEFRONT_DIAGONAL
                                              : WAVEFRONT_SEQUENTIAL,
                          .max_cell = i % 3};
        check_together(&how, 1 + i % MAX_JOB);
    }
}

static void
test_snapshot_and_restore(void **state)
{
    (void)state;
    seed = 5;
    random_ids();
    for (uint32_t i = 0; i < RIG_N_VARIANT; i++) {
        model_config shape = rig_variant(i);
        rig r;
        rig_open(&r, &(rig_config){.shape = &shape,
                                   .device = device[0],
                                   .compute = compute,
                                   .n_thread = 2,
                                   .n_stream = 2,
                                   .max_token = MAX_TOKEN,
                                   .kv_cap = KV_CAP});
        rig_job straight = {
            .ids = ids[0], .n_id = 53, .want_logits = true, .n_generate = 19};
        rig_run(&r, &straight, 1);
        for (uint32_t n_first = 1; n_first <= 6; n_first++)
            check_restored(&r, &straight, n_first);
        rig_job_free(&straight);
        rig_close(&r);
    }
}

/* What is counted before is what is there afterwards. */
static void
test_needs_are_counted(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < RIG_N_VARIANT; i++) {
        model_config shape = rig_variant(i);
        engine_need need;
        rig r;

        rig_open(&r, &(rig_config){.shape = &shape,
                                   .device = device[0],
                                   .compute = compute,
                                   .n_thread = 1,
                                   .n_stream = 2,
                                   .max_token = MAX_TOKEN,
                                   .kv_cap = KV_CAP});
        const weights_part *part = model_part_of(engine_model(r.e));
        const engine_config *cfg = engine_config_of(r.e);
        size_t scratch = model_scratch_bytes(engine_model(r.e));
        bool each = strcmp(device[0], "cuda") == 0;
        EXPECT_OK(
            engine_need_of(&need, &r.cfg, part, engine_compute(r.e), cfg));
        assert_int_equal(need.kept, engine_bytes(r.e) - scratch);
        assert_int_equal(need.scratch,
                         each ? scratch : scratch * cfg->max_cell);
        assert_int_equal(need.weights,
                         weights_bytes(&r.cfg, part, engine_compute(r.e)));
        rig_close(&r);
    }
}

/* A card of 16 GiB, and one of 80. */
static void
test_what_would_fit_is_said(void **state)
{
    const uint64_t small = UINT64_C(16) << 30, large = UINT64_C(80) << 30;
    model_config shape;
    engine_need all, some;
    (void)state;

    EXPECT_OK(config_preset(&shape, "armt-llama-8b"));
    const engine_config cfg = {.place = {.n_layer = shape.n_layer, .size = 1},
                               .n_stream = 4,
                               .kv_cap = 1024};
    const weights_part part = {
        .n_layer = shape.n_layer, .embed = true, .head = true};
    weights_part fewer = part;
    EXPECT_OK(engine_fit(&shape, &part, KERNEL_BF16, &cfg, large));
    EXPECT_ST(engine_fit(&shape, &part, KERNEL_BF16, &cfg, small), ST_NOMEM);
    const char *at = strstr(status_text(), " layers would fit");
    assert_non_null(at);
    while (at[-1] != ' ')
        at--;
    fewer.n_layer = (uint32_t)strtoul(at, NULL, 10);
    assert_true(fewer.n_layer > 10 && fewer.n_layer < shape.n_layer);
    assert_non_null(strstr(status_text(), "16384 are free"));
    /* So many fit, and one more does not. */
    EXPECT_OK(engine_fit(&shape, &fewer, KERNEL_BF16, &cfg, small));
    fewer.n_layer++;
    EXPECT_ST(engine_fit(&shape, &fewer, KERNEL_BF16, &cfg, small), ST_NOMEM);
    EXPECT_OK(engine_need_of(&all, &shape, &part, KERNEL_BF16, &cfg));
    EXPECT_OK(engine_need_of(&some, &shape, &fewer, KERNEL_BF16, &cfg));
    assert_true(some.weights < all.weights && some.kept < all.kept &&
                some.scratch < all.scratch);
}

static void
test_samples_are_drawn(void **state)
{
    model_config shape = rig_shape();
    kernel_sample_args how[6];
    rig r;
    (void)state;
    seed = 9;
    random_ids();
    for (uint32_t i = 0; i < 6; i++)
        how[i] = (kernel_sample_args){
            .temperature = 1.5f, .top_p = 1, .uniform = (float)i / 6};
    rig_open(&r, &(rig_config){.shape = &shape,
                               .device = device[0],
                               .compute = compute,
                               .n_thread = 1,
                               .n_stream = 2,
                               .kv_cap = KV_CAP});
    rig_job jobs[2] = {
        {.ids = ids[0], .n_id = 20, .n_generate = 6},
        {.ids = ids[0], .n_id = 20, .n_generate = 6, .sample = how}};
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
    rig_open(&r, &(rig_config){.shape = shape,
                               .device = device[0],
                               .compute = compute,
                               .n_thread = 1,
                               .max_token = MAX_TOKEN,
                               .n_stream = n_job});
    for (uint32_t i = 0; i < n_job; i++)
        jobs[i] =
            (rig_job){.ids = ids[i], .n_id = n_segment * shape->segment_size};
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
    random_ids();
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

/* One group, if any can run. */
static uint32_t
turn(rig *r, const engine_done **done)
{
    uint32_t n = 0;
    EXPECT_OK(engine_launch(r->e, &n));
    if (n > 0)
        EXPECT_OK(engine_collect(r->e, done, &n));
    return n;
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
    random_ids();
    shape.segment_size = MAX_ID;
    rig_open(&r, &(rig_config){.shape = &shape,
                               .device = device[0],
                               .compute = compute,
                               .n_thread = 2,
                               .n_stream = 1});
    rig_job job = {.ids = ids[0], .n_id = MAX_ID, .want_logits = true};
    rig_run(&r, &job, 1);
    engine_sink_set(r.e, &(engine_sink){.ctx = last, .logits = keep_last});
    for (size_t i = 0; i < sizeof prefix / sizeof *prefix; i++) {
        engine_segment s = {.n_token = prefix[i], .want = ENGINE_LAST_LOGITS};
        const float *row = job.logits + (prefix[i] - 1) * shape.n_vocab;
        EXPECT_OK(engine_open(r.e, 0, true, 0));
        EXPECT_OK(engine_feed(r.e, 0, &s, ids[0]));
        for (uint32_t layer = 0; layer < shape.n_layer; layer++)
            assert_int_equal(turn(&r, &done), 1);
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
    rig_open(&r, &(rig_config){.shape = &shape,
                               .device = device[0],
                               .compute = compute,
                               .n_thread = 1,
                               .n_stream = 1,
                               .n_slot = 3,
                               .kv_cap = 10});
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

/* ------------------------------------------------------- ranks by hand --- */

/* A rank's engine with the stream open, as one of two. */
static void
open_rank(rig *r, const model_config *shape, place_kind kind, uint32_t rank)
{
    rig_open(r, &(rig_config){.shape = shape,
                              .device = device[rank],
                              .compute = compute,
                              .n_thread = 1,
                              .n_stream = 1,
                              .kv_cap = KV_CAP,
                              .max_token = MAX_TOKEN,
                              .place = {.kind = kind,
                                        .n_layer = shape->n_layer,
                                        .size = 2,
                                        .rank = rank}});
    EXPECT_OK(engine_open(r->e, 0, kind == PLACE_LAYERS || rank == 0, 0));
}

static void
keep_logits(void *ctx, uint32_t stream, const engine_segment *s, uint32_t row0,
            uint32_t n_row, const float *logits)
{
    float *all = ctx;
    const model_config shape = rig_shape();
    (void)stream;
    memcpy(all + (s->seg * shape.segment_size + row0) * shape.n_vocab, logits,
           (size_t)n_row * shape.n_vocab * sizeof *logits);
}

/* Moves what is at one place of a rank to one of another. */
static void
move(rig *from, const engine_place *a, rig *to, const engine_place *b)
{
    char bytes[32 << 10];
    assert_true(a->len == b->len && a->len <= sizeof bytes);
    EXPECT_OK(engine_read(from->e, a, bytes));
    EXPECT_OK(engine_write(to->e, b, bytes));
}

static engine_segment
segment_at(uint64_t seg, uint64_t n_id)
{
    uint32_t size = rig_shape().segment_size;
    return (engine_segment){
        .seg = seg,
        .past = {.n_token = seg * size, .n_last = seg > 0 ? size : 0},
        .n_token = segment_tokens(seg, n_id, size),
        .want = ENGINE_LOGITS};
}

/* A state that a cell left, to the rank of the next segment. */
static void
hand_over(rig *here, rig *next, const engine_done *d)
{
    const memory_past past = engine_past_after(&d->segment);
    engine_place a, b;
    uint32_t layer = 0;
    if (!engine_state_left(here->e, d, &layer))
        return;
    engine_state_place(here->e, 0, layer, &past, &a);
    engine_state_place(next->e, 0, layer, &past, &b);
    if (a.len > 0)
        move(here, &a, next, &b);
    engine_state_arrived(next->e, 0, layer);
}

/* Segment by segment on alternate ranks; the state of a layer is handed over
 * once its cell is done. */
static void
run_segments(rig *r, uint64_t n_id)
{
    uint64_t n = segment_count(n_id, rig_shape().segment_size);
    for (uint64_t seg = 0; seg < n; seg++) {
        engine_segment s = segment_at(seg, n_id);
        rig *here = &r[seg % 2], *next = &r[(seg + 1) % 2];
        const engine_done *done = NULL;
        EXPECT_OK(engine_feed(here->e, 0, &s, ids[0] + seg * 8));
        for (uint32_t layer = 0; layer < here->cfg.n_layer; layer++) {
            assert_int_equal(turn(here, &done), 1);
            assert_int_equal(done[0].layer, layer);
            hand_over(here, next, &done[0]);
        }
        assert_int_equal(turn(here, &done), 0); /* its next states are away */
    }
}

/* The lower layers on rank 0, the others on rank 1. */
static void
run_layers(rig *r, uint64_t n_id)
{
    uint64_t n = segment_count(n_id, rig_shape().segment_size);
    uint32_t n_lower = model_part_of(engine_model(r[0].e))->n_layer;
    uint32_t n_upper = model_part_of(engine_model(r[1].e))->n_layer;
    for (uint64_t seg = 0; seg < n; seg++) {
        engine_segment s = segment_at(seg, n_id);
        uint32_t n_row = engine_rows(r[0].e, &s);
        const engine_done *done = NULL;
        engine_place a, b;
        EXPECT_OK(engine_feed(r[0].e, 0, &s, ids[0] + seg * 8));
        for (uint32_t layer = 0; layer < n_lower; layer++)
            assert_int_equal(turn(&r[0], &done), 1);
        engine_x_place(r[0].e, 0, seg, n_row, &a);
        engine_x_place(r[1].e, 0, seg, n_row, &b);
        move(&r[0], &a, &r[1], &b);
        engine_release(r[0].e, 0, seg);
        EXPECT_OK(engine_feed(r[1].e, 0, &s, NULL));
        for (uint32_t layer = 0; layer < n_upper; layer++)
            assert_int_equal(turn(&r[1], &done), 1);
    }
}

static void
check_ranks(const model_config *shape, place_kind kind,
            void (*run)(rig *, uint64_t))
{
    rig_job job = {.ids = ids[0], .n_id = 61, .want_logits = true}, alone;
    size_t len = job.n_id * shape->n_vocab;
    float *logits = NULL;
    rig r[2];

    random_ids();
    run_alone(&alone, shape, &job, 1);
    EXPECT_OK(mem_new(&logits, len, sizeof *logits));
    engine_sink sink = {.ctx = logits, .logits = keep_logits};
    for (uint32_t rank = 0; rank < 2; rank++) {
        open_rank(&r[rank], shape, kind, rank);
        engine_sink_set(r[rank].e, &sink);
    }
    run(r, job.n_id);
    assert_memory_equal(logits, alone.logits, len * sizeof *logits);
    rig_close(&r[0]);
    rig_close(&r[1]);
    rig_job_free(&alone);
    mem_free(logits);
}

static void
test_states_hop(void **state)
{
    (void)state;
    seed = 21;
    for (uint32_t i = 0; i < RIG_N_VARIANT; i++) {
        const model_config shape = rig_variant(i);
        check_ranks(&shape, PLACE_SEGMENTS, run_segments);
    }
}

static void
test_rows_hop(void **state)
{
    (void)state;
    seed = 22;
    for (uint32_t i = 0; i < RIG_N_VARIANT; i++) {
        const model_config shape = rig_variant(i);
        if (!memory_of(&shape)->chained)
            check_ranks(&shape, PLACE_LAYERS, run_layers);
    }
}

/* A frozen run needs its states once, and no message for later steps. */
static void
test_frozen_states_stay(void **state)
{
    model_config shape = rig_shape();
    const engine_done *done = NULL;
    rig r;
    (void)state;
    seed = 23;
    random_ids();
    open_rank(&r, &shape, PLACE_SEGMENTS, 1);
    engine_segment s = {.seg = 1, .n_token = 5, .frozen = 1};
    EXPECT_OK(engine_feed(r.e, 0, &s, ids[0]));
    s.pos = 5;
    s.n_token = 1;
    EXPECT_OK(engine_feed(r.e, 0, &s, ids[0] + 5));
    assert_int_equal(turn(&r, &done), 0);
    for (uint32_t layer = 0; layer < shape.n_layer; layer++)
        engine_state_arrived(r.e, 0, layer);
    uint32_t n_cell = 0;
    for (uint32_t n = 1; n > 0; n_cell += n)
        n = turn(&r, &done);
    assert_int_equal(n_cell, 2 * shape.n_layer);
    s.pos = 6;
    EXPECT_OK(engine_feed(r.e, 0, &s, ids[0] + 6));
    assert_int_equal(turn(&r, &done), 1);
    rig_close(&r);
}

static int
run(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_together_is_alone),
        cmocka_unit_test(test_together_in_fast_launches),
        cmocka_unit_test(test_snapshot_and_restore),
        cmocka_unit_test(test_needs_are_counted),
        cmocka_unit_test(test_what_would_fit_is_said),
        cmocka_unit_test(test_samples_are_drawn),
        cmocka_unit_test(test_groups_are_diagonals),
        cmocka_unit_test(test_logits_in_tiles),
        cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_states_hop),
        cmocka_unit_test(test_rows_hop),
        cmocka_unit_test(test_frozen_states_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int
main(void)
{
    static const char *const types[] = {"f32", "bf16"};
    kernel_device *dev = NULL;
    int n_bad = run();

    if (kernel_open(&dev, &(kernel_config){.device = "cuda"}) != ST_OK) {
        print_message("on a GPU: not run: %s\n", status_text());
        return n_bad;
    }
    kernel_close(dev);
    device[0] = device[1] = "cuda";
    n_try = 3;
    for (size_t i = 0; i < 2; i++) {
        compute = types[i];
        print_message("on a GPU, %s\n", compute);
        n_bad += run();
    }
    return n_bad;
}
