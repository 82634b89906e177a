/* SPDX-License-Identifier: Apache-2.0 */
/* kernel_sample(): greedy and its ties, the sets of top-k and top-p, and the
 * distribution that the uniform number goes through. */
#include <math.h>

#include "tests/kernels/rig.h"

enum { VOCAB = 12 };

typedef struct drawer {
    rig r;
    rig_tensor logits, ids;
    kernel_cell cell;
} drawer;

static void
drawer_init(drawer *d, const rig_way *way, const float *logits)
{
    rig_open(&d->r, way);
    d->cell = (kernel_cell){.slot = 2, .n_row = 3};
    d->r.cells = &d->cell;
    d->r.n_cell = 1;
    rig_tensor_init(&d->logits, &d->r, KERNEL_BY_CELL, 3, VOCAB, 1);
    rig_tensor_init(&d->ids, &d->r, KERNEL_BY_SLOT, 1, 4, 1);
    d->ids.view.type = KERNEL_I32;
    for (size_t i = 0; i < VOCAB; i++)
        d->logits.host[rig_at(&d->logits, 0, 2, i)] = logits[i];
    rig_upload(&d->logits, &d->r);
}

static void
drawer_fini(drawer *d)
{
    rig_tensor_fini(&d->logits);
    rig_tensor_fini(&d->ids);
    rig_close(&d->r);
}

static int32_t
draw(drawer *d, const kernel_sample_args *args)
{
    int32_t id = -1;

    rig_begin(&d->r);
    EXPECT_OK(
        kernel_sample(d->r.q, &(kernel_sample_op){.ids = d->ids.view,
                                                  .logits = d->logits.view,
                                                  .n_vocab = VOCAB,
                                                  .args = args}));
    EXPECT_OK(kernel_end(d->r.q));
    EXPECT_OK(kernel_copy_out(d->r.q, &id, d->ids.view.buf,
                              rig_at(&d->ids, 2, 0, 0) * sizeof(id),
                              sizeof(id)));
    EXPECT_OK(kernel_sync(d->r.q));
    assert_true(id >= 0 && id < VOCAB);
    return id;
}

/* How often each id comes when `uniform` walks over [0, 1). */
static void
histogram(drawer *d, kernel_sample_args args, double share[VOCAB])
{
    enum { N_DRAW = 1000 };

    for (size_t i = 0; i < VOCAB; i++)
        share[i] = 0.0;
    for (int i = 0; i < N_DRAW; i++) {
        args.uniform = ((float)i + 0.5F) / N_DRAW;
        share[draw(d, &args)] += 1.0 / N_DRAW;
    }
}

/* Two at the top, four in the middle that are equal, the rest far below. */
static const float logits[VOCAB] = {-20, 1, 0, 3, 0, -20, 2, 0, 3, 0, -20, -20};

static void
greedy_takes_the_lowest_id_of_the_best(void **state)
{
    const kernel_sample_args args = {.temperature = 0, .top_p = 1};
    drawer d;

    (void)state;
    for (size_t way = 0; way < RIG_N_WAY; way++) {
        if (!rig_has(&rig_ways[way]))
            continue;
        drawer_init(&d, &rig_ways[way], logits);
        assert_int_equal(draw(&d, &args), 3);
        drawer_fini(&d);
    }
}

static void
assert_shares(const double share[VOCAB], const size_t *ids, size_t n,
              double temperature)
{
    double sum = 0.0, want[VOCAB] = {0};

    for (size_t i = 0; i < n; i++)
        sum += want[ids[i]] = exp((double)logits[ids[i]] / temperature);
    for (size_t i = 0; i < VOCAB; i++)
        if (fabs(share[i] - want[i] / sum) > 0.0021)
            fail_msg("id %zu has a share of %g, expected %g", i, share[i],
                     want[i] / sum);
}

static void
all_tokens_follow_the_softmax(void **state)
{
    static const size_t ids[] = {1, 2, 3, 4, 6, 7, 8, 9};
    double share[VOCAB];
    drawer d;

    (void)state;
    drawer_init(&d, &rig_ways[0], logits);
    histogram(&d, (kernel_sample_args){.temperature = 1, .top_p = 1}, share);
    assert_shares(share, ids, 8, 1.0);
    histogram(&d, (kernel_sample_args){.temperature = 2.5F, .top_p = 1}, share);
    assert_true(share[0] > 0.0 || share[0] < 0.001);
    assert_shares(share, ids, 8, 2.5);
    drawer_fini(&d);
}

static void
top_k_keeps_k(void **state)
{
    static const size_t ids[] = {3, 8, 6, 1, 2, 4}; /* of equals, low ids */
    double share[VOCAB];
    drawer d;

    (void)state;
    drawer_init(&d, &rig_ways[0], logits);
    for (uint32_t k = 1; k <= 6; k++) {
        histogram(
            &d, (kernel_sample_args){.temperature = 1, .top_p = 1, .top_k = k},
            share);
        assert_shares(share, ids, k, 1.0);
    }
    histogram(&d,
              (kernel_sample_args){.temperature = 1, .top_p = 1, .top_k = 99},
              share);
    assert_true(share[9] > 0.0);
    drawer_fini(&d);
}

