/* SPDX-License-Identifier: Apache-2.0 */
/* Ids as the reference library gives them, long words, cuts, and
 * tokenizer.json files that are refused. */
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
        json_doc *doc = open_vectors(families[f]);

        /* Twice: the second time short words come from the memo. */
        for (size_t i = 0; i < 2 * json_size(json_root(doc)); i++) {
            const json *row = json_at(json_root(doc), i / 2);
            size_t len;
            const char *text = json_text(json_at(row, 0), &len);
            const int32_t *ids;
            size_t n;

            EXPECT_OK(tokenizer_encode(s, &ids, &n, text, len, true));
            expect_ids(ids, n, json_at(row, 1), text);
            EXPECT_OK(tokenizer_encode(s, &ids, &n, text, len, false));
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

/* The bytes of the tokens, one after the other, are the text. */
static void
expect_pieces(const tokenizer *tok, const int32_t *ids, size_t n,
              const char *text, size_t len)
{
    size_t total = 0;

    for (size_t i = 0; i < n; i++) {
        const char *bytes;
        size_t piece;

        tokenizer_piece(tok, ids[i], true, &bytes, &piece);
        assert_true(piece <= len - total);
        assert_memory_equal(bytes, text + total, piece);
        total += piece;
    }
    assert_int_equal(total, len);
}

/* Anything worse than n log n would not end in the test's time. */
static void
long_words(void **state)
{
    enum { SIZE = 1 << 20 };
    static const char *const patterns[] = {
        "a", " ", "\n", "7", "<|", "\u0301", "\u4e2d", " \t", "zq", "<tool"};
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
            EXPECT_OK(tokenizer_encode(s, &ids, &n, text, len, true));
            expect_pieces(tok, ids, n, text, len);
        }
        tokenizer_scratch_free(s);
        tokenizer_close(tok);
    }
    free(text);
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
        EXPECT_ST(
            tokenizer_encode(s, &ids, &n, texts[i], strlen(texts[i]), false),
            ST_ARG);
        assert_non_null(strstr(status_text(), "byte 2"));
    }
    tokenizer_scratch_free(s);
    tokenizer_close(tok);
}

/* ---------------------------------------------------------------- cuts --- */

/* All texts of the vectors, one after the other. */
static char *
all_texts(const char *family, size_t *len)
{
    json_doc *doc = open_vectors(family);
    char *all = malloc(1 << 18);

    assert_non_null(all);
    *len = 0;
    for (size_t i = 0; i < json_size(json_root(doc)); i++) {
        size_t n;
        const char *text =
            json_text(json_at(json_at(json_root(doc), i), 0), &n);

        assert_true(*len + n < 1 << 18);
        memcpy(all + *len, text, n);
        *len += n;
    }
    json_free(doc);
    return all;
}

static uint32_t
draw(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 8;
}

typedef struct arrival {
    const tokenizer *tok;
    tokenizer_scratch *scratch;
    const char *text;
    size_t len;
    size_t limit; /* of one cut */
} arrival;

/* The ids of a text that arrives in pieces of at most max_piece bytes. */
static size_t
encode_pieces(const arrival *a, uint32_t max_piece, int32_t *out)
{
    size_t from = 0;
    size_t here = 0;
    size_t n = 0;
    uint32_t seed = max_piece;

    while (from < a->len) {
        size_t cut = tokenizer_cut(a->tok, a->text + from, here, a->limit);
        const int32_t *ids;
        size_t n_id;

        assert_true(cut <= here && cut <= a->limit);
        if (cut == 0 && from + here < a->len) {
            here += 1 + draw(&seed) % max_piece;
            here = here < a->len - from ? here : a->len - from;
            continue;
        }
        if (cut == 0)
            cut = here;
        EXPECT_OK(tokenizer_encode(a->scratch, &ids, &n_id, a->text + from, cut,
                                   false));
        memcpy(out + n, ids, n_id * sizeof(*ids));
        n += n_id;
        from += cut;
        here -= cut;
    }
    return n;
}

