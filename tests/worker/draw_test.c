/* SPDX-License-Identifier: Apache-2.0 */
/* Random numbers of sampling: fixed for all time, and evenly spread. */
#include "worker/draw.h"

#include "tests/expect.h"

/* Answers of earlier builds must be drawn again: these may never change. */
static void
test_is_fixed(void **state)
{
    (void)state;
    assert_true(draw_uniform(0, 0) == 10946269 * 0x1p-24f);
    assert_true(draw_uniform(1, 0) == 6177195 * 0x1p-24f);
    assert_true(draw_uniform(UINT64_MAX, UINT64_MAX) == 5330406 * 0x1p-24f);
}

static void
test_is_spread(void **state)
{
    enum { N_BIN = 16, N_DRAW = 16000 };
    uint32_t bin[N_BIN] = {0};
    (void)state;
    for (uint64_t i = 0; i < N_DRAW; i++) {
        float u = draw_uniform(i % 4, i / 4);
        assert_true(u >= 0 && u < 1);
        bin[(uint32_t)(u * N_BIN)]++;
    }
    for (uint32_t i = 0; i < N_BIN; i++)
        assert_in_range(bin[i], 850, 1150);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_is_fixed),
        cmocka_unit_test(test_is_spread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
