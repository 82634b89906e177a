/* SPDX-License-Identifier: Apache-2.0 */
/* What a world of one rank refuses, and that it goes on unharmed.  What it
 * computes is tested in world_mpi.c. */
#include "worker/world.h"

#include <string.h>

#include "tests/expect.h"
#include "tests/worker/world_case.h"

enum {
    MAX_TURN = 1000,
    MANY_WORDS = 40000, /* a row of logits is 160 kB */
    PIECE = 256 << 10   /* bytes of logits that are reported at once */
};

typedef struct rig {
    world_case *t;
    comm *c;
    world_case_rank rank;
    world *w;
    uint32_t n_segment, n_token, n_closed, n_snapshot, n_row;
} rig;

static void
on_event(void *ctx, const world_event *ev)
{
    rig *r = ctx;
    world_stream s = {.n_write = 1};
    uint32_t id = 0;
    r->n_segment += ev->kind == WORLD_EVENT_SEGMENT;
    r->n_token += ev->kind == WORLD_EVENT_TOKEN;
    r->n_closed += ev->kind == WORLD_EVENT_CLOSED;
    r->n_snapshot += ev->kind == WORLD_EVENT_SNAPSHOT;
    if (ev->kind == WORLD_EVENT_LOGITS) {
        size_t row = r->t->model.n_vocab * sizeof(float);
        assert_int_equal(ev->u.logits.row0, r->n_row);
        assert_true(ev->u.logits.n_row * row <= PIECE);
        r->n_row += ev->u.logits.n_row;
    }
    EXPECT_ST(world_open(r->w, &id, &s), ST_STATE); /* in a callback */
}

/* `n_vocab` 0: a small one. */
static void
rig_open_with(rig *r, uint32_t n_vocab)
{
    static char name[] = "test";
    char *arg[] = {name, NULL};
    char **argv = arg;
    int argc = 1;
    *r = (rig){0};
    EXPECT_OK(world_case_new(&r->t, 5, 0, 1));
    if (n_vocab > 0)
        r->t->model.n_vocab = n_vocab;
    r->t->n_stream = 2;
    r->t->n_slot = 3;
    EXPECT_OK(comm_open(&r->c, &argc, &argv));
    assert_int_equal(comm_size(r->c), 1);
    EXPECT_OK(world_case_open(&r->rank, r->t, false));
    EXPECT_OK(world_new(&r->w, r->c, r->rank.engine, &r->t->place));
    world_on_event(r->w, on_event, r);
}

static void
rig_open(rig *r)
{
    rig_open_with(r, 0);
}

static void
rig_close(rig *r)
{
    EXPECT_OK(world_stop(r->w));
    assert_int_equal(world_streams_open(r->w), 0);
    world_free(r->w);
    world_case_close(&r->rank);
    comm_close(r->c);
    world_case_free(r->t);
}

static void
settle(rig *r)
{
    bool busy = true;
    for (int n = 0; busy; n++) {
        EXPECT_OK(world_turn(r->w, &busy));
        assert_true(n < MAX_TURN);
    }
}

static void
test_open(void **ctx)
{
    rig r;
    uint32_t id = 0;
    uint32_t other = 0;
    float states[1] = {0};
    (void)ctx;
    rig_open(&r);
    EXPECT_ST(world_open(r.w, &id, &(world_stream){0}), ST_ARG);
    EXPECT_ST(
        world_open(r.w, &id, &(world_stream){.first_seg = 1, .n_write = 1}),
        ST_ARG);
    EXPECT_ST(
        world_open(r.w, &id, &(world_stream){.n_write = 1, .states = states}),
        ST_ARG);
    EXPECT_ST(world_open(r.w, &id,
                         &(world_stream){.first_seg = 2,
                                         .n_write = UINT64_MAX,
                                         .states = states}),
              ST_ARG);
    assert_int_equal(world_streams_open(r.w), 0);

    EXPECT_OK(world_open(r.w, &id, &(world_stream){.n_write = 1}));
    EXPECT_OK(world_open(r.w, &other, &(world_stream){.prompt = true}));
    assert_int_not_equal(id, other);
    EXPECT_ST(world_open(r.w, &other, &(world_stream){.n_write = 1}), ST_STATE);
    world_close(r.w, id);
    world_close(r.w, id);
    world_close(r.w, 99);
    assert_int_equal(world_room(r.w, id), 0);
    settle(&r);
    assert_int_equal(r.n_closed, 1);
    EXPECT_OK(world_open(r.w, &id, &(world_stream){.n_write = 1}));
    rig_close(&r);
    assert_int_equal(r.n_closed, 3);
}