static void
cuts_change_nothing(void **state)
{
    static const uint32_t pieces[] = {1, 7, 100, 5000, 1 << 20};

    (void)state;
    for (int f = 0; f < N_FAMILY; f++) {
        tokenizer_scratch *s;
        tokenizer *tok = open_family(families[f], &s);
        size_t len;
        char *text = all_texts(families[f], &len);
        int32_t *whole = malloc(len * sizeof(*whole));
        int32_t *out = malloc(len * sizeof(*out));
        const int32_t *ids;
        size_t n;

        assert_true(whole != NULL && out != NULL);
        EXPECT_OK(tokenizer_encode(s, &ids, &n, text, len, false));
        memcpy(whole, ids, n * sizeof(*ids));
        for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
            assert_int_equal(encode_pieces(&(arrival){tok, s, text, len, 1024},
                                           pieces[i], out),
                             n);
            assert_memory_equal(out, whole, n * sizeof(*out));
        }
        free(out);
        free(whole);
        free(text);
        tokenizer_scratch_free(s);
        tokenizer_close(tok);
    }
}

/* Without a good place the cut is at the limit, at a character's border, and
 * at the same places however the text arrives. */
static void
forced_cuts(void **state)
{
    enum { N = 9000 };
    static const uint32_t pieces[] = {1, 13, 999, N};
    tokenizer_scratch *s;
    tokenizer *tok = open_family("llama3", &s);
    char *text = malloc(N);
    int32_t *first = malloc(N * sizeof(*first));
    int32_t *out = malloc(N * sizeof(*out));
    size_t n = 0;

    (void)state;
    assert_true(text != NULL && first != NULL && out != NULL);
    for (size_t i = 0; i < N; i += 3)
        memcpy(text + i, i % 3000 < 2700 ? "\u4e2d" : " a ", 3);
    assert_int_equal(tokenizer_cut(tok, text, 100, 1000), 0);
    assert_int_equal(tokenizer_cut(tok, text, 1000, 1000), 999);
    assert_int_equal(tokenizer_cut(tok, text, N, 1000), 999);
    assert_int_equal(tokenizer_cut(tok, text, 3000, 4000) / 100, 29);
    for (size_t i = 0; i < 4; i++) {
        size_t got =
            encode_pieces(&(arrival){tok, s, text, N, 1000}, pieces[i], out);

        if (i == 0) {
            n = got;
            memcpy(first, out, n * sizeof(*out));
        }
        assert_int_equal(got, n);
        assert_memory_equal(out, first, n * sizeof(*out));
    }
    free(out);
    free(first);
    free(text);
    tokenizer_scratch_free(s);
    tokenizer_close(tok);
}

/* --------------------------------------------------------------- files --- */

/* The family's file with the first `from` turned into `to`. */
static status
parse_changed(const char *family, const char *from, const char *to)
{
    tokenizer *tok = NULL;
    size_t len;
    char *text = slurp(family, ".json", &len);
    char *at = strstr(text, from);
    char *changed = malloc(len + strlen(to) + 1);
    status st;

    if (at == NULL)
        fail_msg("%s has no %s", family, from);
    assert_non_null(changed);
    (void)snprintf(changed, len + strlen(to) + 1, "%.*s%s%s", (int)(at - text),
                   text, to, at + strlen(from));
    st = tokenizer_parse(&tok, changed, strlen(changed), "tokenizer.json");
    if (st != ST_OK)
        assert_null(tok);
    tokenizer_close(tok);
    free(changed);
    mem_free(text);
    return st;
}

