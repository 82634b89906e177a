/* SPDX-License-Identifier: Apache-2.0 */
/* tokenizer.json files that are refused, changed and damaged. */
#include "model/tokenizer_parser.h"

#include "tests/model/families.h"

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

typedef struct refusal {
    const char *family, *from, *to;
    status st;
    const char *sentence;
} refusal;

static void
expect_refusals(const refusal *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        status st = parse_changed(cases[i].family, cases[i].from, cases[i].to);

        if (st != cases[i].st ||
            strstr(status_text(), cases[i].sentence) == NULL)
            fail_msg("%s %s: got %s (%s)", cases[i].family, cases[i].to,
                     status_name(st), status_text());
    }
}

/* What is not built is refused by its name. */
static void
kinds_refused(void **state)
{
    static const refusal cases[] = {
        {"llama3", "\"normalizer\":null", "\"normalizer\":{\"type\":\"NFKC\"}",
         ST_UNSUPPORTED, "normalizer NFKC"},
        {"llama2", "\"normalizers\":[",
         "\"normalizers\":[{\"type\":\"Lowercase\"},", ST_UNSUPPORTED,
         "normalizer Lowercase"},
        {"llama2", "{\"type\":\"Replace\"",
         "{\"type\":\"NFC\"},{\"type\":\"Replace\"", ST_UNSUPPORTED,
         "NFC behind"},
        {"llama2", "{\"String\":\" \"}", "{\"Regex\":\" \"}", ST_UNSUPPORTED,
         "normalizer Replace"},
        {"llama2", "{\"String\":\" \"}", "{\"String\":\"  \"}", ST_UNSUPPORTED,
         "one character"},
        {"llama3", "\"type\":\"BPE\"", "\"type\":\"Unigram\"", ST_UNSUPPORTED,
         "Unigram"},
        {"llama3", "\"byte_fallback\":false", "\"byte_fallback\":true",
         ST_UNSUPPORTED, "byte_fallback"},
        {"mistral", "\"ignore_merges\":false", "\"ignore_merges\":true",
         ST_UNSUPPORTED, "ignore_merges"},
        {"llama3", "\"dropout\":null", "\"dropout\":0.1", ST_UNSUPPORTED,
         "dropout"},
        {"llama3", "\"end_of_word_suffix\":null",
         "\"end_of_word_suffix\":\"</w>\"", ST_UNSUPPORTED,
         "end_of_word_suffix"},
        {"llama3", "\"behavior\":\"Isolated\"", "\"behavior\":\"Removed\"",
         ST_UNSUPPORTED, "Removed"},
        {"llama3", "\"invert\":false", "\"invert\":true", ST_UNSUPPORTED,
         "invert"},
        {"llama3", "{\"Regex\":", "{\"String\":", ST_UNSUPPORTED, "Split"},
        {"llama3", "\"type\":\"Split\"", "\"type\":\"Whitespace\"",
         ST_UNSUPPORTED, "Whitespace"},
        {"llama3", "\"type\":\"ByteLevel\"", "\"type\":\"Digits\"",
         ST_UNSUPPORTED, "without ByteLevel"},
        {"smollm", "\"pretokenizers\":[",
         "\"pretokenizers\":[{\"type\":\"ByteLevel\",\"use_regex\":true,"
         "\"add_prefix_space\":false},",
         ST_UNSUPPORTED, "more steps"},
        {"smollm", "\"pretokenizers\":[",
         "\"pretokenizers\":[{\"type\":\"Metaspace\",\"replacement\":\"_\"},",
         ST_UNSUPPORTED, "Metaspace"},
        {"mistral", "\"replacement\":\"\\u2581\"", "\"replacement\":\"_\"",
         ST_UNSUPPORTED, "mark _"},
        {"mistral", "\"prepend_scheme\":\"first\"",
         "\"prepend_scheme\":\"last\"", ST_UNSUPPORTED, "last"},
        {"llama3", "\"add_prefix_space\":false", "\"add_prefix_space\":true",
         ST_UNSUPPORTED, "add_prefix_space"},
        {"llama3", "\"type\":\"TemplateProcessing\"",
         "\"type\":\"BertProcessing\"", ST_UNSUPPORTED, "BertProcessing"},
        {"llama3", "\"decoder\":{\"type\":\"ByteLevel\"",
         "\"decoder\":{\"type\":\"Metaspace\"", ST_UNSUPPORTED, "Metaspace"},
        {"llama2", "\"decoder\":{\"type\":\"Sequence\"",
         "\"decoder\":{\"type\":\"ByteLevel\"", ST_UNSUPPORTED, "ByteLevel"},
        {"llama2", "\"decoder\":{", "\"decoder\":null,\"decoder_\":{",
         ST_UNSUPPORTED, "decoder"},
        {"llama2", "{\"type\":\"ByteFallback\"}", "{\"type\":\"CTC\"}",
         ST_UNSUPPORTED, "decoder step CTC"},
        {"llama2", "{\"type\":\"Fuse\"},", "", ST_UNSUPPORTED, "Strip"},
        {"llama2", "{\"type\":\"Fuse\"}",
         "{\"type\":\"Fuse\"},{\"type\":\"ByteFallback\"}", ST_UNSUPPORTED,
         "ByteFallback"},
        {"llama2", "\"stop\":0", "\"stop\":1", ST_UNSUPPORTED, "Strip"},
        {"llama2", "{\"String\":\"\\u2581\"}", "{\"Regex\":\"\\u2581\"}",
         ST_UNSUPPORTED, "decoder Replace"},
    };

    (void)state;
    expect_refusals(cases, sizeof(cases) / sizeof(cases[0]));
}

