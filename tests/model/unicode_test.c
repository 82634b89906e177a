/* SPDX-License-Identifier: Apache-2.0 */
/* Normal form C of every character, of pairs and of long rows of marks. */
#include "model/unicode.h"

#include <string.h>
#include <utf8proc.h>

#include "base/mem.h"
#include "tests/expect.h"

static size_t
put(char *out, uint32_t c)
{
    return (size_t)utf8proc_encode_char((utf8proc_int32_t)c,
                                        (utf8proc_uint8_t *)(void *)out);
}

static bool
is_character(uint32_t c)
{
    return c < 0x110000 && !(c >= 0xd800 && c < 0xe000);
}

/* The form is what utf8proc makes of the whole in its own, slower way; but not
 * where it loses U+11A7, which has a test of its own. */
static void
expect_form(unicode_scratch *s, bytes *out, const char *text, size_t len)
{
    utf8proc_uint8_t *expected;
    utf8proc_ssize_t n = utf8proc_map(
        (const utf8proc_uint8_t *)(const void *)text, (utf8proc_ssize_t)len,
        &expected, (utf8proc_option_t)(UTF8PROC_COMPOSE | UTF8PROC_STABLE));
    bool wrong = memmem(text, len, "\xe1\x86\xa7", 3) != NULL;

    assert_true(n >= 0);
    out->len = 0;
    EXPECT_OK(unicode_nfc(s, out, text, len));
    if (wrong)
        assert_true(out->len >= (size_t)n);
    else if (out->len != (size_t)n ||
             memcmp(out->data, expected, out->len) != 0)
        fail_msg("%.*s", (int)len, text);
    free(expected);
}

static void
every_character(void **state)
{
    static const uint32_t before[] = {'a',    'e',    0x1100, 0xac00, 0x304b,
                                      0x0b47, 0x0301, 0x0327, 0x1ec7, 0x4e00};
    unicode_scratch s = {0};
    bytes out = {0};

    (void)state;
    for (uint32_t c = 1; c < 0x110000; c++) {
        char text[16];

        if (!is_character(c))
            continue;
        for (size_t i = 0; i < sizeof(before) / sizeof(before[0]); i++) {
            size_t n = put(text, before[i]);

            expect_form(&s, &out, text, n + put(text + n, c));
            /* What the ASCII before needs is only asked of a few. */
            if (c > 0x3100 && (c & 0x1f) != 0)
                break;
        }
    }
    bytes_fini(&out);
    unicode_scratch_fini(&s);
}

/* Inert: the form of what is before it, and then it, whatever that is. */
static void
inert_characters(void **state)
{
    unicode_scratch s = {0};
    bytes out = {0};
    bytes alone = {0};

    (void)state;
    for (uint32_t c = 1; c < 0x20000; c++) {
        char text[8];
        size_t n;

        if (!is_character(c) || !unicode_is_inert(c))
            continue;
        assert_int_equal(utf8proc_get_property((int32_t)c)->combining_class, 0);
        n = put(text, c);
        alone.len = 0;
        EXPECT_OK(unicode_nfc(&s, &alone, text, n));
        if (alone.len != n || memcmp(alone.data, text, n) != 0)
            fail_msg("U+%04X is not its own form", c);
    }
    /* The second of a pair that composes, for all pairs that there are. */
    for (uint32_t c = 1; c < 0x110000; c++) {
        int32_t part[8];
        int boundary = 0;
        utf8proc_ssize_t n;

        if (!is_character(c))
            continue;
        n = utf8proc_decompose_char((int32_t)c, part, 8, UTF8PROC_DECOMPOSE,
                                    &boundary);
        for (utf8proc_ssize_t i = 1; i < n; i++)
            if (unicode_is_inert((uint32_t)part[i]))
                fail_msg("U+%04X joins what is before it", (unsigned)part[i]);
    }
    bytes_fini(&alone);
    bytes_fini(&out);
    unicode_scratch_fini(&s);
}

/* Marks of changing classes: more than the square of their number in steps
 * would not end in the test's time. */
