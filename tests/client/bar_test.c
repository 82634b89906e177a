/* SPDX-License-Identifier: Apache-2.0 */
/* The progress bar on a terminal and elsewhere. */
#include "client/bar.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tests/expect.h"

typedef struct scene {
    bar b;
    char *out;
    size_t len;
} scene;

static void
start(scene *s, bool terminal, int width)
{
    memset(s, 0, sizeof(*s));
    bar_init(&s->b, open_memstream(&s->out, &s->len), "book");
    s->b.terminal = terminal;
    s->b.width = width;
}

static void
end(scene *s)
{
    fclose(s->b.out);
    free(s->out);
}

static void
progress(scene *s, uint64_t done, uint64_t total)
{
    client_message m = {.kind = CLIENT_PROGRESS,
                        .u.progress = {.state = CLIENT_RUNNING,
                                       .segments_done = done,
                                       .segments_total = total,
                                       .tokens_per_second = 81234.5,
                                       .seconds_left = 42}};

    bar_progress(&s->b, &m);
}

static void
a_terminal_has_one_line(void **state)
{
    scene s;

    (void)state;
    start(&s, true, 70);
    progress(&s, 512, 2048);
    assert_string_equal(s.out, "\r\033[Kbook  [##.........]  512/2,048 "
                               "segments  81,234 tokens/s  42.0 s left");
    assert_int_equal(strlen(s.out) - 4, 69); /* never the last column */
    bar_clear(&s.b);
    bar_clear(&s.b);
    assert_string_equal(s.out + strlen(s.out) - 4, "\r\033[K");
    bar_finish(&s.b);
    assert_non_null(strstr(s.out, "2,048/2,048"));
    assert_int_equal(s.out[s.len - 1], '\n');
    assert_ptr_equal(strchr(s.out, '\n'), s.out + s.len - 1);
    end(&s);
}

static void
narrow_terminals_are_not_overrun(void **state)
{
    (void)state;
    for (int width = 1; width < 120; width++) {
        scene s;

        start(&s, true, width);
        progress(&s, 512, 2048);
        assert_true(strlen(s.out) - 4 < (size_t)width);
        end(&s);
    }
}

static void
titles_are_no_commands(void **state)
{
    scene s;

    (void)state;
    start(&s, true, 80);
    s.b.title = "\033]0;x\007b\xC2\x9Bo\u202Ek";
    progress(&s, 512, 2048);
    assert_non_null(strstr(s.out, "]0;xbok"));
    assert_null(strchr(s.out, '\007'));
    assert_ptr_equal(strrchr(s.out, '\033'), strchr(s.out, '\033')); /* ours */
    end(&s);
}

static void
redraws_are_limited(void **state)
{
    scene s;
    uint64_t start_ns;
    size_t n = 0;

    (void)state;
    start(&s, false, 0);
    progress(&s, 1, 1000);
    assert_int_equal(s.len, 0); /* a short job prints nothing */
    s.b.start_ns = 0;
    start_ns = clock_ns();
    for (uint64_t i = 0; i < 1000; i++)
        progress(&s, i, 1000);
    for (size_t i = 0; i < s.len; i++)
        n += s.out[i] == '\n';
    assert_true(n <= 1 + (clock_ns() - start_ns) / 1000000000);
    assert_non_null(strstr(s.out, "book: 0/1,000 segments"));
    assert_null(strchr(s.out, '\033'));
    bar_finish(&s.b);
    assert_non_null(strstr(s.out, "book: 1,000/1,000 segments"));
    end(&s);
}

static void
what_is_not_known_is_not_shown(void **state)
{
    client_message m = {
        .kind = CLIENT_PROGRESS,
        .u.progress = {.state = CLIENT_QUEUED, .seconds_left = -1}};
    scene s;

    (void)state;
    start(&s, false, 0);
    bar_finish(&s.b);
    assert_int_equal(s.len, 0); /* nothing was shown, so nothing is finished */
    s.b.start_ns = 0;
    bar_sent(&s.b, 1, 4);
    assert_string_equal(s.out, "book: 25 % sent\n");
    s.b.drawn_ns = 0;
    bar_progress(&s.b, &m);
    assert_non_null(strstr(s.out, "book: queued\n"));
    s.b.drawn_ns = 0;
    m.u.progress.state = CLIENT_RUNNING;
    m.u.progress.segments_done = 3;
    bar_progress(&s.b, &m);
    assert_non_null(strstr(s.out, "book: 3 segments\n"));
    end(&s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_terminal_has_one_line),
        cmocka_unit_test(narrow_terminals_are_not_overrun),
        cmocka_unit_test(titles_are_no_commands),
        cmocka_unit_test(redraws_are_limited),
        cmocka_unit_test(what_is_not_known_is_not_shown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
