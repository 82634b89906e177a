/* SPDX-License-Identifier: Apache-2.0 */
/* Simulated worlds: known makespans, bytes by formula, and random worlds that
 * finish and obey the bounds that no schedule can pass. */
#include "sched/simulate.h"

#include <math.h>
#include <stdlib.h>

#include "tests/expect.h"

static const cost_model model = {.n_layer = 6,
                                 .n_row = 100,
                                 .cell_flops = 1e9,
                                 .x_bytes = 2e5,
                                 .state_bytes = 7e5,
                                 .layer_bytes = 1e7,
                                 .ends_bytes = 4e6};

/* Groups take one second whatever is in them, and nothing else takes time. */
static cost_cluster
free_links(uint32_t n_rank)
{
    return (cost_cluster){.name = "test",
                          .n_rank = n_rank,
                          .n_rank_node = 2,
                          .rank = {.flops = INFINITY, .group_s = 1},
                          .inner = {.bytes_per_s = INFINITY},
                          .outer = {.bytes_per_s = INFINITY}};
}

/* One rank and one document: the diagonals of the grid, n + L - 1 of them; in
 * sequence n L. */
static void
diagonals(void **state)
{
    static const uint64_t n_seg[] = {1, 3, 6, 50};
    cost_cluster c = free_links(1);
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        simulate_result r = {0};
        simulate_config cfg = {.model = &model,
                               .cluster = &c,
                               .n_rank = 1,
                               .n_doc = 1,
                               .n_stream = 1,
                               .n_seg = n_seg[i]};
        EXPECT_OK(simulate_run(&r, &cfg));
        assert_int_equal(r.n_group, n_seg[i] + 6 - 1);
        assert_true(fabs(r.seconds - (double)r.n_group) < 1e-9);
        assert_true(r.bytes <= 0);
        cfg.order = WAVEFRONT_SEQUENTIAL;
        EXPECT_OK(simulate_run(&r, &cfg));
        assert_int_equal(r.n_group, n_seg[i] * 6);
    }
}

/* With free links a rank a layer, or a rank a diagonal's cell, takes as many
 * steps as one rank that does whole diagonals at once. */
static void
free_links_keep_the_diagonals(void **state)
{
    (void)state;
    for (uint32_t kind = 0; kind < 2; kind++) {
        cost_cluster c = free_links(6);
        simulate_result r = {0};
        simulate_config cfg = {.model = &model,
                               .cluster = &c,
                               .placement = (place_kind)kind,
                               .n_rank = 6,
                               .n_doc = 1,
                               .n_stream = 1,
                               .n_seg = 40};
        EXPECT_OK(simulate_run(&r, &cfg));
        assert_true(fabs(r.seconds - (40 + 6 - 1)) < 1e-9);
    }
}

static void
bytes_by_formula(void **state)
{
    cost_cluster c = free_links(3);
    simulate_result r = {0};
    simulate_config cfg = {.model = &model,
                           .cluster = &c,
                           .placement = PLACE_LAYERS,
                           .n_rank = 3,
                           .n_doc = 5,
                           .n_stream = 2,
                           .n_seg = 11};
    (void)state;
    EXPECT_OK(simulate_run(&r, &cfg));
    assert_true(fabs(r.bytes - 5 * 11 * 2 * model.x_bytes) < 1);
    cfg.placement = PLACE_SEGMENTS;
    EXPECT_OK(simulate_run(&r, &cfg));
    assert_true(fabs(r.bytes - 5 * 10 * 6 * model.state_bytes) < 1);
}

/* Two ranks, a document of one segment: compute, transfer, latency, compute.
 */
static void
a_slow_link_shows(void **state)
{
    cost_cluster c = free_links(2);
    simulate_result r = {0};
    simulate_config cfg = {.model = &model,
                           .cluster = &c,
                           .placement = PLACE_LAYERS,
                           .n_rank = 2,
                           .n_doc = 1,
                           .n_stream = 1,
                           .n_seg = 1};
    (void)state;
    c.inner = (cost_link){.latency_s = 0.25, .bytes_per_s = 1e5};
    EXPECT_OK(simulate_run(&r, &cfg));
    assert_true(fabs(r.seconds - (3 + 2 + 0.25 + 3)) < 1e-9);
    assert_true(fabs(r.path.compute - 6) < 1e-9);
    assert_true(fabs(r.path.transfer - 2) < 1e-9);
    assert_true(fabs(r.path.latency - 0.25) < 1e-9);
    assert_true(fabs(r.path.wait) < 1e-9);
}