/* Weights of the sorted tokens are e^3, e^3, e^2, e, 1, 1, 1, 1. */
static void
top_p_keeps_the_fewest_that_reach_p(void **state)
{
    static const size_t ids[] = {3, 8, 6, 1, 2, 4, 7, 9};
    const double e = exp(1.0);
    const double weight[] = {e * e * e, e * e * e, e * e, e, 1, 1, 1, 1};
    double total = 0.0, sum = 0.0, share[VOCAB];
    drawer d;

    (void)state;
    for (size_t i = 0; i < 8; i++)
        total += weight[i];
    drawer_init(&d, &rig_ways[1], logits);
    for (size_t n = 1; n <= 7; n++) {
        float p = (float)((sum + weight[n - 1] / 2) / total);

        sum += weight[n - 1];
        histogram(&d, (kernel_sample_args){.temperature = 1, .top_p = p},
                  share);
        assert_shares(share, ids, n, 1.0);
    }
    drawer_fini(&d);
}

/* top-p counts within what top-k left; a tiny p leaves the best token. */
static void
top_k_then_top_p(void **state)
{
    static const size_t both[] = {3, 8}, best[] = {3};
    kernel_sample_args args = {.temperature = 1, .top_p = 0.8F, .top_k = 3};
    double share[VOCAB];
    drawer d;

    (void)state;
    drawer_init(&d, &rig_ways[0], logits);
    histogram(&d, args, share); /* 2 e^3 / (2 e^3 + e^2) = 0.84 */
    assert_shares(share, both, 2, 1.0);
    args.top_p = 1e-6F;
    histogram(&d, args, share);
    assert_shares(share, best, 1, 1.0);
    args.top_p = 0.999F;
    args.top_k = 1;
    histogram(&d, args, share);
    assert_shares(share, best, 1, 1.0);
    drawer_fini(&d);
}

/* Those at least p times as likely as the best: e^-1 is 0.37, e^-2 0.14. */
static void
min_p_drops_the_unlikely(void **state)
{
    static const size_t ids[] = {3, 8, 6, 1};
    kernel_sample_args args = {.temperature = 1, .top_p = 1, .min_p = 1};
    double share[VOCAB];
    drawer d;

    (void)state;
    drawer_init(&d, &rig_ways[0], logits);
    histogram(&d, args, share);
    assert_shares(share, ids, 2, 1.0);
    args.min_p = 0.3F;
    histogram(&d, args, share);
    assert_shares(share, ids, 3, 1.0);
    args.min_p = 0.1F;
    histogram(&d, args, share);
    assert_shares(share, ids, 4, 1.0);
    args.top_k = 1; /* a set that is smaller already stays so */
    histogram(&d, args, share);
    assert_shares(share, ids, 1, 1.0);
    drawer_fini(&d);
}

/* Whatever the logits, an id of the vocabulary comes out. */
static void
bad_logits_give_some_token(void **state)
{
    static const float bad[][VOCAB] = {
        {NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN},
        {INFINITY, 1, INFINITY, NAN, -INFINITY, 0, 0, 0, 0, 0, 0, 0},
        {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
        {-INFINITY, -INFINITY, -INFINITY, -INFINITY, -INFINITY, -INFINITY,
         -INFINITY, -INFINITY, -INFINITY, -INFINITY, -INFINITY, -INFINITY},
    };
    drawer d;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        drawer_init(&d, &rig_ways[0], bad[i]);
        for (uint32_t k = 0; k < 4; k++)
            (void)draw(&d, &(kernel_sample_args){.temperature = 0.7F,
                                                 .top_p = k < 2 ? 0.5F : 1.0F,
                                                 .top_k = k,
                                                 .uniform = 0.999F});
        drawer_fini(&d);
    }
}

static void
count_call(void *ctx)
{
    ++*(uint32_t *)ctx;
}

/* A border takes a pass for each bit of a float, between which the hook is
 * called: of all the tokens of a large model a pass takes a millisecond. */
static void
hook_is_called_between_passes(void **state)
{
    const kernel_sample_args top_k = {.temperature = 1, .top_p = 1, .top_k = 6};
    const kernel_sample_args top_p = {.temperature = 1, .top_p = 0.5F};
    uint32_t n_call = 0;
    drawer d;

    (void)state;
    drawer_init(&d, &rig_ways[0], logits);
    kernel_queue_hook(d.r.q, count_call, &n_call);
    (void)draw(&d, &top_k);
    assert_true(n_call > 31);
    n_call = 0;
    (void)draw(&d, &top_p);
    assert_true(n_call > 23); /* the bits below an exponent's are all tried */
    kernel_queue_hook(d.r.q, NULL, NULL);
    drawer_fini(&d);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greedy_takes_the_lowest_id_of_the_best),
        cmocka_unit_test(all_tokens_follow_the_softmax),
        cmocka_unit_test(top_k_keeps_k),
        cmocka_unit_test(top_p_keeps_the_fewest_that_reach_p),
        cmocka_unit_test(top_k_then_top_p),
        cmocka_unit_test(min_p_drops_the_unlikely),
        cmocka_unit_test(bad_logits_give_some_token),
        cmocka_unit_test(hook_is_called_between_passes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
