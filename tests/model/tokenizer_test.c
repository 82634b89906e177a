/* SPDX-License-Identifier: Apache-2.0 */
/* Ids as the reference library gives them, long words, and what tokens are. */
#include "model/tokenizer.h"

#include "tests/model/families.h"

static void
expect_ids(const int32_t *ids, size_t n, const json *expected, const char *text)
{
    if (n != json_size(expected))
        fail_msg("%zu ids, expected %zu: %s", n, json_size(expected), text);
    for (size_t i = 0; i < n; i++)
        if (ids[i] != json_int(json_at(expected, i)))
            fail_msg("id %zu is %d, expected %d: %s", i, ids[i],
                     (int)json_int(json_at(expected, i)), text);
}

/* ------------------------------------------------------------- encode --- */

static void
ids_of_the_reference(void **state)
{
    (void)state;
    for (int f = 0; f < N_FAMILY; f++) {
        tokenizer_scratch *s;
        tokenizer *tok = open_family(families[f], &s);
        const json *rows;
        json_doc *doc = open_vectors(families[f], "rows", &rows);

        /* Twice: the second time short words come from the memo. */
        for (size_t i = 0; i < 2 * json_size(rows); i++) {
            const json *row = json_at(rows, i / 2);
            size_t len;
            const char *text = json_text(json_at(row, 0), &len);
            const int32_t *ids;
            size_t n;

            EXPECT_OK(
                tokenizer_encode(s, &ids, &n, text, len, TOKENIZER_SPECIAL));
            expect_ids(ids, n, json_at(row, 1), text);
            EXPECT_OK(tokenizer_encode(s, &ids, &n, text, len, 0));
            expect_ids(ids, n, json_at(row, 2), text);
        }
        json_free(doc);
        tokenizer_scratch_free(s);
        tokenizer_close(tok);
    }
}

static void
names_and_pieces(void **state)
{
    tokenizer_scratch *s;
    tokenizer *tok = open_family("llama3", &s);
    int32_t eot = tokenizer_find(tok, "<|eot|>");
    const char *bytes;
    size_t len;

    (void)state;
    assert_int_equal(tokenizer_size(tok), 705);
    assert_int_equal(tokenizer_bos(tok), 700);
    assert_int_equal(tokenizer_find(tok, "<|begin_of_text|>"), 700);
    assert_int_equal(eot, 702);
    assert_int_equal(tokenizer_find(tok, "<|eot|"), -1);
    assert_int_equal(tokenizer_find(tok, ""), -1);
    tokenizer_piece(tok, tokenizer_find(tok, " the"), false, &bytes, &len);
    assert_int_equal(len, 4);
    assert_memory_equal(bytes, " the", 4);
    tokenizer_piece(tok, eot, false, &bytes, &len);
    assert_int_equal(len, 0);
    tokenizer_piece(tok, eot, true, &bytes, &len);
    assert_int_equal(len, 7);
    tokenizer_piece(tok, tokenizer_find(tok, "<tool>"), false, &bytes, &len);
    assert_int_equal(len, 6);
    for (int32_t id = -1; id <= 705; id += 706) {
        tokenizer_piece(tok, id, true, &bytes, &len);
        assert_int_equal(len, 0);
    }
    tokenizer_scratch_free(s);
    tokenizer_close(tok);
    tok = open_family("gpt2", &s);
    assert_int_equal(tokenizer_bos(tok), -1);
    tokenizer_scratch_free(s);
    tokenizer_close(tok);
    tokenizer_scratch_free(NULL);
    tokenizer_close(NULL);
    EXPECT_ST(tokenizer_open(&tok, "model"), ST_NOTFOUND);
}

/* Families whose tokens, one after the other, are any text. */
static bool
is_whole(const char *family)
{
    return strcmp(family, "llama3") == 0 || strcmp(family, "gpt2") == 0 ||
           strcmp(family, "smollm") == 0;
}

/* Anything worse than n log n would not end in the test's time. */
static void
long_words(void **state)
{
    enum { SIZE = 1 << 18 };
    static const char *const patterns[] = {
        "a",  " ",   "\n",    "7",      "<|",           "\u0301", "\u4e2d",
        "zq", " \t", "<tool", "<mask>", "\u0327\u0301", "\u1100"};
    char *text = malloc(SIZE);

    (void)state;
    assert_non_null(text);
    for (int f = 0; f < N_FAMILY; f++) {
        tokenizer_scratch *s;
        tokenizer *tok = open_family(families[f], &s);

        for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
            size_t width = strlen(patterns[i]);
            size_t len = SIZE - SIZE % width;
            const int32_t *ids;
            size_t n;

            for (size_t at = 0; at < len; at += width)
                memcpy(text + at, patterns[i], width);
            EXPECT_OK(
                tokenizer_encode(s, &ids, &n, text, len, TOKENIZER_SPECIAL));
            if (is_whole(families[f]))
                expect_pieces(tok, ids, n, text, len);
        }
        tokenizer_scratch_free(s);
        tokenizer_close(tok);
    }
    free(text);
}

/* A text that goes on has no mark of a beginning. */
static void
beginnings(void **state)
{
    static const char *const names[] = {"llama2", "mistral", "metaspace"};

    (void)state;
    for (int i = 0; i < 3; i++) {
        tokenizer_scratch *s;
        tokenizer *tok = open_family(names[i], &s);
        const int32_t *ids;
        size_t n;

        EXPECT_OK(tokenizer_encode(s, &ids, &n, "a", 1, 0));
        assert_int_equal(n, 1);
        assert_int_equal(ids[0], tokenizer_find(tok, "\u2581a"));
        EXPECT_OK(tokenizer_encode(s, &ids, &n, "a", 1, TOKENIZER_GOES_ON));
        assert_int_equal(n, 1);
        assert_int_equal(ids[0], tokenizer_find(tok, "a"));
        assert_int_equal(tokenizer_bos(tok), 1);
        EXPECT_OK(tokenizer_encode(s, &ids, &n, "a<s>a", 5,
                                   TOKENIZER_GOES_ON | TOKENIZER_SPECIAL));
        assert_int_equal(n, 3);
        assert_int_equal(ids[1], 1);
        assert_int_equal(ids[2], tokenizer_find(tok, i == 1 ? "a" : "\u2581a"));
        tokenizer_scratch_free(s);
        tokenizer_close(tok);
    }
}

static void
text_that_is_not_utf8(void **state)
{
    static const char *const texts[] = {"ab\xff",
                                        "ab\x80",
                                        "ab\xc3",
                                        "ab\xc0\x80",
                                        "ab\xe0\x80\x80",
                                        "ab\xed\xa0\x80",
                                        "ab\xf4\x90\x80\x80",
                                        "ab\xf0\x8f\xbf\xbf",
                                        "ab\xf8\x88\x80\x80\x80",
                                        "ab\xe4\xb8",
                                        "ab\xc3\xc3\xa4"};
    tokenizer_scratch *s;
    tokenizer *tok = open_family("gpt2", &s);
    const int32_t *ids;
    size_t n;

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        EXPECT_ST(tokenizer_encode(s, &ids, &n, texts[i], strlen(texts[i]), 0),
                  ST_ARG);
        assert_non_null(strstr(status_text(), "byte 2"));
    }
    tokenizer_scratch_free(s);
    tokenizer_close(tok);
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_of_the_reference),
        cmocka_unit_test(names_and_pieces),
        cmocka_unit_test(long_words),
        cmocka_unit_test(beginnings),
        cmocka_unit_test(text_that_is_not_utf8),
    };

    return cmocka_run_group_tests_name("tokenizer", tests, NULL, NULL);
}
