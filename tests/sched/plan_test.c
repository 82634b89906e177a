/* SPDX-License-Identifier: Apache-2.0 */
/* Plans: what is chosen, what does not fit, and the size that is promised. */
#include "sched/plan.h"

#include <math.h>
#include <string.h>

#include "tests/expect.h"

/* Llama 3.1 8B with d_mem 64, segments of 1,024 and 128 memory tokens, bf16
 * weights and hidden states, fp32 memory. */
static const cost_model big = {.n_layer = 32,
                               .n_row = 1152,
                               .cell_flops = 5.2e11,
                               .x_bytes = 1152 * 4096 * 2.0,
                               .state_bytes = 384 * 4097 * 4.0,
                               .layer_bytes = 4.4e8,
                               .ends_bytes = 2.1e9};

static plan_job
on_128(const cost_cluster *c)
{
    return (plan_job){.model = &big,
                      .cluster = c,
                      .n_rank = 128,
                      .n_doc = 128,
                      .n_stream = 1,
                      .n_seg = 256};
}

static plan_job
on_two(const cost_model *m, const cost_cluster *c)
{
    return (plan_job){.model = m,
                      .cluster = c,
                      .n_rank = 2,
                      .n_doc = 1,
                      .n_stream = 1,
                      .n_seg = 100};
}

/* Enough documents: a world a rank, no bytes, and the ramp alone is lost. */
static void
many_documents_take_replicas(void **state)
{
    cost_cluster c = {0};
    plan p = {0};
    (void)state;
    EXPECT_OK(cost_cluster_preset(&c, "128xh200"));
    plan_job job = on_128(&c);
    EXPECT_OK(plan_auto(&p, &job));
    assert_int_equal(p.n_rank, 1);
    assert_int_equal(p.n_world, 128);
    assert_true(p.fits && p.result.efficiency >= 0.85);
    c.inner.bytes_per_s /= 2;
    c.outer.bytes_per_s /= 2;
    EXPECT_OK(plan_auto(&p, &job));
    assert_true(p.result.efficiency >= 0.85);
}

/* One document keeps at most min(n, L) ranks busy, however many there are. */
static void
one_document_fills_few(void **state)
{
    cost_cluster c = {0};
    plan one = {0}, p = {0};
    (void)state;
    EXPECT_OK(cost_cluster_preset(&c, "128xh200"));
    plan_job job = on_128(&c);
    job.n_doc = 1;
    EXPECT_OK(plan_try(&one, &job, PLACE_SEGMENTS, 1));
    EXPECT_OK(plan_auto(&p, &job));
    assert_true(p.result.seconds < one.result.seconds / 4);
    assert_true(p.result.busy <= 32.0 / 128);
}

/* A model that no rank holds alone is cut by layers; one that no number of
 * ranks holds is refused. */
static void
memory_decides(void **state)
{
    cost_cluster c = {0};
    plan p = {0};
    (void)state;
    EXPECT_OK(cost_cluster_preset(&c, "8xh200"));
    plan_job job = on_128(&c);
    job.n_rank = 8;
    c.rank.memory = 10e9;
    EXPECT_OK(plan_auto(&p, &job));
    assert_int_equal(p.placement, PLACE_LAYERS);
    assert_true(p.n_rank >= 2 && p.fits);
    EXPECT_ST(plan_best(&p, &job, PLACE_SEGMENTS), ST_LIMIT);
    c.rank.memory = 1e9;
    p.n_world = 77;
    EXPECT_ST(plan_auto(&p, &job), ST_LIMIT);
    assert_int_equal(p.n_world, 77);
    EXPECT_ST(plan_try(&p, &job, PLACE_LAYERS, 3), ST_ARG);
    /* One rank has no room: the sentence says how many have. */
    job.n_rank = 1;
    c.rank.memory = 10e9;
    EXPECT_ST(plan_auto(&p, &job), ST_LIMIT);
    assert_non_null(strstr(status_text(), "2 ranks with layers would do"));
    c.rank.memory = 1e8;
    EXPECT_ST(plan_auto(&p, &job), ST_LIMIT);
    assert_non_null(strstr(status_text(), "no number of ranks would do"));
}

/* Replicas: the sentence is of the ranks of one. */
static void
a_refusal_counts_its_ranks(void **state)
{
    cost_cluster c = {0};
    plan p = {0};
    (void)state;
    EXPECT_OK(cost_cluster_preset(&c, "8xh200"));
    c.rank.memory = 5e9;
    plan_job job = on_128(&c);
    job.n_rank = 8;
    EXPECT_OK(plan_try(&p, &job, PLACE_LAYERS, 2));
    assert_true(!p.fits);
    EXPECT_ST(plan_refuse(&job, &p), ST_LIMIT);
    assert_non_null(strstr(status_text(), "on 2 ranks in each of 4 replicas,"));
    EXPECT_OK(plan_try(&p, &job, PLACE_LAYERS, 8));
    EXPECT_ST(plan_refuse(&job, &p), ST_LIMIT);
    assert_non_null(strstr(status_text(), "on 8 ranks, "));
}

/* What a plan costs: worlds of 1, 2 and 4 ranks have 1, 2 and 3 of three
 * documents; with a cap, half of it and all of it are simulated. */
static void
cells_are_counted(void **state)
{
    cost_cluster c = {0};
    (void)state;
    EXPECT_OK(cost_cluster_preset(&c, "8xh200"));
    plan_job job = on_128(&c);
    job.n_rank = 4;
    job.n_doc = 3;
    job.n_seg = 40;
    double n = plan_cells(&job, PLACE_LAYERS);
    assert_true(fabs(n - (1 + 2 + 3) * 40 * 32) < 1e-6);
    job.cap_seg = 10;
    n = plan_cells(&job, PLACE_LAYERS);
    assert_true(fabs(n - (1 + 2 + 3) * 15 * 32) < 1e-6);
    /* Of a document of one segment one rank alone has work. */
    job.n_seg = 1;
    n = plan_cells(&job, PLACE_SEGMENTS);
    assert_true(fabs(n - 32) < 1e-6);
}

