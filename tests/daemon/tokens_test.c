/* SPDX-License-Identifier: Apache-2.0 */
/* Input becomes ids on a thread: the same ids however it is cut. */
#include "daemon/tokens.h"

#include <poll.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "tests/daemon/scratch.h"
#include "tests/daemon/shortage.h"

enum { VOCAB = 300, MAX_IDS = 1 << 20 };

/* Byte-level, one merge ("ab"), one begin-of-text token. */
static char *
make_tokenizer_json(void)
{
    char *text;
    size_t len = 0;
    size_t cap = 16384;

    EXPECT_OK(mem_new(&text, cap, 1));
    len += (size_t)snprintf(
        text + len, cap - len,
        "{\"added_tokens\":[{\"id\":257,\"content\":\"<s>\",\"special\":true,"
        "\"single_word\":false,\"lstrip\":false,\"rstrip\":false,"
        "\"normalized\":false}],\"normalizer\":null,"
        "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,"
        "\"trim_offsets\":true,\"use_regex\":true},"
        "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":["
        "{\"SpecialToken\":{\"id\":\"<s>\",\"type_id\":0}},"
        "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],\"pair\":[],"
        "\"special_tokens\":{\"<s>\":{\"id\":\"<s>\",\"ids\":[257],"
        "\"tokens\":[\"<s>\"]}}},"
        "\"decoder\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true,"
        "\"trim_offsets\":true,\"use_regex\":true},"
        "\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":null,"
        "\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,"
        "\"fuse_unk\":false,\"byte_fallback\":false,\"ignore_merges\":false,"
        "\"vocab\":{");
    for (unsigned byte = 0, next = 256; byte < 256; byte++) {
        bool shown = (byte > 32 && byte < 127) ||
                     (byte > 160 && byte < 256 && byte != 173);
        unsigned code = shown ? byte : next++;

        len += (size_t)snprintf(text + len, cap - len, "\"\\u%04x\":%u,", code,
                                byte);
    }
    (void)snprintf(text + len, cap - len, "\"ab\":256},\"merges\":[\"a b\"]}}");
    return text;
}

typedef struct bench {
    scratch box;
    tokenizer *tok;
    template *chat;
    tokens *t;
    size_t n_report, n_done;
    tokens_report last;
    char text[256];
} bench;

static void
note(void *ctx, const tokens_report *r)
{
    bench *b = ctx;

    b->n_report++;
    if (r->st == ST_OK)
        assert_true(r->bytes >= b->last.bytes);
    b->last = *r;
    if (r->st != ST_OK)
        (void)snprintf(b->text, sizeof(b->text), "%s", r->text);
    b->n_done += r->done || r->st != ST_OK;
}

/* `around`: the text of a template, or NULL. */
static void
init_with(bench *b, const char *around)
{
    const char *chat = "plain";
    char *json = make_tokenizer_json();

    *b = (bench){0};
    scratch_init(&b->box);
    EXPECT_OK(tokenizer_parse(&b->tok, json, strlen(json), "test"));
    mem_free(json);
    if (around) {
        chat = scratch_path(&b->box, "template");
        EXPECT_OK(file_write(chat, around, strlen(around)));
    }
    EXPECT_OK(template_open(&b->chat, chat, b->box.dir, b->tok));
    EXPECT_OK(tokens_new(&b->t, b->tok, b->chat, VOCAB, b->box.dir));
    tokens_on_report(b->t, note, b);
}

static void
init(bench *b)
{
    init_with(b, NULL);
}

static void
fini(bench *b)
{
    tokens_free(b->t);
    template_close(b->chat);
    tokenizer_close(b->tok);
    scratch_fini(&b->box);
}

static void
wait_done(bench *b, size_t n)
{
    struct pollfd p = {.fd = tokens_fd(b->t), .events = POLLIN};

    while (b->n_done < n) {
        assert_int_equal(poll(&p, 1, 10000), 1);
        tokens_collect(b->t);
    }
}

static void
push(tokens_input *in, const void *data, size_t len, bool last)
{
    uint8_t *copy;

    EXPECT_OK(mem_new(&copy, len, 1));
    memcpy(copy, data, len);
    EXPECT_OK(tokens_input_push(in, &copy, len, last));
    assert_null(copy);
}

static void
sum(const void *data, size_t len, uint8_t out[HASH_BYTES])
{
    hash h;

    hash_init(&h);
    hash_add(&h, data, len);
    hash_end(&h, out);
}

/* Pushes data in chunks of `step` bytes and waits; the spool is the caller's,
 * NULL after a failure. */
static spool *
feed(bench *b, const tokens_setup *setup, const void *data, size_t len,
     size_t step)
{
    tokens_input *in;
    tokens_setup whole = *setup;
    size_t before = b->n_done;

    b->last = (tokens_report){0};
    whole.bytes = len;
    sum(data, len, whole.hash);
    EXPECT_OK(tokens_input_new(&in, b->t, &whole));
    for (size_t at = 0; at < len; at += step) {
        size_t n = len - at < step ? len - at : step;

        push(in, (const char *)data + at, n, at + n == len);
    }
    wait_done(b, before + 1);
    return b->last.ids;
}

static void
expect_ids(spool *s, const int32_t *ids, size_t n)
{
    int32_t *got;

    assert_non_null(s);
    assert_int_equal(spool_count(s), n);
    EXPECT_OK(mem_new(&got, n, sizeof(*got)));
    EXPECT_OK(spool_read(s, got, 0, n));
    assert_memory_equal(got, ids, n * sizeof(*ids));
    mem_free(got);
    spool_free(s);
}

/* What lies in a file is read from there; what is damaged is never used. */
static void
files_are_checked(void **state)
{
    bench b;
    tokens_setup setup = {.job = 1, .text = true, .max_tokens = UINT64_MAX};
    tokens_input *in;
    char *data;
    size_t len = 200000;

    (void)state;
    init(&b);
    EXPECT_OK(mem_new(&data, len, 1));
    memset(data, 'a', len);
    setup.path = scratch_path(&b.box, "in");
    setup.bytes = len;
    sum(data, len, setup.hash);
    EXPECT_OK(file_write(setup.path, data, len));
    EXPECT_OK(tokens_input_new(&in, b.t, &setup));
    wait_done(&b, 1);
    assert_int_equal(b.last.st, ST_OK);
    assert_int_equal(b.last.count, len);
    spool_free(b.last.ids);
    for (int damage = 0; damage < 3; damage++) {
        data[150000] = damage == 0 ? 'b' : 'a';
        EXPECT_OK(file_write(setup.path, data, len - (damage == 1)));
        if (damage == 2)
            EXPECT_OK(file_remove(setup.path));
        b.last = (tokens_report){0};
        EXPECT_OK(tokens_input_new(&in, b.t, &setup));
        wait_done(&b, 2 + (size_t)damage);
        assert_int_equal(b.last.st, ST_IO);
    }
    mem_free(data);
    fini(&b);
}

static void
text_becomes_ids(void **state)
{
    bench b;
    tokens_setup setup = {
        .job = 1, .text = true, .begin = true, .max_tokens = UINT64_MAX};
    const int32_t ids[] = {257, 256, 'c', ' ', 256, '<', 's', '>'};

    (void)state;
    init(&b);
    expect_ids(feed(&b, &setup, "abc ab<s>", 9, 9), ids, 8);
    assert_int_equal(b.last.bytes, 9);
    for (size_t step = 1; step < 9; step++)
        expect_ids(feed(&b, &setup, "abc ab<s>", 9, step), ids, 8);
    setup.begin = false;
    expect_ids(feed(&b, &setup, "abc ab<s>", 9, 9), ids + 1, 7);
    fini(&b);
}

/* Characters and words over every kind of border. */
static void
long_text_does_not_depend_on_the_cut(void **state)
{
    static const size_t steps[] = {1000, 65536, 65537, 300000};
    bench b;
    tokens_setup setup = {
        .job = 1, .text = true, .begin = true, .max_tokens = UINT64_MAX};
    static const char word[] = "ab \xc3\xa4\xe2\x82\xac"
                               "ab!";
    size_t len = (sizeof(word) - 1) * 30000;
    char *text;
    int32_t *first;

    (void)state;
    init(&b);
    EXPECT_OK(mem_new(&text, len, 1));
    EXPECT_OK(mem_new(&first, MAX_IDS, sizeof(*first)));
    for (size_t i = 0; i < len; i++)
        text[i] = word[i % (sizeof(word) - 1)];
    for (size_t i = 0; i < 4; i++) {
        spool *s = feed(&b, &setup, text, len, steps[i]);

        assert_non_null(s);
        if (i == 0)
            EXPECT_OK(spool_read(s, first, 0, (size_t)spool_count(s)));
        /* begin, then "ab", a space, 2 and 3 bytes, "ab", '!' */
        expect_ids(s, first, 1 + 30000 * 9);
    }
    assert_true(b.n_report > 8); /* piece by piece */
    mem_free(first);
    mem_free(text);
    fini(&b);
}

static void
bad_text_is_named(void **state)
{
    bench b;
    tokens_setup setup = {
        .job = 7, .text = true, .begin = true, .max_tokens = UINT64_MAX};
    char *text;
    size_t len = 100000;

    (void)state;
    init(&b);
    assert_null(feed(&b, &setup,
                     "ab\xff"
                     "cd",
                     5, 5));
    assert_int_equal(b.last.st, ST_ARG);
    assert_int_equal(b.last.job, 7);
    assert_non_null(strstr(b.text, "byte 2"));
    assert_null(feed(&b, &setup, "ab\xe2\x82", 4, 1)); /* cut off */
    assert_int_equal(b.last.st, ST_ARG);
    EXPECT_OK(mem_new(&text, len, 1));
    memset(text, 'x', len);
    text[90000] = '\xc0';
    assert_null(feed(&b, &setup, text, len, 1000));
    assert_non_null(strstr(b.text, "byte 90000"));
    mem_free(text);
    fini(&b);
}

static void
ids_are_checked(void **state)
{
    bench b;
    tokens_setup setup = {.job = 1, .max_tokens = 4};
    int32_t ids[] = {0, 299, 5, 6, 7};

    (void)state;
    init(&b);
    for (size_t step = 1; step < 16; step += 3)
        expect_ids(feed(&b, &setup, ids, 16, step), ids, 4);
    assert_null(feed(&b, &setup, ids, 20, 20));
    assert_int_equal(b.last.st, ST_LIMIT);
    ids[1] = 300;
    assert_null(feed(&b, &setup, ids, 8, 8));
    assert_int_equal(b.last.st, ST_ARG);
    ids[1] = -1;
    assert_null(feed(&b, &setup, ids, 8, 8));
    assert_int_equal(b.last.st, ST_ARG);
    assert_null(feed(&b, &setup, ids, 6, 6)); /* half an id */
    assert_int_equal(b.last.st, ST_ARG);
    fini(&b);
}

static void
pending_ids_come_first(void **state)
{
    bench b;
    const int32_t pending[] = {9, 8, 7};
    const int32_t all[] = {9, 8, 7, 256};
    tokens_setup setup = {
        .job = 1, .text = true, .n_pending = 3, .max_tokens = 1};

    (void)state;
    init(&b);
    setup.pending = scratch_path(&b.box, "ids");
    EXPECT_OK(file_write(setup.pending, pending, sizeof(pending)));
    expect_ids(feed(&b, &setup, "ab", 2, 2), all, 4);
    sum(pending, sizeof(pending), setup.pending_hash);
    expect_ids(feed(&b, &setup, "ab", 2, 2), all, 4);
    setup.pending_hash[5] ^= 1; /* others of the same length */
    assert_null(feed(&b, &setup, "ab", 2, 2));
    assert_int_equal(b.last.st, ST_IO);
    setup.pending_hash[5] ^= 1;
    setup.n_pending = 4;
    assert_null(feed(&b, &setup, "ab", 2, 2));
    assert_int_equal(b.last.st, ST_IO);
    setup.pending = "/nowhere";
    assert_null(feed(&b, &setup, "ab", 2, 2));
    assert_int_equal(b.last.st, ST_NOTFOUND);
    fini(&b);
}

/* Looks again, as the daemon's timer does, until it is done. */
static void
try_until_done(bench *b, tokens_input *in, size_t n)
{
    while (b->n_done < n) {
        struct pollfd p = {.fd = tokens_fd(b->t), .events = POLLIN};

        if (poll(&p, 1, 10) == 1)
            tokens_collect(b->t);
        if (b->n_done < n && tokens_input_waits(in))
            tokens_input_again(in);
    }
}

static void
wait_until_short(bench *b, const tokens_input *in)
{
    while (!tokens_input_waits(in)) {
        struct pollfd p = {.fd = tokens_fd(b->t), .events = POLLIN};

        assert_int_equal(poll(&p, 1, 10000), 1);
        tokens_collect(b->t);
        assert_int_equal(b->n_report, 0);
    }
}

/* Whatever file could not be opened, nothing of the input is there twice or
 * left out. */
static void
a_shortage_passes(void **state)
{
    static const int32_t all[] = {9, 8, 7, 256, 'c'};
    bench b;
    tokens_setup setup = {
        .job = 1, .text = true, .n_pending = 3, .bytes = 3, .max_tokens = 8};
    char ids[256], path[256];
    tokens_input *in;

    (void)state;
    init(&b);
    (void)snprintf(ids, sizeof(ids), "%s", scratch_path(&b.box, "ids"));
    (void)snprintf(path, sizeof(path), "%s", scratch_path(&b.box, "in"));
    EXPECT_OK(file_write(ids, all, 3 * sizeof(*all)));
    EXPECT_OK(file_write(path, "abc", 3));
    sum("abc", 3, setup.hash);
    setup.pending = ids;
    setup.path = path;
    for (int spare = 0; spare < 2; spare++) { /* of the spool; of `ids` */
        int kept = spare ? dup(STDIN_FILENO) : -1;
        rlim_t before = shortage_begin();

        if (spare)
            assert_int_equal(close(kept), 0);
        b.n_report = 0;
        EXPECT_OK(tokens_input_new(&in, b.t, &setup));
        wait_until_short(&b, in);
        shortage_end(before);
        try_until_done(&b, in, 1 + (size_t)spare);
        assert_int_equal(b.last.st, ST_OK);
        expect_ids(b.last.ids, all, 5);
    }
    fini(&b);
}

static void
nobody_waits_for_a_shortage_to_pass(void **state)
{
    bench b;
    tokens_setup setup = {.job = 1, .text = true, .max_tokens = 8};
    rlim_t before;
    tokens_input *in;

    (void)state;
    init(&b);
    EXPECT_OK(tokens_input_new(&in, b.t, &setup));
    before = shortage_begin();
    push(in, "abc", 3, true);
    wait_until_short(&b, in);
    tokens_input_cancel(in);
    shortage_end(before);
    fini(&b);
}

/* One that is canceled says nothing more; the others go on. */
static void
inputs_are_canceled(void **state)
{
    bench b;
    tokens_setup setup = {.job = 1, .text = true, .max_tokens = UINT64_MAX};
    tokens_input *idle;
    tokens_input *busy;
    char *text;
    const int32_t ids[] = {256};

    (void)state;
    init(&b);
    EXPECT_OK(mem_new(&text, 1 << 20, 1));
    memset(text, ' ', 1 << 20);
    EXPECT_OK(tokens_input_new(&idle, b.t, &setup));
    EXPECT_OK(tokens_input_new(&busy, b.t, &setup));
    push(busy, text, 1 << 20, true);
    tokens_input_cancel(idle);
    tokens_input_cancel(busy);
    setup.job = 2;
    expect_ids(feed(&b, &setup, "ab", 2, 2), ids, 1);
    assert_int_equal(b.n_done, 1);
    assert_int_equal(b.last.job, 2);
    mem_free(text);
    fini(&b);
}

/* What a template puts around text: not around ids, not twice, and not counted
 * as the question's own. */
static void
a_template_stands_around_text(void **state)
{
    bench b;
    tokens_setup document = {
        .job = 1, .text = true, .begin = true, .max_tokens = UINT64_MAX};
    tokens_setup question = {
        .job = 2, .text = true, .question = true, .max_tokens = 3};
    tokens_setup bare = {.job = 3, .question = true, .max_tokens = 3};
    const int32_t first[] = {257, 'D', 257, 'x', ' ', 256};
    const int32_t second[] = {'Q', '<', 's', '>', 'A', 257};
    const int32_t ids[] = {7};

    (void)state;
    init_with(&b, "D<s>{document}Q{question}A<s>\n");
    for (size_t step = 1; step < 5; step++) {
        expect_ids(feed(&b, &document, "x ab", 4, step), first, 6);
        expect_ids(feed(&b, &question, "<s>", 3, step), second, 6);
    }
    assert_int_equal(b.last.bytes, 3);
    assert_null(feed(&b, &question, "1234", 4, 4));
    assert_int_equal(b.last.st, ST_LIMIT);
    expect_ids(feed(&b, &bare, ids, 4, 4), ids, 1);
    fini(&b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_are_checked),
        cmocka_unit_test(text_becomes_ids),
        cmocka_unit_test(long_text_does_not_depend_on_the_cut),
        cmocka_unit_test(bad_text_is_named),
        cmocka_unit_test(ids_are_checked),
        cmocka_unit_test(pending_ids_come_first),
        cmocka_unit_test(a_shortage_passes),
        cmocka_unit_test(nobody_waits_for_a_shortage_to_pass),
        cmocka_unit_test(inputs_are_canceled),
        cmocka_unit_test(a_template_stands_around_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
