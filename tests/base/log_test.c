/* SPDX-License-Identifier: Apache-2.0 */
/* Lines for people: their shape, their level, and one write each. */
#include "base/log.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/expect.h"

static int saved_stderr = -1;
static int reading_end = -1;

static void
capture(void)
{
    int ends[2];

    assert_int_equal(pipe(ends), 0);
    saved_stderr = dup(STDERR_FILENO);
    assert_true(saved_stderr >= 0);
    assert_true(dup2(ends[1], STDERR_FILENO) >= 0);
    assert_int_equal(close(ends[1]), 0);
    reading_end = ends[0];
}

/* What was written to stderr since capture(). */
static void
captured(char *out, size_t cap)
{
    size_t len = 0;
    ssize_t n;

    assert_true(dup2(saved_stderr, STDERR_FILENO) >= 0);
    assert_int_equal(close(saved_stderr), 0);
    while (len + 1 < cap &&
           (n = read(reading_end, out + len, cap - len - 1)) > 0)
        len += (size_t)n;
    out[len] = '\0';
    assert_int_equal(close(reading_end), 0);
}

static void
a_line_names_program_and_level(void **unused)
{
    char text[512];

    (void)unused;
    log_init("prog", LOG_LEVEL_DEBUG);
    capture();
    log_error("e %d", 1);
    log_warn("w %s", "2");
    log_info("i");
    log_debug("d %d", 4);
    captured(text, sizeof(text));
    assert_string_equal(text, "prog: error: e 1\nprog: warning: w 2\n"
                              "prog: i\nprog: debug: d 4\n");
}

static void
lower_levels_are_silent(void **unused)
{
    char text[512];

    (void)unused;
    log_init("prog", LOG_LEVEL_WARN);
    assert_true(log_enabled(LOG_LEVEL_ERROR));
    assert_true(log_enabled(LOG_LEVEL_WARN));
    assert_false(log_enabled(LOG_LEVEL_INFO));
    capture();
    log_warn("seen");
    log_info("not seen");
    log_debug("not seen");
    captured(text, sizeof(text));
    assert_string_equal(text, "prog: warning: seen\n");
}

static void
a_long_line_is_cut_and_ended(void **unused)
{
    char text[4096];
    char line[3000];

    (void)unused;
    log_init("prog", LOG_LEVEL_INFO);
    memset(line, 'x', sizeof(line) - 1);
    line[sizeof(line) - 1] = '\0';
    capture();
    log_info("%s", line);
    captured(text, sizeof(text));
    assert_int_equal(strlen(text), 1023);
    assert_int_equal(text[1022], '\n');
    assert_int_equal(text[1021], 'x');
}

static void
control_characters_do_not_reach_the_terminal(void **unused)
{
    char text[512];

    (void)unused;
    log_init("prog", LOG_LEVEL_INFO);
    capture();
    log_info("a\033[2Jb\nc\177 \303\244");
    log_info("\302\2332J \302\237 \302\240 \302");
    log_info("\342\200\256 \342\201\246 \342\200\217 \233");
    captured(text, sizeof(text));
    assert_string_equal(text, "prog: a?[2Jb?c? \303\244\n"
                              "prog: ??2J ?? \302\240 ?\n"
                              "prog: ??? ??? \342\200\217 ?\n");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_names_program_and_level),
        cmocka_unit_test(lower_levels_are_silent),
        cmocka_unit_test(a_long_line_is_cut_and_ended),
        cmocka_unit_test(control_characters_do_not_reach_the_terminal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