static void
values_refused(void **state)
{
    static const refusal cases[] = {
        {"llama3", "{\"Regex\":\"", "{\"Regex\":\"(", ST_ARG, "pattern"},
        {"llama2", "\"prepend\":\"\\u2581\"", "\"prepend\":\"\"", ST_ARG,
         "16 bytes"},
        {"llama2", "\"prepend\":\"\\u2581\"",
         "\"prepend\":\"01234567890123456\"", ST_ARG, "16 bytes"},
        {"llama2", "{\"String\":\"\\u2581\"},\"content\":\" \"",
         "{\"String\":\"\"},\"content\":\" \"", ST_ARG, "decoder replaces"},
        {"llama2", "\"start\":1", "\"start\":17", ST_ARG, "start"},
        {"llama2", "\"start\":1", "\"start\":-1", ST_ARG, "start"},
        {"llama2", "\"<0x41>\":", "\"<0x4G>\":", ST_ARG, "byte 0x41"},
        {"llama2", "\"merges\":[", "\"merges\":[\"<0x41> a\",", ST_ARG,
         "merge 0"},
        {"llama2", "\"merges\":[\"", "\"merges\":[\"\\u2581 <s>\",\"", ST_ARG,
         "merge 0"},
        {"llama3", "\"ids\":[700]", "\"ids\":[700,701]", ST_ARG, "one id"},
        {"llama3", "\"ids\":[700]", "\"ids\":[70000]", ST_ARG, "a token"},
        {"llama3", "\"ids\":[700]", "\"ids\":[-1]", ST_ARG, "a token"},
        {"llama3", "\"id\":700,", "\"id\":5,", ST_ARG, "two tokens"},
        {"llama3", "\"id\":700,", "\"id\":-5,", ST_ARG, "id"},
        {"llama3", "\"id\":700,", "\"id\":4294967296,", ST_ARG, "id"},
        {"llama3", "\"id\":700,", "\"id\":\"700\",", ST_ARG, "id"},
        {"llama3", "\"content\":\"<|begin_of_text|>\"", "\"content\":\"\"",
         ST_ARG, "added token"},
        {"llama3", "\"content\":\"<|begin_of_text|>\"",
         "\"content\":\"<|eot|>\"", ST_ARG, "the same"},
        {"llama3", "\"vocab\":{\"!\":0", "\"vocab\":{\"!\":1", ST_ARG,
         "two tokens"},
        {"llama3", "\"vocab\":{\"!\":0", "\"vocab\":{\"!\":1048576", ST_ARG,
         "id"},
        {"llama3", "\"vocab\":{\"!\":0", "\"vocab\":{\"!\":0.5", ST_ARG, "id"},
        {"llama3", "\"vocab\":{\"!\":0", "\"vocab\":{\"!\":0,\"!\":0", ST_ARG,
         "duplicate"},
        {"llama3", "\"vocab\":{", "\"vocab_\":{", ST_ARG, "vocab"},
        {"llama3", "\"merges\":[", "\"merges_\":[", ST_ARG, "merges"},
        {"llama3", "\"merges\":[", "\"merges\":[[\"!\",\"~!~\"],", ST_ARG,
         "merge 0"},
        {"llama3", "\"merges\":[", "\"merges\":[\"!\",", ST_ARG, "merge"},
        {"llama3", "\"merges\":[", "\"merges\":[\" !\",", ST_ARG, "merge"},
        {"llama3", "\"merges\":[", "\"merges\":[\"! \",", ST_ARG, "merge"},
        {"llama3", "\"merges\":[", "\"merges\":[[\"a\"],", ST_ARG, "merge"},
        {"llama3", "\"merges\":[", "\"merges\":[[\"a\",1],", ST_ARG, "merge"},
        {"llama3", "\"merges\":[", "\"merges\":[7,", ST_ARG, "merge"},
        {"llama3", "\"merges\":[", "\"merges\":[\"a b c\",", ST_ARG, "merge"},
        {"llama3", "\"model\":{", "\"model\":[],\"model_\":{", ST_ARG, "model"},
        {"neox", "\"unk_token\":null", "\"unk_token\":\"<none>\"", ST_ARG,
         "unk_token"},
        {"llama3", "{\"version\"", "[{\"version\"", ST_ARG, "line"},
        {"llama3", "{\"version\"", "", ST_ARG, "line"},
    };
    tokenizer *tok = NULL;

    (void)state;
    expect_refusals(cases, sizeof(cases) / sizeof(cases[0]));
    EXPECT_ST(tokenizer_parse(&tok, "", 0, "x"), ST_ARG);
    EXPECT_ST(tokenizer_parse(&tok, "[]", 2, "x"), ST_ARG);
    EXPECT_ST(tokenizer_parse(&tok, "{}", 2, "x"), ST_ARG);
}