static void
test_feed(void **ctx)
{
    rig r;
    uint32_t id = 0;
    int32_t ids[16] = {1, 2, 3};
    (void)ctx;
    rig_open(&r);
    uint32_t s = r.t->model.segment_size;
    EXPECT_OK(world_open(r.w, &id, &(world_stream){.n_write = 5}));
    const engine_segment bad[] = {
        {.seg = 1, .n_token = 2},              /* out of order */
        {.seg = 0, .n_token = 2, .frozen = 1}, /* not yet */
        {.seg = 0, .n_token = 2, .pos = 1},
        {.seg = 0, .n_token = 0},
        {.seg = 0, .n_token = s + 1},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        EXPECT_ST(world_feed(r.w, id, &bad[i], ids), ST_ARG);
    engine_segment seg = {.n_token = 3};
    ids[2] = -1;
    EXPECT_ST(world_feed(r.w, id, &seg, ids), ST_ARG);
    ids[2] = (int32_t)r.t->model.n_vocab;
    EXPECT_ST(world_feed(r.w, id, &seg, ids), ST_ARG);
    ids[2] = 3;
    EXPECT_ST(world_feed(r.w, id + 1, &seg, ids), ST_STATE);
    EXPECT_ST(world_feed(r.w, 99, &seg, ids), ST_STATE);

    for (seg.seg = 0; seg.seg < 3; seg.seg++)
        EXPECT_OK(world_feed(r.w, id, &seg, ids));
    assert_int_equal(world_room(r.w, id), 0); /* three slots */
    EXPECT_ST(world_feed(r.w, id, &seg, ids), ST_STATE);
    settle(&r);
    assert_int_equal(r.n_segment, 3);
    for (; seg.seg < 5; seg.seg++)
        EXPECT_OK(world_feed(r.w, id, &seg, ids));
    assert_int_equal(world_room(r.w, id), 0); /* all that were announced */
    settle(&r);
    assert_int_equal(r.n_segment, 5);
    rig_close(&r);
}

/* What is done with them, a copy or a write to a file, is soon over: hops wait
 * for no more. */
static void
test_logits_come_in_pieces(void **ctx)
{
    rig r;
    uint32_t id = 0;
    int32_t ids[16] = {1, MANY_WORDS - 1, 3};
    engine_segment seg = {.n_token = 3, .want = ENGINE_LOGITS};
    (void)ctx;
    rig_open_with(&r, MANY_WORDS);
    EXPECT_OK(world_open(r.w, &id, &(world_stream){.n_write = 1}));
    EXPECT_OK(world_feed(r.w, id, &seg, ids));
    settle(&r);
    assert_int_equal(r.n_row, 3);
    rig_close(&r);
}

static void
test_answer(void **ctx)
{
    rig r;
    uint32_t id = 0;
    int32_t ids[16] = {1, 2, 3};
    (void)ctx;
    rig_open(&r);
    EXPECT_OK(world_open(r.w, &id, &(world_stream){.prompt = true}));
    EXPECT_ST(world_snapshot(r.w, id), ST_STATE); /* there is no memory */
    engine_segment seg = {.n_token = 3, .frozen = 1, .want = ENGINE_TOKEN};
    EXPECT_OK(world_feed(r.w, id, &seg, ids));
    settle(&r);
    assert_int_equal(r.n_token, 1);
    EXPECT_ST(world_feed(r.w, id, &seg, ids), ST_ARG); /* place 0 again */
    seg.pos = 3;
    EXPECT_ST(world_feed(r.w, id, &seg, ids), ST_ARG); /* three at once */
    seg.n_token = 1;
    EXPECT_OK(world_feed(r.w, id, &seg, ids));
    settle(&r);
    assert_int_equal(r.n_token, 2);
    rig_close(&r);
}

static void
test_snapshot(void **ctx)
{
    rig r;
    uint32_t id = 0;
    int32_t ids[16] = {1, 2, 3};
    (void)ctx;
    rig_open(&r);
    EXPECT_OK(world_open(r.w, &id, &(world_stream){.n_write = 4}));
    engine_segment seg = {.n_token = 3};
    EXPECT_OK(world_feed(r.w, id, &seg, ids));
    EXPECT_ST(world_snapshot(r.w, id), ST_STATE); /* not done yet */
    settle(&r);
    EXPECT_OK(world_snapshot(r.w, id)); /* in the middle, at rest */
    settle(&r);
    assert_int_equal(r.n_snapshot, 1);
    seg.seg = 1;
    EXPECT_OK(world_feed(r.w, id, &seg, ids));
    settle(&r);
    assert_int_equal(r.n_segment, 2);
    world_close(r.w, id);
    EXPECT_ST(world_snapshot(r.w, id), ST_STATE);
    rig_close(&r);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open),
        cmocka_unit_test(test_feed),
        cmocka_unit_test(test_logits_come_in_pieces),
        cmocka_unit_test(test_answer),
        cmocka_unit_test(test_snapshot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
