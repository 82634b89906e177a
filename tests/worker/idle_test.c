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
        uint32_t us = idle_next(&i, false, (uint64_t)n + 1);
        assert_true(us > last && us <= 1500);
        last = us;
        sum += us;
        assert_true(n < 100);
    }
    /* Soon there: what has just become idle still answers quickly. */
    assert_true(sum < 20000);
    assert_int_equal(idle_next(&i, false, 99), 1500);
    idle_reset(&i);
    assert_int_equal(idle_next(&i, false, 100), 50);
}

static void
test_near(void **ctx)
{
    idle i = {0};
    uint64_t start = 1000000000, us = 1000;
    (void)ctx;
    for (uint64_t spun = 0; spun < 100; spun += 9)
        assert_int_equal(idle_next(&i, true, start + spun * us), 0);
    for (uint64_t n = 0; n < 100; n++) {
        uint32_t step = idle_next(&i, true, start + (100 + 50 * n) * us);
        assert_true(step >= 50 && step <= 200);
        assert_true(n > 0 || step == 50);
    }
    assert_true(idle_next(&i, false, start + 9000 * us) > 200);
    idle_reset(&i); /* the stream has work again */
    assert_int_equal(idle_next(&i, true, start + 10000 * us), 0);
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