/* Copies take the rank's own time: the receiver's before its group, the
 * sender's from the group behind the hop. */
static void
copies_cost_time(void **state)
{
    cost_cluster c = free_links(2);
    simulate_result r = {0};
    simulate_config cfg = {.model = &model,
                           .cluster = &c,
                           .placement = PLACE_LAYERS,
                           .n_rank = 2,
                           .n_doc = 1,
                           .n_stream = 1,
                           .n_seg = 2};
    (void)state;
    /* Rank 1 has segment 0 at 3 s and runs three groups of it; segment 1 comes
     * when the second of these has just begun. */
    EXPECT_OK(simulate_run(&r, &cfg));
    assert_true(fabs(r.seconds - 8) < 1e-9);
    /* A receiver that copies itself finds the second one when it looks for a
     * group, and runs both segments in one. */
    c.inner.receive_s = 1e-3 / model.x_bytes;
    EXPECT_OK(simulate_run(&r, &cfg));
    assert_true(fabs(r.seconds - 7) < 1e-9);
    /* A transfer of 2 s: the second hop comes at 7 s, with the end of a group;
     * what it takes of the rank's time makes the next one longer. */
    c.inner = (cost_link){.bytes_per_s = model.x_bytes / 2};
    EXPECT_OK(simulate_run(&r, &cfg));
    assert_true(fabs(r.seconds - 10) < 1e-9);
    c.inner.receive_s = 0.5 / model.x_bytes;
    EXPECT_OK(simulate_run(&r, &cfg));
    assert_true(fabs(r.seconds - 10.5) < 1e-9);
    /* Segment 0 leaves at 3 s: the group of segment 1 behind it ends at 5.5,
     * when the last group of segment 0 runs, until 6. */
    c.inner =
        (cost_link){.bytes_per_s = INFINITY, .send_s = 1.5 / model.x_bytes};
    EXPECT_OK(simulate_run(&r, &cfg));
    assert_true(fabs(r.seconds - 9) < 1e-9);
}

/* The last of six layers has half the FLOPs, which take 1.5 times as long. */
static void
the_last_layer_is_another(void **state)
{
    cost_model m = model;
    cost_cluster c = free_links(1);
    simulate_result r = {0};
    simulate_config cfg = {.model = &m,
                           .cluster = &c,
                           .n_rank = 1,
                           .n_doc = 1,
                           .n_stream = 1,
                           .n_seg = 2,
                           .order = WAVEFRONT_SEQUENTIAL};
    (void)state;
    c.rank = (cost_rank){.flops = 1e9, .last_times = 1.5};
    EXPECT_OK(simulate_run(&r, &cfg));
    assert_true(fabs(r.seconds - 12) < 1e-9);
    m.last_flops = 5e8;
    EXPECT_OK(simulate_run(&r, &cfg));
    assert_true(fabs(r.seconds - 2 * (5 + 0.75)) < 1e-9);
    c.rank.last_times = 0;
    EXPECT_OK(simulate_run(&r, &cfg));
    assert_true(fabs(r.seconds - 2 * (5 + 0.5)) < 1e-9);
    c.rank.all_rows = true;
    EXPECT_OK(simulate_run(&r, &cfg));
    assert_true(fabs(r.seconds - 12) < 1e-9);
}

/* A last layer whose FLOPs take less or more time than others': who is never
 * idle and has no small groups has 100 %, and nobody has more. */
static void
efficiency_is_at_most_one(void **state)
{
    static const double times[] = {0.2, 1, 1.7};
    cost_model m = model;
    simulate_result r = {0};
    (void)state;
    m.last_flops = 9e8;
    for (size_t i = 0; i < 3; i++) {
        cost_rank ranks[] = {{.flops = 1e9, .last_times = times[i]},
                             {.flops = 3e9, .last_times = 0.5}};
        cost_cluster c = free_links(2);
        simulate_config cfg = {.model = &m,
                               .cluster = &c,
                               .n_rank = 1,
                               .n_doc = 3,
                               .n_stream = 2,
                               .n_seg = 40};
        c.rank = ranks[0];
        c.ranks = ranks;
        EXPECT_OK(simulate_run(&r, &cfg));
        assert_true(fabs(r.efficiency - 1) < 1e-9);
        for (uint32_t kind = 0; kind < 2; kind++) {
            cfg.n_rank = 2;
            cfg.placement = (place_kind)kind;
            EXPECT_OK(simulate_run(&r, &cfg));
            assert_true(r.efficiency > 0 && r.efficiency <= 1 + 1e-9);
        }
    }
}

