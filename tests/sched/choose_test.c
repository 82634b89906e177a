/* SPDX-License-Identifier: Apache-2.0 */
/* What a world's ranks do with its documents, where it is plain what pays. */
#include "sched/choose.h"

#include "tests/expect.h"

static const cost_model model = {.n_layer = 8,
                                 .n_row = 272,
                                 .cell_flops = 2e9,
                                 .x_bytes = 5.6e5,
                                 .state_bytes = 7.9e5,
                                 .layer_bytes = 1.3e7,
                                 .ends_bytes = 1e6};

/* A fiftieth of a second a cell on each of two ranks. */
static cost_cluster
two_ranks(double bytes_per_s)
{
    return (cost_cluster){
        .name = "test",
        .n_rank = 2,
        .n_rank_node = 2,
        .rank = {.flops = 1e11, .memory = 1e9},
        .inner = {.latency_s = 1e-5, .bytes_per_s = bytes_per_s},
        .outer = {.latency_s = 1e-5, .bytes_per_s = bytes_per_s}};
}

static plan_job
documents(const cost_cluster *c, uint32_t n_doc)
{
    return (plan_job){.model = &model,
                      .cluster = c,
                      .n_rank = 2,
                      .n_doc = n_doc,
                      .n_seg = 64};
}

/* Fast links: ranks that share every document read all of them as soon. */
static void
fast_links_share(void **state)
{
    cost_cluster c = two_ranks(1e10);
    plan_job job = documents(&c, 4);
    choose got = {0};
    (void)state;
    EXPECT_OK(choose_plan(&got, &job, 0));
    assert_int_equal(got.n_replica, 1);
    assert_int_equal(got.plan[got.placement].n_rank, 2);
}

/* A link of 2 MB/s lets neither kind of hop keep up: replicas pass nothing. */
static void
slow_links_do_not(void **state)
{
    cost_cluster c = two_ranks(2e6);
    plan_job job = documents(&c, 4);
    choose got = {0};
    (void)state;
    EXPECT_OK(choose_plan(&got, &job, 0));
    assert_int_equal(got.n_replica, 2);
    assert_true(got.plan[got.placement].result.bytes <= 0);
    /* When one is asked for, one it is. */
    EXPECT_OK(choose_plan(&got, &job, 1));
    assert_int_equal(got.n_replica, 1);
    assert_true(got.plan[got.placement].result.bytes > 0);
    /* Nobody else would read a single document. */
    job.n_doc = 1;
    EXPECT_OK(choose_plan(&got, &job, 0));
    assert_int_equal(got.n_replica, 1);
}

/* At 20 MB/s hidden states take 28 ms beside 80 of computing and states 316:
 * layers.  With short states it is the other way round. */
static void
bytes_decide_the_placement(void **state)
{
    cost_cluster c = two_ranks(2e7);
    plan_job job = documents(&c, 1);
    cost_model small = model;
    choose got = {0};
    (void)state;
    EXPECT_OK(choose_plan(&got, &job, 1));
    assert_int_equal(got.placement, PLACE_LAYERS);
    small.x_bytes = 5.6e6;
    small.state_bytes = 1e4;
    job.model = &small;
    EXPECT_OK(choose_plan(&got, &job, 1));
    assert_int_equal(got.placement, PLACE_SEGMENTS);
}

/* A rank that was slower by 1.45 when it was measured.  By that moment layers
 * win by 17 %, and if both are equal after all segments do by more.  Where
 * layers win either way, they are taken; and ranks that are twice as slow, or
 * of another kind, are what they seem. */
static void
a_moment_does_not_decide(void **state)
{
    cost_rank ranks[2] = {
        {.flops = 1.2e11, .memory = 1e9, .n_cell = 1, .kind = 7},
        {.flops = 1.2e11 / 1.45, .memory = 1e9, .n_cell = 1, .kind = 7}};
    cost_cluster c = two_ranks(1e9);
    cost_model less = model;
    plan_job job = documents(&c, 1);
    choose got = {0};
    (void)state;
    less.n_layer = 4;
    less.last_flops = less.cell_flops / 4;
    job.model = &less;
    c.ranks = ranks;
    EXPECT_OK(choose_plan(&got, &job, 1));
    assert_true(got.plan[PLACE_LAYERS].result.seconds <
                got.plan[PLACE_SEGMENTS].result.seconds);
    assert_int_equal(got.placement, PLACE_SEGMENTS);
    assert_true(got.level[PLACE_SEGMENTS] > 0);
    assert_true(got.level[PLACE_SEGMENTS] < got.level[PLACE_LAYERS]);
    ranks[1].kind = 8;
    EXPECT_OK(choose_plan(&got, &job, 1));
    assert_true(got.level[PLACE_LAYERS] <= 0);
    assert_int_equal(got.placement, PLACE_LAYERS);
    ranks[1].kind = 7;
    ranks[1].flops = ranks[0].flops / 2;
    EXPECT_OK(choose_plan(&got, &job, 1));
    assert_int_equal(got.placement, PLACE_LAYERS);
    ranks[1].flops = ranks[0].flops / 1.45;
    c.inner.bytes_per_s = c.outer.bytes_per_s = 2e7;
    EXPECT_OK(choose_plan(&got, &job, 1));
    assert_int_equal(got.placement, PLACE_LAYERS);
}

/* Room for half of the model on each rank, for none of it, and for replicas
 * that would be sooner but do not fit. */
static void
memory_decides(void **state)
{
    cost_cluster c = two_ranks(2e6);
    plan_job job = documents(&c, 4);
    choose got = {.n_replica = 77};
    (void)state;
    c.rank.memory = 1e7;
    EXPECT_ST(choose_plan(&got, &job, 0), ST_LIMIT);
    assert_int_equal(got.n_replica, 77);
    c.rank.memory = 1e8;
    EXPECT_OK(choose_plan(&got, &job, 0));
    assert_int_equal(got.n_replica, 1);
    assert_int_equal(got.placement, PLACE_LAYERS);
    assert_false(got.fits[PLACE_SEGMENTS]);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fast_links_share),
        cmocka_unit_test(slow_links_do_not),
        cmocka_unit_test(bytes_decide_the_placement),
        cmocka_unit_test(a_moment_does_not_decide),
        cmocka_unit_test(memory_decides),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
