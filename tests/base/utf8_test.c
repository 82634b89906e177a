/* SPDX-License-Identifier: Apache-2.0 */
/* Characters, their values, bad beginnings and cut-off ends. */
#include "base/utf8.h"

#include <string.h>

#include "tests/expect.h"

static void
borders(void **state)
{
    static const char text[] = "long enough for the fast path \u00e4\u4e2d"
                               "\U0001f600 and so on, and so on";
    static const size_t start[] = {0, 30, 32, 35, 39};

    (void)state;
    EXPECT_OK(utf8_check(text, strlen(text)));
    EXPECT_OK(utf8_check("", 0));
    EXPECT_OK(utf8_check("a\0b", 3));
    EXPECT_OK(utf8_check("\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf", 10));
    for (size_t i = 1; i < sizeof(start) / sizeof(start[0]); i++)
        for (size_t at = start[i - 1] + (i > 1); at < start[i]; at++)
            assert_int_equal(utf8_tail(text, at),
                             i > 1 ? at - start[i - 1] : 0);
    assert_int_equal(utf8_tail("", 0), 0);
    assert_int_equal(utf8_tail("\x80\x80\x80\x80", 4), 0);
    assert_int_equal(utf8_tail("\xf0\x9f\x98", 3), 3);
    assert_int_equal(utf8_tail("a\xff", 2), 0);
    assert_int_equal(utf8_tail("\xe0\x80", 2), 0);
}

static void
one_step(void **state)
{
    static const struct {
        const char *text;
        utf8_kind kind;
        size_t n;
        uint32_t value;
    } cases[] = {
        {"a", UTF8_GOOD, 1, 'a'},
        {"\u00e4z", UTF8_GOOD, 2, 0xe4},
        {"\u4e2dz", UTF8_GOOD, 3, 0x4e2d},
        {"\U0001f600z", UTF8_GOOD, 4, 0x1f600},
        {"\xf0\x9f\x98", UTF8_SHORT, 3, 0},
        {"\xf0\x9f\x98z", UTF8_BAD, 3, 0},
        {"\xe0\x80\x80", UTF8_BAD, 1, 0},
        {"\xed\xa0\x80", UTF8_BAD, 1, 0},
        {"\xc0\xaf", UTF8_BAD, 1, 0},
        {"\x80", UTF8_BAD, 1, 0},
        {"\xff", UTF8_BAD, 1, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *text = cases[i].text;
        size_t n;

        if (utf8_next(text, strlen(text), &n) != cases[i].kind ||
            n != cases[i].n)
            fail_msg("case %zu", i);
        if (cases[i].kind == UTF8_GOOD)
            assert_int_equal(utf8_value(text, n), cases[i].value);
    }
}

static void
the_first_bad_byte_is_named(void **state)
{
    static const char *const texts[] = {"ab\xff", "ab\x80", "ab\xc3",
                                        "ab\xe4\xb8"};

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        EXPECT_ST(utf8_check(texts[i], strlen(texts[i])), ST_ARG);
        assert_non_null(strstr(status_text(), "byte 2"));
    }
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(borders),
        cmocka_unit_test(one_step),
        cmocka_unit_test(the_first_bad_byte_is_named),
    };

    return cmocka_run_group_tests_name("utf8", tests, NULL, NULL);
}
