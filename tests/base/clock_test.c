/* SPDX-License-Identifier: Apache-2.0 */
/* The clocks move forward and agree about what a second is. */
#include "base/clock.h"

#include "tests/expect.h"

static void
the_clock_never_goes_back(void **unused)
{
    uint64_t last = clock_ns();

    (void)unused;
    for (int i = 0; i < 1000; i++) {
        uint64_t now = clock_ns();
        assert_true(now >= last);
        last = now;
    }
}

static void
both_forms_read_one_clock(void **unused)
{
    double before = (double)clock_ns() * 1e-9;
    double between = clock_seconds();
    double after = (double)clock_ns() * 1e-9;

    (void)unused;
    assert_true(before <= between && between <= after);
}

static void
sleeping_takes_at_least_its_time(void **unused)
{
    uint64_t start = clock_ns();

    (void)unused;
    clock_sleep_us(2000);
    assert_true(clock_ns() - start >= 2000000);
}

static void
people_read_milliseconds_since_1970(void **unused)
{
    int64_t now = clock_wall_ms();

    (void)unused;
    assert_true(now > INT64_C(1700000000000)); /* 2023 */
    assert_true(now < INT64_C(7258118400000)); /* 2200 */
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_clock_never_goes_back),
        cmocka_unit_test(both_forms_read_one_clock),
        cmocka_unit_test(sleeping_takes_at_least_its_time),
        cmocka_unit_test(people_read_milliseconds_since_1970),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
