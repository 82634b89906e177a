/* SPDX-License-Identifier: Apache-2.0 */
/* Two engines as two ranks, their messages carried by hand: the same bits as
 * one engine alone. */
#include <string.h>

#include "base/mem.h"
#include "tests/worker/engine_rig.h"

static uint64_t seed;

/* A rank's engine with the stream open, as one of two. */
static void
open_rank(rig *r, const model_config *shape, place_kind kind, uint32_t rank)
{
    rig_config how = engine_rig_config(shape, 1);

    how.device = engine_rig.device[rank];
    how.place = (place){
        .kind = kind, .n_layer = shape->n_layer, .size = 2, .rank = rank};
    rig_open(r, &how);
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
    char *bytes = NULL;
    assert_int_equal(a->len, b->len);
    EXPECT_OK(mem_new(&bytes, a->len, 1));
    EXPECT_OK(engine_read(from->e, a, bytes));
    EXPECT_OK(engine_write(to->e, b, bytes));
    mem_free(bytes);
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
        EXPECT_OK(engine_feed(here->e, 0, &s, engine_rig_ids[0] + seg * 8));
        for (uint32_t layer = 0; layer < here->cfg.n_layer; layer++) {
            assert_int_equal(engine_rig_turn(here, &done), 1);
            assert_int_equal(done[0].layer, layer);
            hand_over(here, next, &done[0]);
        }
        /* Its next states are away. */
        assert_int_equal(engine_rig_turn(here, &done), 0);
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
        EXPECT_OK(engine_feed(r[0].e, 0, &s, engine_rig_ids[0] + seg * 8));
        for (uint32_t layer = 0; layer < n_lower; layer++)
            assert_int_equal(engine_rig_turn(&r[0], &done), 1);
        engine_x_place(r[0].e, 0, seg, n_row, &a);
        engine_x_place(r[1].e, 0, seg, n_row, &b);
        move(&r[0], &a, &r[1], &b);
        engine_release(r[0].e, 0, seg);
        EXPECT_OK(engine_feed(r[1].e, 0, &s, NULL));
        for (uint32_t layer = 0; layer < n_upper; layer++)
            assert_int_equal(engine_rig_turn(&r[1], &done), 1);
    }
}

