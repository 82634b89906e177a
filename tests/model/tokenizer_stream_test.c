/* SPDX-License-Identifier: Apache-2.0 */
/* Text of answers: whole characters, stop strings, nothing held back longer
 * than it must be. */
#include "model/tokenizer.h"

#include "base/utf8.h"
#include "tests/model/families.h"

typedef struct answer {
    char text[4096];
    size_t len;
    bool stopped;
} answer;

static void
add(answer *a, const char *text, size_t len)
{
    assert_true(a->len + len < sizeof(a->text));
    if (len > 0)
        memcpy(a->text + a->len, text, len);
    a->len += len;
    a->text[a->len] = '\0';
    EXPECT_OK(utf8_check(text, len));
}

/* The answer of these ids, pushed one by one. */
static answer
stream(const tokenizer *tok, const int32_t *ids, size_t n,
       const char *const *stops, size_t n_stop)
{
    tokenizer_stream *s;
    answer a = {.len = 0};
    const char *text;
    size_t len;

    EXPECT_OK(tokenizer_stream_new(&s, tok, stops, n_stop));
    for (size_t i = 0; i < n && !a.stopped; i++) {
        EXPECT_OK(tokenizer_stream_push(s, ids[i], &text, &len, &a.stopped));
        add(&a, text, len);
    }
    EXPECT_OK(tokenizer_stream_finish(s, &text, &len));
    add(&a, text, len);
    tokenizer_stream_free(s);
    return a;
}

/* The answer of a list of ids is the text beside it. */
static void
expect_answer(const tokenizer *tok, const int32_t *ids, size_t n,
              const json *text, const char *family)
{
    answer a = stream(tok, ids, n, NULL, 0);
    size_t len;
    const char *expected = json_text(text, &len);

    if (a.len != len || memcmp(a.text, expected, len) != 0)
        fail_msg("%s: %s, not %s", family, a.text, expected);
    assert_false(a.stopped);
}

static void
answers_are_the_text(void **state)
{
    (void)state;
    for (int f = 0; f < N_FAMILY; f++) {
        tokenizer_scratch *s;
        tokenizer *tok = open_family(families[f], &s);
        const json *rows;
        json_doc *doc = open_vectors(families[f], "rows", &rows);

        for (size_t i = 0; i < json_size(rows); i++) {
            const json *row = json_at(rows, i);
            const json *text =
                json_at(row, json_is_null(json_at(row, 3)) ? 0 : 3);
            size_t len;
            const char *in = json_text(json_at(row, 0), &len);
            const int32_t *ids;
            size_t n;

            EXPECT_OK(tokenizer_encode(s, &ids, &n, in, len, 0));
            expect_answer(tok, ids, n, text, families[f]);
        }
        json_free(doc);
        tokenizer_scratch_free(s);
        tokenizer_close(tok);
    }
}

/* Ids that nobody's text has: broken characters, special tokens, bytes. */
static void
answers_of_any_ids(void **state)
{
    (void)state;
    for (int f = 0; f < N_FAMILY; f++) {
        tokenizer_scratch *s;
        tokenizer *tok = open_family(families[f], &s);
        const json *rows;
        json_doc *doc = open_vectors(families[f], "answers", &rows);

        for (size_t i = 0; i < json_size(rows); i++) {
            const json *list = json_at(json_at(rows, i), 0);
            int32_t ids[32];

            assert_in_range(json_size(list), 1, 32);
            for (size_t k = 0; k < json_size(list); k++)
                ids[k] = (int32_t)json_int(json_at(list, k));
            expect_answer(tok, ids, json_size(list),
                          json_at(json_at(rows, i), 1), families[f]);
        }
        json_free(doc);
        tokenizer_scratch_free(s);
        tokenizer_close(tok);
    }
}

/* Every byte is a token of its own: its id, by the tokenizer. */
static size_t
byte_ids(const tokenizer *tok, const char *text, int32_t *ids)
{
    size_t n = strlen(text);

    for (size_t i = 0; i < n; i++) {
        char byte[2] = {text[i], '\0'};

        ids[i] = tokenizer_find(tok, byte);
        assert_true(ids[i] >= 0);
    }
    return n;
}

static void
broken_characters(void **state)
{
    static const struct {
        const char *bytes, *text;
    } cases[] = {
        {"a\xf0\x9f\x98\x80z", "a\U0001f600z"},
        {"a\xf0\x9f\x98", "a\ufffd"},
        {"a\xf0\x9fz", "a\ufffdz"},
        {"\x80\x80", "\ufffd\ufffd"},
        {"\xe4\xe4\xb8\xad", "\ufffd\u4e2d"},
        {"\xed\xa0\x80", "\ufffd\ufffd\ufffd"},
        {"\xf0\x9f\xc3\xa4", "\ufffd\u00e4"},
        {"\xff\xfe", "\ufffd\ufffd"},
        {"\xc3", "\ufffd"},
    };
    tokenizer_scratch *s;
    tokenizer *tok = open_family("gpt2", &s);
    int32_t ids[16];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        answer a =
            stream(tok, ids, byte_ids(tok, cases[i].bytes, ids), NULL, 0);

        assert_string_equal(a.text, cases[i].text);
    }
    tokenizer_scratch_free(s);
    tokenizer_close(tok);
}