/* Long states of two ranks share a connection: the word that one of them may go
 * waits behind what comes, and the word that one has left behind what goes with
 * it, so that the ranks take turns nearly all the time, as ranks that were
 * timed do.  Those of three ranks have connections of their own, and short ones
 * go both ways at once, as 99 kB do on a link of 100 Mbit/s. */
static void
two_ranks_share_a_line(void **state)
{
    cost_model m = model;
    simulate_result r = {0};
    (void)state;
    for (uint32_t i = 0; i < 4; i++) {
        uint32_t n_rank = 2 + i % 2;
        cost_cluster c = free_links(n_rank);
        simulate_config cfg = {.model = &m,
                               .cluster = &c,
                               .placement = PLACE_SEGMENTS,
                               .n_rank = n_rank,
                               .n_doc = 1,
                               .n_stream = 1,
                               .n_seg = 101};
        m.state_bytes = i < 2 ? 7e5 : 9.9e4;
        c.rank.group_s = 1e-6;
        c.inner = c.outer = (cost_link){.bytes_per_s = m.state_bytes};
        EXPECT_OK(simulate_run(&r, &cfg));
        double all = 100 * 6; /* seconds, a state each */
        assert_true(r.seconds > all / n_rank);
        if (i == 0)
            assert_true(r.seconds > 0.9 * all && r.seconds < 1.01 * all);
        else
            assert_true(r.seconds < 1.05 * all / n_rank);
    }
}

/* Two segments of one layer on two ranks: the word, its answer and the rest
 * take the latency three times. */
static void
a_long_state_is_asked_for(void **state)
{
    cost_model m = model;
    cost_cluster c = free_links(2);
    simulate_result r = {0};
    simulate_config cfg = {.model = &m,
                           .cluster = &c,
                           .placement = PLACE_SEGMENTS,
                           .n_rank = 2,
                           .n_doc = 1,
                           .n_stream = 1,
                           .n_seg = 2};
    (void)state;
    m.n_layer = 1;
    c.inner = (cost_link){.latency_s = 0.25, .bytes_per_s = m.state_bytes / 2};
    EXPECT_OK(simulate_run(&r, &cfg));
    assert_true(fabs(r.seconds - (1 + 2 + 3 * 0.25 + 1)) < 1e-9);
    assert_true(fabs(r.path.transfer - 2) < 1e-9);
    assert_true(fabs(r.path.latency - 0.75) < 1e-9);
    assert_true(fabs(r.path.wait) < 1e-9);
    m.state_bytes = 6e4;
    c.inner.bytes_per_s = m.state_bytes / 2;
    EXPECT_OK(simulate_run(&r, &cfg));
    assert_true(fabs(r.seconds - (1 + 2 + 0.25 + 1)) < 1e-9);
}

/* Ranks that compute one cell at a time take it by itself: as many groups as
 * cells, whatever the links do, and a ramp of the cells until the first hop. */
static void
one_at_a_time(void **state)
{
    static const double transfer[] = {0, 0.5, 3, 40};
    (void)state;
    for (uint32_t i = 0; i < 8; i++) {
        cost_cluster c = free_links(2);
        simulate_result r = {0};
        simulate_config cfg = {.model = &model,
                               .cluster = &c,
                               .placement = (place_kind)(i % 2),
                               .n_rank = 2,
                               .n_doc = 1,
                               .n_stream = 1,
                               .n_seg = 40};
        c.rank.n_cell = 1;
        if (i >= 2)
            c.inner.bytes_per_s = 1e5 / transfer[i / 2];
        EXPECT_OK(simulate_run(&r, &cfg));
        assert_int_equal(r.n_group_all, 40 * 6);
        assert_int_equal(r.n_group_first, 40 * 3);
        double ramp = cfg.placement == PLACE_LAYERS ? 3 : 1;
        if (i < 2)
            assert_true(fabs(r.seconds - (40 * 3 + ramp)) < 1e-9);
    }
}

static double
between(uint64_t *seed, double low, double high)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return low + (high - low) * (double)(*seed >> 11) / 9007199254740992.0;
}