static void
check_ranks(const model_config *shape, place_kind kind,
            void (*run)(rig *, uint64_t))
{
    rig_job job = {.ids = engine_rig_ids[0], .n_id = 61, .want_logits = true};
    rig_job alone;
    size_t len = job.n_id * shape->n_vocab;
    float *logits = NULL;
    rig r[2];

    engine_rig_random(&seed);
    engine_rig_alone(&alone, shape, &job, 1);
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

/* A frozen run needs its states once, and no message for later steps, which so
 * pass all layers in one launch, as on a rank alone. */
static void
test_frozen_states_stay(void **state)
{
    model_config shape = rig_shape();
    const engine_done *done = NULL;
    rig r;
    (void)state;
    seed = 23;
    engine_rig_random(&seed);
    open_rank(&r, &shape, PLACE_SEGMENTS, 1);
    engine_segment s = {.seg = 1, .n_token = 5, .frozen = 1};
    EXPECT_OK(engine_feed(r.e, 0, &s, engine_rig_ids[0]));
    s.pos = 5;
    s.n_token = 1;
    EXPECT_OK(engine_feed(r.e, 0, &s, engine_rig_ids[0] + 5));
    assert_int_equal(engine_rig_turn(&r, &done), 0);
    for (uint32_t layer = 0; layer < shape.n_layer; layer++)
        engine_state_arrived(r.e, 0, layer);
    uint32_t n_cell = 0;
    for (uint32_t n = 1; n > 0; n_cell += n)
        n = engine_rig_turn(&r, &done);
    assert_int_equal(n_cell, 2 * shape.n_layer);
    s.pos = 6;
    EXPECT_OK(engine_feed(r.e, 0, &s, engine_rig_ids[0] + 6));
    assert_int_equal(engine_rig_turn(&r, &done), shape.n_layer);
    rig_close(&r);
}

/* A prompt of one row goes as far as its states have come. */
static void
test_a_row_waits_for_states(void **state)
{
    const model_config shape = rig_shape();
    const engine_segment s = {.seg = 1, .n_token = 1, .frozen = 1};
    const engine_done *done = NULL;
    rig r;
    (void)state;
    seed = 25;
    engine_rig_random(&seed);
    open_rank(&r, &shape, PLACE_SEGMENTS, 1);
    EXPECT_OK(engine_feed(r.e, 0, &s, engine_rig_ids[0]));
    assert_int_equal(engine_rig_turn(&r, &done), 0);
    engine_state_arrived(r.e, 0, 0);
    engine_state_arrived(r.e, 0, 1);
    assert_int_equal(engine_rig_turn(&r, &done), 2);
    assert_int_equal(done[1].layer, 1);
    assert_int_equal(engine_rig_turn(&r, &done), 0);
    for (uint32_t layer = 2; layer < shape.n_layer; layer++)
        engine_state_arrived(r.e, 0, layer);
    assert_int_equal(engine_rig_turn(&r, &done), shape.n_layer - 2);
    rig_close(&r);
}

enum { N_PROMPT = 3, N_STEP = 40 };

typedef struct steps {
    int32_t drawn[N_STEP + 1];
    uint32_t n;
} steps;

static void
keep_step(void *ctx, uint32_t stream, const engine_segment *segment,
          const engine_token *token)
{
    steps *t = ctx;
    (void)stream;
    (void)segment;
    t->drawn[t->n++] = token->id;
}

/* One segment is read here and an answer given there, likeliest token by
 * likeliest token; how many of its steps were ahead. */
static uint64_t
answer_there(steps *t, rig *here, rig *there)
{
    uint32_t size = here->cfg.segment_size, n = 0;
    const engine_segment read = {.n_token = size};
    const engine_sink sink = {.ctx = t, .token = keep_step};
    const engine_done *done = NULL;
    engine_counts counts;

    EXPECT_OK(engine_feed(here->e, 0, &read, engine_rig_ids[0]));
    while ((n = engine_rig_turn(here, &done)) > 0)
        for (uint32_t i = 0; i < n && here != there; i++)
            hand_over(here, there, &done[i]);
    engine_sink_set(there->e, &sink);
    t->n = 0;
    for (uint32_t i = 0; i <= N_STEP; i++) {
        const engine_segment s = {.seg = 1,
                                  .past = {.n_token = size, .n_last = size},
                                  .n_token = i == 0 ? N_PROMPT : 1,
                                  .pos = i == 0 ? 0 : N_PROMPT + i - 1,
                                  .frozen = 1,
                                  .want = ENGINE_TOKEN,
                                  .sample = {.top_p = 1.0F}};

        EXPECT_OK(engine_feed(there->e, 0, &s,
                              i == 0 ? engine_rig_ids[1] : &t->drawn[i - 1]));
        rig_run_all(there->e);
    }
    assert_int_equal(t->n, N_STEP + 1);
    engine_counts_get(there->e, &counts);
    return counts.n_ahead;
}

/* A rank that has every second segment is one step ahead, too, of an answer
 * whose states came from elsewhere, and gives the tokens of a rank alone. */
static void
check_steps_ahead(const model_config *shape)
{
    rig_config how = engine_rig_config(shape, 1);
    steps there, alone;
    uint64_t n_ahead;
    rig r[2];

    engine_rig_random(&seed);
    open_rank(&r[0], shape, PLACE_SEGMENTS, 0);
    open_rank(&r[1], shape, PLACE_SEGMENTS, 1);
    n_ahead = answer_there(&there, &r[0], &r[1]);
    rig_close(&r[0]);
    rig_close(&r[1]);
    assert_int_equal(n_ahead,
                     strcmp(engine_rig.device[1], "cpu") != 0 ? N_STEP - 1 : 0);
    rig_open(&r[0], &how);
    EXPECT_OK(engine_open(r[0].e, 0, true, 0));
    (void)answer_there(&alone, &r[0], &r[0]);
    rig_close(&r[0]);
    assert_memory_equal(there.drawn, alone.drawn, sizeof alone.drawn);
}

static void
test_steps_ahead_on_a_rank(void **state)
{
    model_config shape = rig_shape();
    (void)state;
    seed = 27;
    check_steps_ahead(&shape);
    EXPECT_OK(config_preset(&shape, "s256")); /* of heads that launches take */
    shape.segment_size = 40;
    shape.n_mem = 8;
    check_steps_ahead(&shape);
}

/* One segment at the lower layers: what was computed, and the states. */
static double
run_lower(const model_config *shape, uint32_t want, uint8_t *states,
          size_t room)
{
    engine_segment s = segment_at(0, 61);
    const engine_done *done = NULL;
    engine_counts counts;
    size_t len = 0;
    rig r;

    s.want = want;
    open_rank(&r, shape, PLACE_LAYERS, 0);
    EXPECT_OK(engine_feed(r.e, 0, &s, engine_rig_ids[0]));
    uint32_t n_lower = model_part_of(engine_model(r.e))->n_layer;
    for (uint32_t layer = 0; layer < n_lower; layer++)
        assert_int_equal(engine_rig_turn(&r, &done), 1);
    const memory_past past = engine_past_after(&s);
    for (uint32_t layer = 0; layer < n_lower; layer++) {
        engine_place at;
        engine_state_place(r.e, 0, layer, &past, &at);
        assert_true(len + at.len <= room);
        EXPECT_OK(engine_read(r.e, &at, states + len));
        len += at.len;
    }
    engine_counts_get(r.e, &counts);
    rig_close(&r);
    return counts.flops;
}

/* Where the rows of a rank's last layer are taken by nobody, as when it is
 * timed, less is computed, and its states are what they are. */
static void
test_states_alone(void **state)
{
    enum { ROOM = 64 << 10 };
    const model_config shape = rig_shape();
    uint8_t *a = NULL, *b = NULL;
    (void)state;
    seed = 24;
    engine_rig_random(&seed);
    EXPECT_OK(mem_new(&a, ROOM, 1));
    EXPECT_OK(mem_new(&b, ROOM, 1));
    double all = run_lower(&shape, 0, a, ROOM);
    assert_true(run_lower(&shape, ENGINE_STATE_ALONE, b, ROOM) < all);
    assert_memory_equal(a, b, ROOM);
    assert_true(run_lower(&shape, ENGINE_STATE_ALONE | ENGINE_ALL_ROWS, b,
                          ROOM) >= all);
    mem_free(a);
    mem_free(b);
}

static int
run(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_states_hop),
        cmocka_unit_test(test_rows_hop),
        cmocka_unit_test(test_frozen_states_stay),
        cmocka_unit_test(test_a_row_waits_for_states),
        cmocka_unit_test(test_steps_ahead_on_a_rank),
        cmocka_unit_test(test_states_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

int
main(void)
{
    return engine_rig_everywhere(run);
}