static void
stop_strings(void **state)
{
    static const struct {
        const char *text;
        const char *stops[3];
        const char *expected;
        bool stopped;
    } cases[] = {
        {"one two", {"two"}, "one ", true},
        {"one tw", {"two"}, "one tw", false},
        {"ababac", {"abac"}, "ab", true},
        {"aaab", {"aab"}, "a", true},
        {"xabcy", {"abcd", "b"}, "xa", true},
        {"xabcd", {"abcd", "cd"}, "x", true},
        {"x\u4e2dy", {"\u4e2d"}, "x", true},
        {"stop", {"stop"}, "", true},
        {"sto", {"stop", "top!"}, "sto", false},
        {"a\nb\n\nc", {"\n\n", "zzz", "q"}, "a\nb", true},
        {"abc", {"zzzzzzzzzzzzzzzzzzzz"}, "abc", false},
        /* A character left open at the stop does not come after it. */
        {"x.\xf0\x9f", {"."}, "x", true},
    };
    tokenizer_scratch *s;
    tokenizer *tok = open_family("llama3", &s);

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *const *stops = cases[i].stops;
        size_t n_stop = 0;
        int32_t bytes[32];
        const int32_t *ids;
        size_t n;
        answer a;

        while (n_stop < 3 && stops[n_stop] != NULL)
            n_stop++;
        a = stream(tok, bytes, byte_ids(tok, cases[i].text, bytes), stops,
                   n_stop);
        assert_string_equal(a.text, cases[i].expected);
        assert_int_equal(a.stopped, cases[i].stopped);
        if (utf8_check(cases[i].text, strlen(cases[i].text)) != ST_OK)
            continue;
        EXPECT_OK(tokenizer_encode(s, &ids, &n, cases[i].text,
                                   strlen(cases[i].text), 0));
        a = stream(tok, ids, n, stops, n_stop);
        assert_string_equal(a.text, cases[i].expected);
        assert_int_equal(a.stopped, cases[i].stopped);
    }
    tokenizer_scratch_free(s);
    tokenizer_close(tok);
}

/* What is certain comes at once; only what may yet be a stop waits. */
static void
nothing_waits_without_need(void **state)
{
    static const char *const stops[] = {"ST"};
    tokenizer_scratch *s;
    tokenizer *tok = open_family("llama3", &s);
    tokenizer_stream *out;
    int32_t ids[4];
    const char *text;
    size_t len;
    bool stopped;

    (void)state;
    (void)byte_ids(tok, "aSbS", ids);
    EXPECT_OK(tokenizer_stream_new(&out, tok, stops, 1));
    EXPECT_OK(tokenizer_stream_push(out, ids[0], &text, &len, &stopped));
    assert_int_equal(len, 1);
    EXPECT_OK(tokenizer_stream_push(out, ids[1], &text, &len, &stopped));
    assert_int_equal(len, 0);
    EXPECT_OK(tokenizer_stream_push(out, ids[2], &text, &len, &stopped));
    assert_int_equal(len, 2);
    assert_memory_equal(text, "Sb", 2);
    EXPECT_OK(tokenizer_stream_push(out, ids[3], &text, &len, &stopped));
    assert_int_equal(len, 0);
    EXPECT_OK(tokenizer_stream_push(out, -5, &text, &len, &stopped));
    assert_true(len == 0 && !stopped);
    EXPECT_OK(
        tokenizer_stream_push(out, tokenizer_bos(tok), &text, &len, &stopped));
    assert_int_equal(len, 0);
    EXPECT_OK(tokenizer_stream_finish(out, &text, &len));
    assert_int_equal(len, 1);
    EXPECT_OK(tokenizer_stream_finish(out, &text, &len));
    assert_int_equal(len, 0);
    tokenizer_stream_free(out);
    tokenizer_stream_free(NULL);
    EXPECT_ST(tokenizer_stream_new(&out, tok, (const char *const[]){""}, 1),
              ST_ARG);
    tokenizer_scratch_free(s);
    tokenizer_close(tok);
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_the_text),
        cmocka_unit_test(answers_of_any_ids),
        cmocka_unit_test(broken_characters),
        cmocka_unit_test(stop_strings),
        cmocka_unit_test(nothing_waits_without_need),
    };

    return cmocka_run_group_tests_name("tokenizer_stream", tests, NULL, NULL);
}
