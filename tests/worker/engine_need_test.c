/* SPDX-License-Identifier: Apache-2.0 */
/* What an engine needs of a device's memory, before it is there. */
#include <stdlib.h>
#include <string.h>

#include "tests/worker/engine_rig.h"

/* What is counted before is what is there afterwards. */
static void
test_needs_are_counted(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < RIG_N_VARIANT; i++) {
        model_config shape = rig_variant(i);
        engine_need need;
        rig r;

        const rig_config on = engine_rig_config(&shape, 2);
        rig_open(&r, &on);
        const weights_part *part = model_part_of(engine_model(r.e));
        const engine_config *cfg = engine_config_of(r.e);
        size_t scratch = model_scratch_bytes(engine_model(r.e));
        bool each = strcmp(engine_rig.device[0], "cuda") == 0;
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

static int
run(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_needs_are_counted),
        cmocka_unit_test(test_what_would_fit_is_said),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

int
main(void)
{
    return engine_rig_everywhere(run);
}
