/* SPDX-License-Identifier: Apache-2.0 */
/* Models that are known by name, and what a cell of one costs. */

#include "tests/expect.h"
#include "tests/model/config_rig.h"

static void
presets(void **state)
{
    model_config cfg;

    (void)state;
    EXPECT_OK(config_preset(&cfg, "s512"));
    assert_true(cfg.d_model == 512 && cfg.n_layer == 8 && cfg.d_ffn == 1408);
    assert_true(cfg.n_head == 8 && cfg.n_kv_head == 8 && cfg.d_head == 64);
    assert_true(cfg.segment_size == 1024 && cfg.n_mem == 128);
    EXPECT_OK(config_preset(&cfg, "armt-llama-1b"));
    EXPECT_OK(config_preset(&cfg, "armt-llama-3b"));
    EXPECT_OK(config_preset(&cfg, "armt-llama-8b"));
    config_rig_expect(config_preset(&cfg, "huge"), ST_NOTFOUND,
                      "armt-llama-160m");
}

/* A model small enough to count by hand, no two of whose widths are alike. */
static void
cell_flops(void **state)
{
    model_config cfg = {.n_layer = 1,
                        .d_model = 3,
                        .n_head = 1,
                        .n_kv_head = 1,
                        .d_head = 5,
                        .d_ffn = 7,
                        .n_mem_head = 1,
                        .d_mem = 2};
    /* Keys, values and queries of 5, features of 12, keys seen 1 + 2 + 3. */
    double block = 3 * (2 * 3 * 3 * 5 + 2 * 5 * 3 + 6 * 3 * 7) + 4 * 5 * 6;
    double read = 3 * (2 * 3 * 2 + 2 * 12 * 3 + 2 * 12);
    double write = 2 * 3 * 2 + 2 * 3 * 3 + 2 * 3 + 4 * 12 * 3 + 4 * 12;

    (void)state;
    config_cell cell = {.n_row = 3, .fresh = true};
    assert_true(config_cell_flops(&cfg, &cell) == block);
    cell.fresh = false;
    assert_true(config_cell_flops(&cfg, &cell) == block + read);
    cell.n_mem = 1;
    assert_true(config_cell_flops(&cfg, &cell) == block + read + write);
    /* Two rows without the output, the MLP and 1 + 2 keys. */
    cell.n_skip = 2;
    assert_true(config_cell_flops(&cfg, &cell) ==
                block + read + write - 2 * (2 * 5 * 3 + 6 * 3 * 7) - 4 * 5 * 3);
    cell.n_skip = 0;
    cell.bare = true;
    assert_true(config_cell_flops(&cfg, &cell) == block);

    /* 2 tokens see 5 and 4 keys of a window, the memory token all 5. */
    cell.n_window = 5;
    assert_true(config_cell_flops(&cfg, &cell) == block + 4 * 5 * (9 + 5));
    /* Behind 4 rows with a span of 6: 5, 6 and 6 keys instead of 1, 2, 3. */
    cell = (config_cell){.n_row = 3, .n_past = 4, .fresh = true};
    cfg.span = 6;
    assert_true(config_cell_flops(&cfg, &cell) == block + 4 * 5 * (17 - 6));
}
int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(presets),
        cmocka_unit_test(cell_flops),
    };

    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
