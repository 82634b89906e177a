/* SPDX-License-Identifier: Apache-2.0 */
/* Hostile and ordinary JSON through the typed access. */
#include "base/json.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "tests/expect.h"

static json_doc *
parsed(const char *text)
{
    json_doc *doc = NULL;

    EXPECT_OK(json_parse(&doc, text, strlen(text), "test"));
    return doc;
}

static void
refused(const char *text, size_t len)
{
    json_doc *doc = NULL;

    EXPECT_ST(json_parse(&doc, text, len, "test.json"), ST_ARG);
    assert_null(doc);
    assert_non_null(strstr(status_text(), "test.json: "));
}

static void
values_have_their_types(void **unused)
{
    json_doc *doc = parsed("{\"o\": {}, \"a\": [1, 2.5, true], \"s\": \"x\","
                           " \"n\": null, \"i\": -7}");
    const json *root = json_root(doc);
    const json *a = json_get(root, "a");
    size_t len = 99;

    (void)unused;
    assert_true(json_is_object(root));
    assert_int_equal(json_size(root), 5);
    assert_true(json_is_object(json_get(root, "o")));
    assert_true(json_is_array(a));
    assert_int_equal(json_size(a), 3);
    assert_true(json_is_integer(json_at(a, 0)));
    assert_true(json_is_number(json_at(a, 0)));
    assert_false(json_is_integer(json_at(a, 1)));
    assert_true(json_is_number(json_at(a, 1)));
    assert_true(json_number(json_at(a, 1)) == 2.5);
    assert_true(json_number(json_at(a, 0)) == 1.0);
    assert_true(json_is_bool(json_at(a, 2)));
    assert_true(json_bool(json_at(a, 2)));
    assert_null(json_at(a, 3));
    assert_true(json_is_string(json_get(root, "s")));
    assert_string_equal(json_text(json_get(root, "s"), &len), "x");
    assert_int_equal(len, 1);
    assert_true(json_is_null(json_get(root, "n")));
    assert_int_equal(json_int(json_get(root, "i")), -7);
    json_free(doc);
}

static void
absent_and_wrong_values_are_empty(void **unused)
{
    json_doc *doc = parsed("[\"text\"]");
    const json *text = json_at(json_root(doc), 0);
    size_t len = 99;

    (void)unused;
    assert_null(json_get(NULL, "x"));
    assert_null(json_get(text, "x"));
    assert_null(json_at(NULL, 0));
    assert_null(json_at(text, 0));
    assert_int_equal(json_size(NULL), 0);
    assert_int_equal(json_size(text), 0);
    assert_true(json_is_null(NULL));
    assert_false(json_is_object(NULL));
    assert_false(json_is_bool(NULL));
    assert_string_equal(json_text(NULL, &len), "");
    assert_int_equal(len, 0);
    assert_int_equal(json_int(text), 0);
    assert_true(json_number(NULL) == 0.0);
    assert_false(json_bool(text));
    json_free(doc);
    json_free(NULL);
}

static bool
collect(void *ctx, const char *key, const json *value)
{
    char *keys = ctx;

    (void)value;
    (void)strncat(keys, key, 1);
    return key[0] != 'm';
}

static void
members_come_in_file_order_until_stopped(void **unused)
{
    json_doc *doc = parsed("{\"z\": 1, \"a\": 2, \"m\": 3, \"b\": 4}");
    char keys[8] = "";

    (void)unused;
    json_each(json_root(doc), collect, keys);
    assert_string_equal(keys, "zam");
    json_each(json_get(json_root(doc), "a"), collect, keys); /* no object */
    assert_string_equal(keys, "zam");
    json_free(doc);
}

static void
broken_text_is_refused(void **unused)
{
    static const char *const bad[] = {
        "",           "{",          "{\"a\": 1,}",
        "[1 2]",      "{\"a\" 1}",  "nul",
        "[1] x",      "[NaN]",      "[Infinity]",
        "[01]",       "['a']",      "[\"\n\"]",
        "[1e999999]", "{\"a\":1}{", "[99999999999999999999]",
    };

    (void)unused;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        refused(bad[i], strlen(bad[i]));
    /* What is printable of the text near the mistake is shown as it is. */
    refused("[~ 1]", 5);
    assert_non_null(strstr(status_text(), "invalid token near '~'"));
    refused("[\x7f 1]", 5);
    assert_null(strchr(status_text(), '\x7f'));
    assert_non_null(strstr(status_text(), "token near '?'"));
}

