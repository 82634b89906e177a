/* SPDX-License-Identifier: Apache-2.0 */
/* One line of JSON: commas, escapes, and values JSON does not have. */
#include "base/jsonout.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "tests/expect.h"

static void
commas_and_nesting(void **unused)
{
    jsonout j;

    (void)unused;
    jsonout_init(&j);
    jsonout_object(&j, NULL);
    jsonout_u64(&j, "u", UINT64_MAX);
    jsonout_i64(&j, "i", INT64_MIN);
    jsonout_array(&j, "list");
    jsonout_bool(&j, NULL, true);
    jsonout_object(&j, NULL);
    jsonout_close_object(&j);
    jsonout_text(&j, NULL, "x");
    jsonout_close_array(&j);
    jsonout_f64(&j, "f", 0.5);
    jsonout_close_object(&j);
    EXPECT_OK(j.st);
    assert_string_equal(j.text, "{\"u\": 18446744073709551615, "
                                "\"i\": -9223372036854775808, "
                                "\"list\": [true, {}, \"x\"], \"f\": 0.5}");
    jsonout_fini(&j);
}

static void
numbers_that_are_not_finite_become_null(void **unused)
{
    jsonout j;

    (void)unused;
    jsonout_init(&j);
    jsonout_array(&j, NULL);
    jsonout_f64(&j, NULL, NAN);
    jsonout_f64(&j, NULL, INFINITY);
    jsonout_f64(&j, NULL, -INFINITY);
    jsonout_f64(&j, NULL, -0.25);
    jsonout_close_array(&j);
    assert_string_equal(j.text, "[null, null, null, -0.25]");
    jsonout_fini(&j);
}

typedef struct escape {
    const char *in;
    size_t len;
    const char *out;
} escape;

static void
text_is_escaped_and_made_utf8(void **unused)
{
    static const escape cases[] = {
        {"a\"b\\c", 5, "\"a\\\"b\\\\c\""},
        {"\n\t\r\x01\x7f", 5, "\"\\n\\t\\u000d\\u0001\\u007f\""},
        {"\xC2\x9B\xE2\x80\xAE.", 6, "\"\\u009b\\u202e.\""},
        {"a\0b", 3, "\"a\\u0000b\""},
        {"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", 9,
         "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\""},
        {"\xff", 1, "\"\\ufffd\""},
        {"\xc0\xaf", 2, "\"\\ufffd\\ufffd\""},
        {"\xe0\x80\x80", 3, "\"\\ufffd\\ufffd\\ufffd\""},
        {"\xed\xa0\x80", 3, "\"\\ufffd\\ufffd\\ufffd\""},
        {"\xf0\x80\x80\x80", 4, "\"\\ufffd\\ufffd\\ufffd\\ufffd\""},
        {"\xf4\x90\x80\x80", 4, "\"\\ufffd\\ufffd\\ufffd\\ufffd\""},
        {"\xe2\x82", 2, "\"\\ufffd\\ufffd\""},
        {"\xe2\x82z", 3, "\"\\ufffd\\ufffdz\""},
    };

    (void)unused;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        jsonout j;
        jsonout_init(&j);
        jsonout_bytes(&j, NULL, cases[i].in, cases[i].len);
        assert_string_equal(j.text, cases[i].out);
        jsonout_fini(&j);
    }
}

/* A sequence cut at the end must not make the next bytes be read. */
static void
nothing_behind_len_is_read(void **unused)
{
    char *one = malloc(1);
    jsonout j;

    (void)unused;
    assert_non_null(one);
    one[0] = '\xf0';
    jsonout_init(&j);
    jsonout_bytes(&j, NULL, one, 1);
    assert_string_equal(j.text, "\"\\ufffd\"");
    jsonout_fini(&j);
    free(one);
}

static void
what_is_written_can_be_read(void **unused)
{
    jsonout j;
    json_doc *doc = NULL;
    const json *list;

    (void)unused;
    jsonout_init(&j);
    jsonout_object(&j, NULL);
    jsonout_text(&j, "a \"key\"", "line\nline \x1b \xc3\xa4");
    jsonout_array(&j, "list");
    for (int64_t i = 0; i < 10000; i++)
        jsonout_i64(&j, NULL, i);
    jsonout_close_array(&j);
    jsonout_close_object(&j);
    EXPECT_OK(j.st);
    EXPECT_OK(json_parse(&doc, j.text, j.len, "written"));
    assert_string_equal(json_text(json_get(json_root(doc), "a \"key\""), NULL),
                        "line\nline \x1b \xc3\xa4");
    list = json_get(json_root(doc), "list");
    assert_int_equal(json_size(list), 10000);
    assert_int_equal(json_int(json_at(list, 9999)), 9999);
    json_free(doc);
    jsonout_fini(&j);
}

static void
a_line_is_printed_and_checked(void **unused)
{
    char text[32] = "";
    FILE *file = fmemopen(text, sizeof(text), "w");
    FILE *full = fopen("/dev/full", "w");
    jsonout j;

    (void)unused;
    assert_non_null(file);
    assert_non_null(full);
    jsonout_init(&j);
    jsonout_object(&j, NULL);
    jsonout_close_object(&j);
    EXPECT_OK(jsonout_print(&j, file));
    assert_string_equal(text, "{}\n");
    jsonout_fini(&j);
    assert_null(j.text); /* it can begin again */
    assert_int_equal(j.len, 0);
    jsonout_text(&j, NULL, "x");
    EXPECT_ST(jsonout_print(&j, full), ST_IO);
    jsonout_fini(&j);
    (void)fclose(file);
    (void)fclose(full);
}

static void
a_failure_stays(void **unused)
{
    jsonout j;

    (void)unused;
    jsonout_init(&j);
    j.st = ST_NOMEM;
    jsonout_object(&j, NULL);
    assert_null(j.text);
    EXPECT_ST(jsonout_print(&j, stdout), ST_NOMEM);
    jsonout_fini(&j);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commas_and_nesting),
        cmocka_unit_test(numbers_that_are_not_finite_become_null),
        cmocka_unit_test(text_is_escaped_and_made_utf8),
        cmocka_unit_test(nothing_behind_len_is_read),
        cmocka_unit_test(what_is_written_can_be_read),
        cmocka_unit_test(a_line_is_printed_and_checked),
        cmocka_unit_test(a_failure_stays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
