/* SPDX-License-Identifier: Apache-2.0 */
/* Steps of waiting: they grow, stay under their limit, and start anew. */
#include "worker/idle.h"

#include "tests/expect.h"

static void
test_far(void **ctx)
{
    idle i = {0};
    uint32_t last = 0;
    uint64_t sum = 0;
    int n = 0;
    (void)ctx;
    for (; last < 1500; n++) {
        uint32_t us = idle_next(&i, false);
        assert_true(us > last && us <= 1500);
        last = us;
        sum += us;
        assert_true(n < 100);
    }
    /* Soon there: what has just become idle still answers quickly. */
    assert_true(sum < 20000);
    assert_int_equal(idle_next(&i, false), 1500);
    idle_reset(&i);
    assert_int_equal(idle_next(&i, false), 50);
}

static void
test_near(void **ctx)
{
    idle i = {0};
    int n_yield = 0;
    (void)ctx;
    while (idle_next(&i, true) == 0)
        assert_true(n_yield++ < 100);
    assert_true(n_yield > 0);
    for (int n = 0; n < 100; n++) {
        uint32_t us = idle_next(&i, true);
        assert_true(us > 0 && us <= 200);
    }
    /* The stream has ended: the steps grow further. */
    assert_true(idle_next(&i, false) > 200);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_far),
        cmocka_unit_test(test_near),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