/* auto is never slower than either placement. */
static void
auto_is_the_better_one(void **state)
{
    static const double bytes_per_s[] = {1e6, 1e8, 1e10};
    cost_cluster c = {0};
    (void)state;
    EXPECT_OK(cost_cluster_preset(&c, "8xh200"));
    for (size_t i = 0; i < 3; i++)
        for (uint32_t n_doc = 1; n_doc <= 4; n_doc++) {
            plan a = {0}, b[2] = {0};
            plan_job job = on_128(&c);
            job.n_rank = 4;
            job.n_doc = n_doc;
            job.n_seg = 40;
            c.inner.bytes_per_s = bytes_per_s[i];
            EXPECT_OK(plan_auto(&a, &job));
            EXPECT_OK(plan_best(&b[0], &job, PLACE_LAYERS));
            EXPECT_OK(plan_best(&b[1], &job, PLACE_SEGMENTS));
            assert_true(a.result.seconds <=
                        fmin(b[0].result.seconds, b[1].result.seconds));
        }
}

/* A long document is the straight line behind the cap. */
static void
a_cap_changes_little(void **state)
{
    cost_cluster c = {0};
    (void)state;
    EXPECT_OK(cost_cluster_preset(&c, "8xh200"));
    for (uint32_t kind = 0; kind < 2; kind++) {
        plan all = {0}, capped = {0};
        plan_job job = on_128(&c);
        job.n_rank = 4;
        job.n_doc = 1;
        job.n_seg = 3000;
        EXPECT_OK(plan_try(&all, &job, (place_kind)kind, 4));
        job.cap_seg = 256;
        EXPECT_OK(plan_try(&capped, &job, (place_kind)kind, 4));
        const simulate_result *a = &all.result, *b = &capped.result;
        assert_true(fabs(b->seconds / a->seconds - 1) < 0.03);
        assert_true(fabs(b->bytes / a->bytes - 1) < 1e-9);
        assert_true(fabs(b->efficiency / a->efficiency - 1) < 0.03);
        assert_int_equal(b->n_cell, a->n_cell);
    }
}

/* Ranks that were measured one by one: the slow one has fewer layers, and the
 * plan is sooner than with an even division. */
static void
unequal_ranks_have_unequal_shares(void **state)
{
    const cost_rank ranks[2] = {{1e12, 100, 0, 1e12, 0, false},
                                {3e12, 100, 0, 1e12, 0, false}};
    const cost_link links[2] = {{.latency_s = 1e-6, .bytes_per_s = 1e10},
                                {.latency_s = 1e-6, .bytes_per_s = 1e10}};
    const cost_cluster c = {.name = "test",
                            .n_rank = 2,
                            .n_rank_node = 2,
                            .rank = ranks[0],
                            .ranks = ranks,
                            .links = links};
    plan p = {0};
    uint32_t ends[2];
    plan_job job = on_two(&big, &c);
    (void)state;
    EXPECT_OK(plan_divide(ends, &job, 2));
    assert_int_equal(ends[0], 8);
    assert_int_equal(ends[1], 32);
    EXPECT_OK(plan_auto(&p, &job));
    assert_int_equal(p.placement, PLACE_LAYERS);
    assert_true(p.result.efficiency > 0.8 && p.result.efficiency <= 1);
}

/* A reading needs less of the last layer: its rank takes layers for it, but not
 * where the device computes all of it nevertheless. */
static void
the_last_layer_is_less(void **state)
{
    cost_cluster c = {.name = "test",
                      .n_rank = 2,
                      .n_rank_node = 2,
                      .rank = {.flops = 1e12, .memory = 1e12, .n_cell = 1},
                      .inner = {.bytes_per_s = 1e12},
                      .outer = {.bytes_per_s = 1e12}};
    cost_model m = big;
    plan p = {0};
    uint32_t ends[2];
    plan_job job = on_two(&m, &c);
    (void)state;
    m.n_layer = 7;
    m.last_flops = m.cell_flops / 4;
    EXPECT_OK(plan_divide(ends, &job, 2));
    assert_int_equal(ends[0], 3);
    EXPECT_OK(plan_try(&p, &job, PLACE_SEGMENTS, 1));
    double all = 100 * 6.25 * m.cell_flops / 1e12;
    assert_true(fabs(p.result.seconds / all - 1) < 1e-9);
    assert_true(fabs(p.result.efficiency - 0.5) < 1e-9);
    c.rank.all_rows = true;
    EXPECT_OK(plan_divide(ends, &job, 2));
    assert_int_equal(ends[0], 4);
    EXPECT_OK(plan_try(&p, &job, PLACE_SEGMENTS, 1));
    assert_true(fabs(p.result.seconds / all - 7 / 6.25) < 1e-9);
    assert_true(fabs(p.result.efficiency - 0.5 * 6.25 / 7) < 1e-9);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_documents_take_replicas),
        cmocka_unit_test(one_document_fills_few),
        cmocka_unit_test(memory_decides),
        cmocka_unit_test(a_refusal_counts_its_ranks),
        cmocka_unit_test(cells_are_counted),
        cmocka_unit_test(auto_is_the_better_one),
        cmocka_unit_test(a_cap_changes_little),
        cmocka_unit_test(unequal_ranks_have_unequal_shares),
        cmocka_unit_test(the_last_layer_is_less),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
