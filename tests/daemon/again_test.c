/* SPDX-License-Identifier: Apache-2.0 */
/* What is tried again, and when that ends. */
#include "daemon/again.h"
#include "tests/expect.h"

static void
only_shortages_are_tried_again(void **state)
{
    again a = {0};

    (void)state;
    assert_false(again_after(&a, ST_IO));
    assert_false(again_after(&a, ST_OK));
    assert_false(again_waits(&a));
    assert_false(again_is_due(&a));
    assert_true(again_after(&a, ST_NOMEM));
    assert_true(again_waits(&a));
    a.due_ns = 1; /* long ago */
    assert_true(again_is_due(&a));
    assert_false(again_is_due(&a));
    assert_false(again_waits(&a));
}

static void
it_ends(void **state)
{
    again a = {0};
    unsigned n = 0;

    (void)state;
    while (again_after(&a, ST_NOMEM))
        n++;
    assert_int_equal(n, 100);
    assert_false(again_waits(&a));
    /* In between it went well: that counts from the start. */
    for (unsigned i = 0; i < 99; i++)
        assert_true(again_after(&a, ST_NOMEM));
    assert_false(again_after(&a, ST_OK));
    for (n = 0; again_after(&a, ST_NOMEM);)
        n++;
    assert_int_equal(n, 100);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_shortages_are_tried_again),
        cmocka_unit_test(it_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