static void
duplicate_keys_are_refused(void **unused)
{
    static const char text[] = "{\"a\": 1, \"b\": {\"c\": 1, \"c\": 2}}";

    (void)unused;
    refused(text, strlen(text));
}

static void
invalid_utf8_is_refused(void **unused)
{
    static const char *const bad[] = {
        "[\"\xff\"]",     "[\"\xc0\xaf\"]",         "[\"\xed\xa0\x80\"]",
        "[\"\xe2\x82\"]", "[\"\xf4\x90\x80\x80\"]", "[\"\\ud800\"]",
    };

    (void)unused;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        refused(bad[i], strlen(bad[i]));
}

static void
the_sentence_quotes_no_raw_bytes(void **unused)
{
    static const char *const bad[] = {"{\"a\": \033[2J}", "[\177]",
                                      "[\303\244]"};

    (void)unused;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        refused(bad[i], strlen(bad[i]));
        for (const char *at = status_text(); *at != '\0'; at++)
            assert_true(*at >= 0x20 && *at < 0x7f);
    }
}

static void
nesting_is_bounded(void **unused)
{
    enum { DEEP = 1000000, FINE = 500 };
    char *text = NULL;
    json_doc *doc = NULL;

    (void)unused;
    EXPECT_OK(mem_new(&text, DEEP, 1));
    memset(text, '[', DEEP);
    refused(text, DEEP);
    memset(text + FINE, ']', FINE);
    EXPECT_OK(json_parse(&doc, text, (size_t)2 * FINE, "test"));
    json_free(doc);
    mem_free(text);
}

static void
text_may_hold_nul(void **unused)
{
    static const char inside[] = "[\"a\\u0000b\"]";
    static const char raw[] = "[1\0]";
    json_doc *doc = parsed(inside);
    size_t len = 0;
    const char *text = json_text(json_at(json_root(doc), 0), &len);

    (void)unused;
    assert_int_equal(len, 3);
    assert_memory_equal(text, "a\0b", 4);
    json_free(doc);
    refused(raw, sizeof(raw) - 1);
}

static void
only_len_bytes_are_read(void **unused)
{
    json_doc *doc = NULL;

    (void)unused;
    EXPECT_OK(json_parse(&doc, "[1]garbage", 3, "test"));
    assert_int_equal(json_size(json_root(doc)), 1);
    json_free(doc);
}

static void
a_file_is_read_up_to_a_limit(void **unused)
{
    static const char text[] = "{\"a\": 1}";
    char path[] = "/tmp/longwave-test-XXXXXX";
    int fd = mkstemp(path);
    json_doc *doc = NULL;

    (void)unused;
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    EXPECT_ST(json_read(&doc, path, strlen(text) - 1, "test"), ST_LIMIT);
    EXPECT_OK(json_read(&doc, path, strlen(text), "test"));
    assert_int_equal(json_size(json_root(doc)), 1);
    json_free(doc);
    doc = NULL;
    assert_int_equal(write(fd, "}", 1), 1);
    EXPECT_ST(json_read(&doc, path, 100, "test.json"), ST_ARG);
    assert_non_null(strstr(status_text(), "test.json: "));
    assert_int_equal(close(fd), 0);
    assert_int_equal(unlink(path), 0);
    EXPECT_ST(json_read(&doc, path, 100, "test"), ST_NOTFOUND);
    assert_null(doc);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_have_their_types),
        cmocka_unit_test(absent_and_wrong_values_are_empty),
        cmocka_unit_test(members_come_in_file_order_until_stopped),
        cmocka_unit_test(broken_text_is_refused),
        cmocka_unit_test(duplicate_keys_are_refused),
        cmocka_unit_test(invalid_utf8_is_refused),
        cmocka_unit_test(the_sentence_quotes_no_raw_bytes),
        cmocka_unit_test(nesting_is_bounded),
        cmocka_unit_test(text_may_hold_nul),
        cmocka_unit_test(only_len_bytes_are_read),
        cmocka_unit_test(a_file_is_read_up_to_a_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