/* No pre-tokenizer, normalizer or decoder has endless steps. */
static void
too_many_steps(void **state)
{
    static const char *const steps[] = {
        "{\"type\":\"Prepend\",\"prepend\":\"x\"},",
        "{\"type\":\"Digits\",\"individual_digits\":true},",
        "{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"},"
        "\"content\":\"b\"},"};
    static const char *const lists[] = {
        "\"normalizers\":[", "\"pretokenizers\":[", "\"decoders\":["};
    static const char *const names[] = {"llama2", "smollm", "llama2"};

    (void)state;
    for (int i = 0; i < 3; i++) {
        char text[2048];
        size_t n = (size_t)snprintf(text, sizeof(text), "%s", lists[i]);

        for (int k = 0; k < 9; k++)
            n += (size_t)snprintf(text + n, sizeof(text) - n, "%s", steps[i]);
        EXPECT_ST(parse_changed(names[i], lists[i], text), ST_LIMIT);
    }
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
    static const char *const cases[][3] = {
        {"llama3", "\"post_processor\":{\"type\":\"Sequence\"",
         "\"post_processor\":null,\"old\":{\"type\":\"Sequence\""},
        {"llama3", "\"dropout\":null", "\"dropout\":0.0"},
        {"llama3", "\"end_of_word_suffix\":null",
         "\"end_of_word_suffix\":\"\""},
        {"llama3", "\"type\":\"BPE\",", ""},
        {"llama3", "\"use_regex\":false", "\"use_regex\":true"},
        {"gpt2", "\"added_tokens\":", "\"unknown\":"},
        {"gpt2", "\"normalizer\":null,", ""},
        {"gpt2", "\"decoder\":{",
         "\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":"
         "\"ByteLevel\"}]},\"old\":{"},
        {"qwen2", "{\"type\":\"NFC\"}",
         "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"}]}"},
        {"mistral", "\"prepend_scheme\":\"first\"",
         "\"prepend_scheme\":\"never\""},
        {"mistral", "\"prepend_scheme\":\"first\"",
         "\"add_prefix_space\":false"},
        {"mistral", "\"byte_fallback\":true", "\"byte_fallback\":false"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        status st = parse_changed(cases[i][0], cases[i][1], cases[i][2]);

        if (st != ST_OK)
            fail_msg("%s %s: %s", cases[i][0], cases[i][2], status_text());
    }
    /* The template's token is gone with the added tokens. */
    EXPECT_ST(parse_changed("llama3", "\"added_tokens\":", "\"unknown\":"),
              ST_ARG);
}

