/* SPDX-License-Identifier: Apache-2.0 */
/* What reaches a terminal, and how numbers look. */
#include "client/screen.h"

#include <stdlib.h>
#include <string.h>

#include "tests/expect.h"

/* Writes `text` in pieces of `piece` bytes; free() the result. */
static char *
written(bool terminal, const char *text, size_t piece)
{
    screen s = {.terminal = terminal};
    char *out = NULL;
    size_t len = 0, n = strlen(text);
    FILE *f = open_memstream(&out, &len);

    assert_non_null(f);
    for (size_t at = 0; at < n; at += piece)
        screen_write(&s, f, text + at, n - at < piece ? n - at : piece);
    fclose(f);
    return out;
}

static void
expect_written(const char *text, const char *expected)
{
    for (size_t piece = 1; piece < 5; piece++) {
        char *out = written(true, text, piece);

        assert_string_equal(out, expected);
        free(out);
        out = written(false, text, piece);
        assert_string_equal(out, text);
        free(out);
    }
}

static void
terminals_are_safe(void **state)
{
    (void)state;
    expect_written("plain\ttext\n", "plain\ttext\n");
    expect_written("\x1B[2J\x07\x08\r\x7F!", "[2J!");
    expect_written("Größe € 😀 \xC2\xA0\xC2\xBF", "Größe € 😀 \xC2\xA0\xC2\xBF");
    expect_written("a\xC2\x9B"
                   "31mb",
                   "a31mb");        /* CSI as a C1 character */
    expect_written("a\x9Bz", "az"); /* and as a stray byte */
}

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
        cmocka_unit_test(terminals_are_safe),
        cmocka_unit_test(numbers_are_readable),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