static uint32_t
draw(uint64_t *seed, uint32_t low, uint32_t high)
{
    return (uint32_t)between(seed, low, high + 0.999);
}

/* What no schedule passes: all work at full rate on all ranks, and the chain
 * of one document's cells, each in a group of its own. */
static void
check_bounds(const simulate_config *cfg, const simulate_result *r)
{
    double n_layer = cfg->model->n_layer, n = (double)cfg->n_seg;
    double one = cost_group(cfg->model, &cfg->cluster->rank, 1, 0);
    double work = n * cfg->n_doc * n_layer * cfg->model->cell_flops;
    double sum =
        r->path.compute + r->path.transfer + r->path.latency + r->path.wait;
    assert_true(r->seconds >=
                work / (cfg->n_rank * cfg->cluster->rank.flops) - 1e-9);
    assert_true(r->seconds >= (n_layer + n - 1) * one * (1 - 1e-9));
    assert_true(r->efficiency > 0 && r->efficiency <= 1 + 1e-9);
    assert_true(r->busy > 0 && r->busy <= 1 + 1e-9);
    assert_int_equal(r->n_cell, cfg->n_doc * cfg->n_seg * cfg->model->n_layer);
    assert_true(fabs(sum - r->seconds) < 1e-9 * r->seconds);
}

static void
random_worlds_finish(void **state)
{
    uint64_t seed = 88172645463325252;
    (void)state;
    for (uint32_t i = 0; i < 600; i++) {
        cost_model m = model;
        m.n_layer = draw(&seed, 1, 12);
        cost_cluster c = {
            .name = "random",
            .n_rank = 8,
            .n_rank_node = draw(&seed, 1, 8),
            .rank = {1e10, between(&seed, 0, 300), between(&seed, 0, 1e-2),
                     1e12, draw(&seed, 0, 2), false},
            .inner = {between(&seed, 0, 1e-2), between(&seed, 1e5, 1e9),
                      between(&seed, 0, 1e-7), between(&seed, 0, 1e-7)},
            .outer = {between(&seed, 0, 1), between(&seed, 1e4, 1e8), 0, 0}};
        simulate_config cfg = {.model = &m,
                               .cluster = &c,
                               .placement = (place_kind)draw(&seed, 0, 1),
                               .order = (wavefront_order)draw(&seed, 0, 1),
                               .n_rank = draw(&seed, 1, 8),
                               .n_doc = draw(&seed, 1, 5),
                               .n_stream = draw(&seed, 1, 3),
                               .n_seg = draw(&seed, 1, 40),
                               .max_cell = draw(&seed, 0, 4)};
        simulate_result r = {0};
        EXPECT_OK(simulate_run(&r, &cfg));
        check_bounds(&cfg, &r);
    }
}

static void
bad_worlds(void **state)
{
    cost_cluster c = free_links(2);
    simulate_result r = {.n_group = 77};
    simulate_config cfg = {.model = &model,
                           .cluster = &c,
                           .n_rank = 3,
                           .n_doc = 1,
                           .n_stream = 1,
                           .n_seg = 1};
    (void)state;
    EXPECT_ST(simulate_run(&r, &cfg), ST_ARG);
    cfg.n_rank = 0;
    EXPECT_ST(simulate_run(&r, &cfg), ST_ARG);
    cfg.n_rank = 1;
    cfg.n_seg = 0;
    EXPECT_ST(simulate_run(&r, &cfg), ST_ARG);
    assert_int_equal(r.n_group, 77);
    EXPECT_ST(cost_cluster_preset(&c, "9xh200"), ST_NOTFOUND);
    EXPECT_OK(cost_cluster_preset(&c, "128xh200"));
    assert_int_equal(c.n_rank, 128);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(diagonals),
        cmocka_unit_test(free_links_keep_the_diagonals),
        cmocka_unit_test(bytes_by_formula),
        cmocka_unit_test(a_slow_link_shows),
        cmocka_unit_test(copies_cost_time),
        cmocka_unit_test(the_last_layer_is_another),
        cmocka_unit_test(efficiency_is_at_most_one),
        cmocka_unit_test(two_ranks_share_a_line),
        cmocka_unit_test(a_long_state_is_asked_for),
        cmocka_unit_test(one_at_a_time),
        cmocka_unit_test(random_worlds_finish),
        cmocka_unit_test(bad_worlds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