static void
rows_of_marks(void **state)
{
    enum { N = 1 << 20 };
    static const uint32_t marks[] = {0x0301, 0x0327, 0x0323, 0x05b0, 0x0345};
    unicode_scratch s = {0};
    bytes out = {0};
    char *text = malloc(2 * N + 1);
    int last = 0;

    (void)state;
    assert_non_null(text);
    for (size_t n = 1; n < 200; n++) {
        size_t len = put(text, 'a');

        for (size_t i = 0; i < n; i++)
            len += put(text + len, marks[(i * 7 + n) % 5]);
        expect_form(&s, &out, text, len);
    }
    for (size_t i = 0; i < N; i++)
        (void)put(text + 2 * i, marks[i % 5]);
    out.len = 0;
    EXPECT_OK(unicode_nfc(&s, &out, text, 2 * N));
    assert_int_equal(out.len, 2 * N);
    for (size_t i = 0; i < N; i++) {
        uint32_t c = unicode_at(out.data, out.len, 2 * i);
        int class = utf8proc_get_property((int32_t)c)->combining_class;

        assert_true(class >= last);
        last = class;
    }
    free(text);
    bytes_fini(&out);
    unicode_scratch_fini(&s);
}

static void
properties(void **state)
{
    static const struct {
        uint32_t c;
        const char *is; /* l letter, n number, s space, w word */
    } cases[] = {{'a', "lw"},    {'5', "nw"},    {'_', "w"},     {' ', "s"},
                 {'-', ""},      {0xa0, "s"},    {0x85, "s"},    {0x180e, ""},
                 {0x200b, ""},   {0x200d, "w"},  {0xb2, "n"},    {0x2167, "nw"},
                 {0x0663, "nw"}, {0x0301, "w"},  {0x4e2d, "lw"}, {0x3000, "s"},
                 {0x24b6, "w"},  {0x1f600, ""},  {0x3002, ""},   {0x203f, "w"},
                 {0x2028, "s"},  {0x00aa, "lw"}, {'\t', "s"},    {0x1c, ""}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint32_t c = cases[i].c;
        const char *is = cases[i].is;

        if (unicode_is_letter(c) != (strchr(is, 'l') != NULL) ||
            unicode_is_number(c) != (strchr(is, 'n') != NULL) ||
            unicode_is_space(c) != (strchr(is, 's') != NULL) ||
            unicode_is_word(c) != (strchr(is, 'w') != NULL))
            fail_msg("U+%04X", c);
    }
    assert_int_equal(unicode_before("a\u4e2d", 4), 0x4e2d);
    assert_int_equal(unicode_before("a\u4e2d", 1), 'a');
    assert_int_equal(unicode_before("\xb8\xad", 2), 0);
    assert_int_equal(unicode_at("a\u4e2d", 4, 1), 0x4e2d);
    assert_int_equal(unicode_at("a\xe4\xb8", 3, 1), 0);
}

/* U+11A7 stands where tails of syllables begin, and is none. */
static void
nothing_is_lost_behind_a_syllable(void **state)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"\xed\x8a\x9c\xe1\x86\xa7", "\xed\x8a\x9c\xe1\x86\xa7"},
        {"\xed\x8a\x9c\xe1\x86\xa7\xe1\x86\xbe",
         "\xed\x8a\x9c\xe1\x86\xa7\xe1\x86\xbe"},
        {"\xe1\x84\x80\xe1\x85\xa1\xe1\x86\xa7", "\xea\xb0\x80\xe1\x86\xa7"},
        {"\xea\xb0\x80\xe1\x86\xa8", "\xea\xb0\x81"}};
    unicode_scratch s = {0};
    bytes out = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        out.len = 0;
        EXPECT_OK(unicode_nfc(&s, &out, cases[i].text, strlen(cases[i].text)));
        assert_int_equal(out.len, strlen(cases[i].want));
        assert_memory_equal(out.data, cases[i].want, out.len);
    }
    unicode_scratch_fini(&s);
    bytes_fini(&out);
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_lost_behind_a_syllable),
        cmocka_unit_test(every_character),
        cmocka_unit_test(inert_characters),
        cmocka_unit_test(rows_of_marks),
        cmocka_unit_test(properties),
    };

    return cmocka_run_group_tests_name("unicode", tests, NULL, NULL);
}