/* Characters that are no tokens and have no bytes are the unknown token. */
static void
unknown_characters(void **state)
{
    static const struct {
        const char *fuse;
        size_t n;
    } cases[] = {{"\"fuse_unk\":true", 3}, {"\"fuse_unk\":false", 4}};
    size_t len;
    char *file = slurp("mistral", ".json", &len);
    char *at = strstr(file, "\"fuse_unk\":true,\"byte_fallback\":true");
    char *changed = malloc(len + 64);

    (void)state;
    assert_true(at != NULL && changed != NULL);
    for (int i = 0; i < 2; i++) {
        tokenizer *tok;
        tokenizer_scratch *s;
        const int32_t *ids;
        size_t n;

        (void)snprintf(changed, len + 64, "%.*s%s,\"byte_fallback\":false%s",
                       (int)(at - file), file, cases[i].fuse,
                       at + strlen("\"fuse_unk\":true,\"byte_fallback\":true"));
        EXPECT_OK(tokenizer_parse(&tok, changed, strlen(changed), "x"));
        EXPECT_OK(tokenizer_scratch_new(&s, tok));
        EXPECT_OK(tokenizer_encode(s, &ids, &n, "a\u1234\u1235b", 8, 0));
        assert_int_equal(n, cases[i].n);
        assert_int_equal(ids[0], tokenizer_find(tok, "\u2581a"));
        for (size_t k = 1; k + 1 < n; k++)
            assert_int_equal(ids[k], 0);
        assert_int_equal(ids[n - 1], tokenizer_find(tok, "b"));
        tokenizer_scratch_free(s);
        tokenizer_close(tok);
    }
    free(changed);
    mem_free(file);
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
        st = tokenizer_encode(s, &ids, &n, text, strlen(text), 0);
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

static void
damage_family(const char *family)
{
    size_t len;
    char *file = slurp(family, ".json", &len);
    char *damaged = malloc(len);
    uint32_t seed = 1;
    size_t n_read = 0;

    assert_non_null(damaged);
    for (int round = 0; round < 400; round++) {
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
        (void)!tokenizer_encode(s, &ids, &n, "a b <|eot|> 123\n", 16,
                                TOKENIZER_SPECIAL);
        tokenizer_scratch_free(s);
        tokenizer_close(tok);
    }
    assert_in_range(n_read, 1, 399);
    free(damaged);
    mem_free(file);
}

/* Bytes of the file changed at random: refused or read, never worse. */
static void
damaged_files(void **state)
{
    (void)state;
    for (int f = 0; f < N_FAMILY; f++)
        damage_family(families[f]);
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds_refused),
        cmocka_unit_test(values_refused),
        cmocka_unit_test(too_many_steps),
        cmocka_unit_test(unknown_characters),
        cmocka_unit_test(special_tokens_are_not_merged),
        cmocka_unit_test(variants_accepted),
        cmocka_unit_test(other_patterns),
        cmocka_unit_test(damaged_files),
    };

    return cmocka_run_group_tests_name("tokenizer_parse", tests, NULL, NULL);
}
