/* SPDX-License-Identifier: Apache-2.0 */
/* Names, sentences and exit codes of failures. */
#include "base/status.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#include "tests/expect.h"

static void
every_code_has_its_own_name(void **unused)
{
    (void)unused;
    for (int a = 0; a < ST_COUNT; a++) {
        assert_string_not_equal(status_name((status)a), "unknown");
        for (int b = 0; b < a; b++)
            assert_string_not_equal(status_name((status)a),
                                    status_name((status)b));
    }
    assert_string_equal(status_name(ST_OK), "ok");
    assert_string_equal(status_name(ST_UNSUPPORTED), "unsupported");
    assert_string_equal(status_name(ST_DENIED), "denied");
    assert_string_equal(status_name(ST_COUNT), "unknown");
    assert_string_equal(status_name((status)-1), "unknown");
}

static void
a_failure_keeps_its_sentence(void **unused)
{
    (void)unused;
    assert_int_equal(status_fail(ST_IO, "no %s on %d", "disk", 7), ST_IO);
    assert_string_equal(status_text(), "no disk on 7");
    assert_int_equal(status_fail(ST_ARG, "no such %s", "flag"), ST_ARG);
    assert_string_equal(status_text(), "no such flag");
}

static void
a_long_sentence_is_cut(void **unused)
{
    char text[2000];

    (void)unused;
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    (void)status_fail(ST_ARG, "%s", text);
    assert_int_equal(strlen(status_text()), 511);
}

static void *
fail_elsewhere(void *was_empty)
{
    *(bool *)was_empty = *status_text() == '\0';
    (void)status_fail(ST_ARG, "theirs");
    return NULL;
}

static void
a_sentence_belongs_to_its_thread(void **unused)
{
    bool was_empty = false;
    pthread_t thread;

    (void)unused;
    (void)status_fail(ST_ARG, "ours");
    assert_int_equal(pthread_create(&thread, NULL, fail_elsewhere, &was_empty),
                     0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(was_empty);
    assert_string_equal(status_text(), "ours");
}

static void
exit_codes_tell_bad_input_from_failure(void **unused)
{
    (void)unused;
    for (int st = 0; st < ST_COUNT; st++) {
        bool input = st == ST_ARG || st == ST_UNSUPPORTED ||
                     st == ST_NOTFOUND || st == ST_LIMIT;
        assert_int_equal(status_exit_code((status)st), st == ST_OK ? 0
                                                       : input     ? 2
                                                                   : 1);
    }
}

static status
second_step(int *reached, status st)
{
    TRY(st);
    *reached = 1;
    return ST_OK;
fail:
    return st;
}

static void
try_leaves_with_the_code(void **unused)
{
    int reached = 0;

    (void)unused;
    EXPECT_ST(second_step(&reached, ST_LIMIT), ST_LIMIT);
    assert_int_equal(reached, 0);
    EXPECT_OK(second_step(&reached, ST_OK));
    assert_int_equal(reached, 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_has_its_own_name),
        cmocka_unit_test(a_failure_keeps_its_sentence),
        cmocka_unit_test(a_long_sentence_is_cut),
        cmocka_unit_test(a_sentence_belongs_to_its_thread),
        cmocka_unit_test(exit_codes_tell_bad_input_from_failure),
        cmocka_unit_test(try_leaves_with_the_code),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
