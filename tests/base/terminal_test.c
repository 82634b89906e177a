/* SPDX-License-Identifier: Apache-2.0 */
/* What reaches a terminal. */
#include "base/terminal.h"

#include <stdlib.h>
#include <string.h>

#include "tests/expect.h"

/* Writes `text` in pieces of `piece` bytes; free() the result. */
static char *
written(bool is, const char *text, size_t piece)
{
    terminal s = {.is = is};
    char *out = NULL;
    size_t len = 0, n = strlen(text);
    FILE *f = open_memstream(&out, &len);

    assert_non_null(f);
    for (size_t at = 0; at < n; at += piece)
        terminal_write(&s, f, text + at, n - at < piece ? n - at : piece);
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
    /* What is no character, in the midst and at the end, is nothing. */
    expect_written("a\xC3"
                   "b\xED\xA0\x80"
                   "c\xF0\x9F\x98",
                   "abc");
    /* What would show "exe.txt" as "txt.exe", or end the line. */
    expect_written("\u202Etxt.exe\u2066\u2069\u2028\u2029", "txt.exe");
    expect_written("\u2027\u202F\u2065\u206A\u200F", /* beside them */
                   "\u2027\u202F\u2065\u206A\u200F");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(terminals_are_safe),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
