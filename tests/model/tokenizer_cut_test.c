/* SPDX-License-Identifier: Apache-2.0 */
/* Text in pieces has the ids of the whole, at borders and inside of words. */
#include "model/tokenizer_cut.h"

#include "tests/model/families.h"

/* All texts of the vectors, one after the other. */
static char *
all_texts(const char *family, size_t *len)
{
    const json *rows;
    json_doc *doc = open_vectors(family, "rows", &rows);
    char *all = malloc(1 << 18);

    assert_non_null(all);
    *len = 0;
    for (size_t i = 0; i < json_size(rows); i++) {
        size_t n;
        const char *text = json_text(json_at(json_at(rows, i), 0), &n);

        assert_true(*len + n < 1 << 18);
        memcpy(all + *len, text, n);
        *len += n;
    }
    json_free(doc);
    return all;
}

typedef struct arrival {
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
        size_t cut = 0;
        const int32_t *ids;
        size_t n_id;

        EXPECT_OK(tokenizer_cut(a->scratch, &cut, a->text + from, here,
                                a->limit, from > 0 ? TOKENIZER_GOES_ON : 0));
        assert_true(cut <= here && cut <= a->limit);
        if (cut == 0 && from + here < a->len) {
            here += 1 + draw(&seed) % max_piece;
            here = here < a->len - from ? here : a->len - from;
            continue;
        }
        if (cut == 0)
            cut = here;
        EXPECT_OK(tokenizer_encode(a->scratch, &ids, &n_id, a->text + from, cut,
                                   from > 0 ? TOKENIZER_GOES_ON : 0));
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
        int32_t *whole = malloc((len + 1) * sizeof(*whole));
        int32_t *out = malloc((len + 1) * sizeof(*out));
        const int32_t *ids;
        size_t n;

        assert_true(whole != NULL && out != NULL);
        EXPECT_OK(tokenizer_encode(s, &ids, &n, text, len, 0));
        memcpy(whole, ids, n * sizeof(*ids));
        for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
            assert_int_equal(
                encode_pieces(&(arrival){s, text, len, 4096}, pieces[i], out),
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

/* What the ids of a whole text and of its pieces are compared in. */
typedef struct room {
    char *text;
    int32_t *whole, *out;
    size_t len, n;
} room;

static room
open_room(size_t size)
{
    /* One id a byte, and one for the mark before the text. */
    room r = {.text = malloc(size),
              .whole = malloc((size + 1) * sizeof(int32_t)),
              .out = malloc((size + 1) * sizeof(int32_t))};

    assert_true(r.text != NULL && r.whole != NULL && r.out != NULL);
    return r;
}

static void
close_room(room *r)
{
    free(r->out);
    free(r->whole);
    free(r->text);
}

static void
encode_whole(room *r, tokenizer_scratch *s)
{
    const int32_t *ids;

    EXPECT_OK(tokenizer_encode(s, &ids, &r->n, r->text, r->len, 0));
    memcpy(r->whole, ids, r->n * sizeof(*ids));
}

static void
fill(room *r, const char *pattern, size_t size)
{
    size_t width = strlen(pattern);

    for (r->len = 0; r->len + width <= size; r->len += width)
        memcpy(r->text + r->len, pattern, width);
}

/* One word of many pieces, and words that no two characters tell apart. */
static void
giant_words(void **state)
{
    enum { SIZE = 50 << 10, LIMIT = 16 << 10 };
    static const char *const patterns[] = {
        "a",
        " ",
        "7",
        "!",
        "\u4e2d",
        "zq",
        "\u0e01",
        "\u0e01\u0e38",
        "\u0627\u064e",
        "thequickbrownfoxjumpsoverthelazydog",
        "\u1f600",
        "<|",
        "-=",
        "Aa1",
        "\u0301"};
    room r = open_room(SIZE);

    (void)state;
    for (int f = 0; f < N_FAMILY; f++) {
        tokenizer_scratch *s;
        tokenizer *tok = open_family(families[f], &s);

        for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
            bool nfc = normal_has(&tok->normalizer, NORMAL_NFC);
            size_t got;

            /* What follows a mark may change its place. */
            if (nfc && strcmp(patterns[i], "\u0301") == 0)
                continue;
            fill(&r, patterns[i], SIZE);
            encode_whole(&r, s);
            got = encode_pieces(&(arrival){s, r.text, r.len, LIMIT}, LIMIT,
                                r.out);
            if (got != r.n || memcmp(r.out, r.whole, got * sizeof(*r.out)) != 0)
                fail_msg("%s: pieces of %s differ", families[f], patterns[i]);
        }
        tokenizer_scratch_free(s);
        tokenizer_close(tok);
    }
    close_room(&r);
}

/* Where no place is safe the cut is at the limit, at a character's border, and
 * at the same places however the text arrives. */
static void
forced_cuts(void **state)
{
    enum { N = 9000 };
    static const uint32_t pieces[] = {1, 13, 999, N};
    tokenizer_scratch *s;
    tokenizer *tok = open_family("qwen2", &s);
    room r = open_room(N);
    size_t cut;

    (void)state;
    for (r.len = 0; r.len < N; r.len += 2)
        memcpy(r.text + r.len, r.len % 3000 < 2700 ? "\u0301" : " a", 2);
    EXPECT_OK(tokenizer_cut(s, &cut, r.text, 100, 1001, 0));
    assert_int_equal(cut, 0);
    EXPECT_OK(tokenizer_cut(s, &cut, r.text, 1001, 1001, 0));
    assert_int_equal(cut, 1000);
    EXPECT_OK(tokenizer_cut(s, &cut, r.text, N, 1001, 0));
    assert_int_equal(cut, 1000);
    EXPECT_OK(tokenizer_cut(s, &cut, r.text, 3000, 4000, 0));
    assert_in_range(cut, 2701, 2999);
    for (size_t i = 0; i < 4; i++) {
        size_t got =
            encode_pieces(&(arrival){s, r.text, N, 1001}, pieces[i], r.out);

        if (i == 0) {
            r.n = got;
            memcpy(r.whole, r.out, got * sizeof(*r.out));
        }
        assert_int_equal(got, r.n);
        assert_memory_equal(r.out, r.whole, r.n * sizeof(*r.out));
    }
    close_room(&r);
    tokenizer_scratch_free(s);
    tokenizer_close(tok);
}

/* Bytes that are no text are cut somewhere too: who encodes them says so. */
static void
cuts_of_garbage(void **state)
{
    enum { N = 70000 };
    uint32_t seed = 5;
    room r = open_room(N);

    (void)state;
    for (int f = 0; f < N_FAMILY; f++) {
        tokenizer_scratch *s;
        tokenizer *tok = open_family(families[f], &s);

        for (int round = 0; round < 20; round++) {
            size_t cut;

            for (size_t i = 0; i < N; i++)
                r.text[i] = (char)draw(&seed);
            EXPECT_OK(tokenizer_cut(s, &cut, r.text, N, TOKENIZER_PIECE, 0));
            assert_in_range(cut, 1, TOKENIZER_PIECE);
        }
        tokenizer_scratch_free(s);
        tokenizer_close(tok);
    }
    close_room(&r);
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(cuts_change_nothing),
        cmocka_unit_test(giant_words),
        cmocka_unit_test(forced_cuts),
        cmocka_unit_test(cuts_of_garbage),
    };

    return cmocka_run_group_tests_name("tokenizer_cut", tests, NULL, NULL);
}