static void
files_refused(void **state)
{
    static const struct {
        const char *from, *to;
        status st;
        const char *sentence;
    } cases[] = {
        {"\"normalizer\":null", "\"normalizer\":{\"type\":\"NFC\"}",
         ST_UNSUPPORTED, "normalizer NFC"},
        {"\"type\":\"BPE\"", "\"type\":\"Unigram\"", ST_UNSUPPORTED, "Unigram"},
        {"\"byte_fallback\":false", "\"byte_fallback\":true", ST_UNSUPPORTED,
         "byte_fallback"},
        {"\"dropout\":null", "\"dropout\":0.1", ST_UNSUPPORTED, "dropout"},
        {"\"end_of_word_suffix\":null", "\"end_of_word_suffix\":\"</w>\"",
         ST_UNSUPPORTED, "end_of_word_suffix"},
        {"\"behavior\":\"Isolated\"", "\"behavior\":\"Removed\"",
         ST_UNSUPPORTED, "Removed"},
        {"\"invert\":false", "\"invert\":true", ST_UNSUPPORTED, "invert"},
        {"{\"Regex\":", "{\"String\":", ST_UNSUPPORTED, "Split"},
        {"{\"Regex\":\"", "{\"Regex\":\"(", ST_ARG, "pattern"},
        {"\"type\":\"Split\"", "\"type\":\"Digits\"", ST_UNSUPPORTED, "Digits"},
        {"\"add_prefix_space\":false", "\"add_prefix_space\":true",
         ST_UNSUPPORTED, "add_prefix_space"},
        {"\"use_regex\":false", "\"use_regex\":true", ST_UNSUPPORTED,
         "pre_tokenizer"},
        {"\"type\":\"TemplateProcessing\"", "\"type\":\"BertProcessing\"",
         ST_UNSUPPORTED, "BertProcessing"},
        {"\"ids\":[700]", "\"ids\":[700,701]", ST_ARG, "one id"},
        {"\"ids\":[700]", "\"ids\":[70000]", ST_ARG, "a token"},
        {"\"ids\":[700]", "\"ids\":[-1]", ST_ARG, "a token"},
        {"\"decoder\":{\"type\":\"ByteLevel\"",
         "\"decoder\":{\"type\":\"Metaspace\"", ST_UNSUPPORTED, "Metaspace"},
        {"\"lstrip\":false", "\"lstrip\":true", ST_UNSUPPORTED, "lstrip"},
        {"\"single_word\":false", "\"single_word\":true", ST_UNSUPPORTED,
         "single_word"},
        {"\"id\":700,", "\"id\":5,", ST_ARG, "two tokens"},
        {"\"id\":700,", "\"id\":-5,", ST_ARG, "id"},
        {"\"id\":700,", "\"id\":4294967296,", ST_ARG, "id"},
        {"\"id\":700,", "\"id\":\"700\",", ST_ARG, "id"},
        {"\"content\":\"<|begin_of_text|>\"", "\"content\":\"\"", ST_ARG,
         "added token"},
        {"\"content\":\"<|begin_of_text|>\"", "\"content\":\"<|eot|>\"", ST_ARG,
         "the same"},
        {"\"vocab\":{\"!\":0", "\"vocab\":{\"!\":1", ST_ARG, "two tokens"},
        {"\"vocab\":{\"!\":0", "\"vocab\":{\"!\":1048576", ST_ARG, "id"},
        {"\"vocab\":{\"!\":0", "\"vocab\":{\"!\":0.5", ST_ARG, "id"},
        {"\"vocab\":{\"!\":0", "\"vocab\":{\"~!~\":0", ST_ARG, "byte 0x21"},
        {"\"vocab\":{\"!\":0", "\"vocab\":{\"!\":0,\"!\":0", ST_ARG,
         "duplicate"},
        {"\"vocab\":{", "\"vocab_\":{", ST_ARG, "vocab"},
        {"\"merges\":[", "\"merges_\":[", ST_ARG, "merges"},
        {"\"merges\":[", "\"merges\":[[\"!\",\"~!~\"],", ST_ARG, "merge 0"},
        {"\"merges\":[", "\"merges\":[\"!\",", ST_ARG, "merge"},
        {"\"merges\":[", "\"merges\":[\" !\",", ST_ARG, "merge"},
        {"\"merges\":[", "\"merges\":[\"! \",", ST_ARG, "merge"},
        {"\"merges\":[", "\"merges\":[[\"a\"],", ST_ARG, "merge"},
        {"\"merges\":[", "\"merges\":[[\"a\",1],", ST_ARG, "merge"},
        {"\"merges\":[", "\"merges\":[7,", ST_ARG, "merge"},
        {"\"merges\":[", "\"merges\":[\"a b c\",", ST_ARG, "merge"},
        {"\"model\":{", "\"model\":[],\"model_\":{", ST_ARG, "model"},
        {"{\"version\"", "[{\"version\"", ST_ARG, "line"},
        {"{\"version\"", "", ST_ARG, "line"},
    };
    tokenizer *tok = NULL;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        status st = parse_changed("llama3", cases[i].from, cases[i].to);

        if (st != cases[i].st ||
            strstr(status_text(), cases[i].sentence) == NULL)
            fail_msg("%s: got %s (%s)", cases[i].to, status_name(st),
                     status_text());
    }
    EXPECT_ST(tokenizer_parse(&tok, "", 0, "x"), ST_ARG);
    EXPECT_ST(tokenizer_parse(&tok, "[]", 2, "x"), ST_ARG);
    EXPECT_ST(tokenizer_parse(&tok, "{}", 2, "x"), ST_ARG);
}

/* Text alone must not give a special token, by no way. */
static void
special_tokens_are_not_merged(void **state)
{
    (void)state;
    EXPECT_ST(parse_changed("llama3", "\"added_tokens\":[",
                            "\"added_tokens\":[{\"id\":257,\"content\":\"he\","
                            "\"special\":true},"),
              ST_ARG);
}

