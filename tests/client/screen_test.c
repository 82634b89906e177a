/* SPDX-License-Identifier: Apache-2.0 */
/* How numbers look. */
#include "client/screen.h"

#include <string.h>

#include "tests/expect.h"

static void
numbers_are_readable(void **state)
{
    char out[SCREEN_NUMBER];

    (void)state;
    assert_string_equal(screen_count(out, 0), "0");
    assert_string_equal(screen_count(out, 999), "999");
    assert_string_equal(screen_count(out, 1000), "1,000");
    assert_string_equal(screen_count(out, UINT64_MAX),
                        "18,446,744,073,709,551,615");
    assert_string_equal(screen_bytes(out, 1023), "1023 B");
    assert_string_equal(screen_bytes(out, 1536), "1.5 KiB");
    assert_string_equal(screen_bytes(out, 48 << 20), "48.0 MiB");
    assert_string_equal(screen_bytes(out, UINT64_MAX), "16777216.0 TiB");
    assert_string_equal(screen_duration(out, 4.25), "4.2 s");
    assert_string_equal(screen_duration(out, 62), "1:02");
    assert_string_equal(screen_duration(out, 3 * 3600 + 65), "3:01:05");
    assert_string_equal(screen_duration(out, -1), "0.0 s");
    assert_int_equal(strlen(screen_moment(out, 0)), 16);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_readable),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
