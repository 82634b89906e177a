/* SPDX-License-Identifier: Apache-2.0 */
/* Strict UTF-8: every character there is, and every way to be wrong. */
#include "proto/wiretext.h"

#include <string.h>

#include "base/mem.h"
#include "tests/expect.h"

/* The encoding of a code point; its length. */
static size_t
encode(char out[4], uint32_t c)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xC0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3F));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xE0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3F));
        out[2] = (char)(0x80 | (c & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3F));
    out[2] = (char)(0x80 | (c >> 6 & 0x3F));
    out[3] = (char)(0x80 | (c & 0x3F));
    return 4;
}

static void
every_code_point_is_known(void **state)
{
    char text[4];

    (void)state;
    for (uint32_t c = 0; c < 0x120000; c++) {
        size_t n = encode(text, c);
        bool good = c > 0 && c < 0x110000 && !(c >= 0xD800 && c < 0xE000);

        if (wiretext_is_utf8(text, n) != good)
            fail_msg("U+%04X", c);
        for (size_t cut = 1; cut < n; cut++)
            assert_false(wiretext_is_utf8(text, cut));
    }
    assert_true(wiretext_is_utf8("", 0));
}

static void
other_forms_are_refused(void **state)
{
    static const char *const bad[] = {
        "\xC0\x80",         "\xC1\xBF",      "\xE0\x9F\xBF", "\xF0\x8F\xBF\xBF",
        "\xF8\x88\x80\x80", "\xFE",          "\x80",         "\xC3\xC3",
        "\xE2\x82\x2C",     "\xF0\x9F\x98x", "ok\xFF"};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        if (wiretext_is_utf8(bad[i], strlen(bad[i])))
            fail_msg("number %zu", i);
    assert_false(wiretext_is_utf8("a\0b", 3));
}

static void
controls_are_seen(void **state)
{
    char text[5] = "";

    (void)state;
    for (uint32_t c = 1; c < 0x3000; c++) {
        bool control = c < 0x20 || (c >= 0x7F && c < 0xA0);

        memset(text, 0, sizeof(text));
        (void)encode(text, c);
        assert_int_equal(wiretext_is_printable(text), !control);
    }
}

static void
sentences_are_cleaned(void **state)
{
    static const char *const pair[][2] = {{"fine \xC3\xA9", "fine \xC3\xA9"},
                                          {"a\nb\x1B[1m\x7F", "a b [1m "},
                                          {"\xC2\x9B.", "  ."},
                                          {"\xE2\x82", "??"},
                                          {"\xED\xA0\x80.", "???."},
                                          {"", ""},
                                          {NULL, ""}};
    char *out;

    (void)state;
    for (size_t i = 0; i < sizeof(pair) / sizeof(*pair); i++) {
        EXPECT_OK(wiretext_sentence(&out, pair[i][0]));
        assert_string_equal(out, pair[i][1]);
        assert_true(wiretext_is_printable(out));
        mem_free(out);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_point_is_known),
        cmocka_unit_test(other_forms_are_refused),
        cmocka_unit_test(controls_are_seen),
        cmocka_unit_test(sentences_are_cleaned),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