static void
variants_accepted(void **state)
{
    static const char *const cases[][2] = {
        {"\"post_processor\":{\"type\":\"Sequence\"",
         "\"post_processor\":null,\"old\":{\"type\":\"Sequence\""},
        {"\"dropout\":null", "\"dropout\":0.0"},
        {"\"end_of_word_suffix\":null", "\"end_of_word_suffix\":\"\""},
        {"\"type\":\"BPE\",", ""},
        {"\"added_tokens\":", "\"unknown\":"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        /* The template's token is gone with the added tokens. */
        status want = i == 4 ? ST_ARG : ST_OK;

        EXPECT_ST(parse_changed("llama3", cases[i][0], cases[i][1]), want);
    }
    EXPECT_OK(parse_changed("gpt2", "\"added_tokens\":", "\"unknown\":"));
    EXPECT_OK(parse_changed("gpt2", "\"normalizer\":null,", ""));
}

/* Any pattern at all: no text is lost, and one that explodes is stopped. */
static void
other_patterns(void **state)
{
    static const struct {
        const char *regex;
        status st;
    } cases[] = {{"\\\\d+", ST_OK},    {"x*", ST_OK},
                 {"(?=a)", ST_OK},     {".", ST_OK},
                 {"zzz", ST_OK},       {"(a|a)+b", ST_OK},
                 {"(a+)+$", ST_LIMIT}, {"(a|aa)+$", ST_LIMIT}};
    static const char text[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                               "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa 12 \u4e2d";
    size_t len;
    char *file = slurp("llama3", ".json", &len);
    char *from = strstr(file, "{\"Regex\":\"");
    char *to = strstr(file, "\"},\"behavior\"");
    char *changed = malloc(len);

    (void)state;
    assert_true(from != NULL && to != NULL && changed != NULL);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        tokenizer *tok;
        tokenizer_scratch *s;
        const int32_t *ids;
        size_t n;
        status st;

        (void)snprintf(changed, len, "%.*s{\"Regex\":\"%s%s",
                       (int)(from - file), file, cases[i].regex, to);
        EXPECT_OK(tokenizer_parse(&tok, changed, strlen(changed), "x"));
        EXPECT_OK(tokenizer_scratch_new(&s, tok));
        st = tokenizer_encode(s, &ids, &n, text, strlen(text), false);
        assert_int_equal(st, cases[i].st);
        if (st == ST_OK) {
            expect_pieces(tok, ids, n, text, strlen(text));
        }
        tokenizer_scratch_free(s);
        tokenizer_close(tok);
    }
    free(changed);
    mem_free(file);
}

/* Bytes of the file changed at random: refused or read, never worse. */
static void
damaged_files(void **state)
{
    size_t len;
    char *file = slurp("llama3", ".json", &len);
    char *damaged = malloc(len);
    uint32_t seed = 1;
    size_t n_read = 0;

    (void)state;
    assert_non_null(damaged);
    for (int round = 0; round < 1500; round++) {
        tokenizer *tok = NULL;
        tokenizer_scratch *s;
        const int32_t *ids;
        size_t n;

        memcpy(damaged, file, len);
        for (uint32_t i = 0; i <= draw(&seed) % 3; i++)
            damaged[draw(&seed) % len] = "0\"{}[],:9-a \xc4"[draw(&seed) % 13];
        if (tokenizer_parse(&tok, damaged, len, "x") != ST_OK)
            continue;
        n_read++;
        EXPECT_OK(tokenizer_scratch_new(&s, tok));
        (void)!tokenizer_encode(s, &ids, &n, "a b <|eot|> 123\n", 16, true);
        tokenizer_scratch_free(s);
        tokenizer_close(tok);
    }
    assert_in_range(n_read, 1, 1499);
    free(damaged);
    mem_free(file);
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_of_the_reference),
        cmocka_unit_test(names_and_pieces),
        cmocka_unit_test(long_words),
        cmocka_unit_test(text_that_is_not_utf8),
        cmocka_unit_test(cuts_change_nothing),
        cmocka_unit_test(forced_cuts),
        cmocka_unit_test(files_refused),
        cmocka_unit_test(special_tokens_are_not_merged),
        cmocka_unit_test(variants_accepted),
        cmocka_unit_test(other_patterns),
        cmocka_unit_test(damaged_files),
    };

    return cmocka_run_group_tests_name("tokenizer", tests, NULL, NULL);
}
