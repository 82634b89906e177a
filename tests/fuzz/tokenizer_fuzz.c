/* SPDX-License-Identifier: Apache-2.0 */
/* tokenizer.json and a text for it, with a NUL between them. */
#include "model/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"

static void
check_answer(const tokenizer *tok, const int32_t *ids, size_t n)
{
    static const char *const stops[] = {"ab", "\n"};
    tokenizer_stream *s = NULL;
    const char *text;
    size_t len;
    bool stopped = false;

    if (tokenizer_stream_new(&s, tok, stops, 2) != ST_OK)
        return;
    for (size_t i = 0; i < n && !stopped; i++)
        CHECK(tokenizer_stream_push(s, ids[i], &text, &len, &stopped) == ST_OK);
    CHECK(tokenizer_stream_finish(s, &text, &len) == ST_OK);
    tokenizer_stream_free(s);
}

/* A place that tokenizer_cut() gives of its own changes no id. */
static void
check_cut(tokenizer_scratch *scratch, const char *text, size_t len,
          unsigned flags)
{
    const int32_t *ids;
    int32_t *whole;
    size_t cut = 0;
    size_t n = 0;
    size_t n_whole = 0;

    CHECK(tokenizer_cut(scratch, &cut, text, len, len + 1, flags) == ST_OK);
    CHECK(cut == 0 || cut < len);
    if (cut == 0 ||
        tokenizer_encode(scratch, &ids, &n_whole, text, len, flags) != ST_OK)
        return;
    whole = malloc((n_whole + 1) * sizeof(*whole));
    CHECK(whole != NULL);
    memcpy(whole, ids, n_whole * sizeof(*whole));
    CHECK(tokenizer_encode(scratch, &ids, &n, text, cut, flags) == ST_OK);
    CHECK(n <= n_whole && memcmp(ids, whole, n * sizeof(*ids)) == 0);
    n_whole -= n;
    memmove(whole, whole + n, n_whole * sizeof(*whole));
    CHECK(tokenizer_encode(scratch, &ids, &n, text + cut, len - cut,
                           flags | TOKENIZER_GOES_ON) == ST_OK);
    CHECK(n == n_whole && memcmp(ids, whole, n * sizeof(*ids)) == 0);
    free(whole);
    /* With so little room some place is found by all means. */
    CHECK(tokenizer_cut(scratch, &cut, text, len, (len + 1) / 2, flags) ==
          ST_OK);
    CHECK(cut > 0 && cut <= (len + 1) / 2);
}

static void
try_text(const tokenizer *tok, const char *text, size_t len, unsigned flags)
{
    tokenizer_scratch *scratch = NULL;
    const int32_t *ids;
    size_t n = 0;

    if (tokenizer_scratch_new(&scratch, tok) != ST_OK)
        return;
    if (tokenizer_encode(scratch, &ids, &n, text, len, flags) == ST_OK) {
        for (size_t i = 0; i < n; i++)
            CHECK(ids[i] >= 0 && (uint32_t)ids[i] < tokenizer_size(tok));
        check_answer(tok, ids, n);
    }
    if (len > 0)
        check_cut(scratch, text, len, flags);
    tokenizer_scratch_free(scratch);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *json = (const char *)data;
    const char *end = size > 0 ? memchr(json, 0, size) : NULL;
    size_t len = end ? (size_t)(end - json) : size;
    tokenizer *tok = NULL;

    if (tokenizer_parse(&tok, json, len, "fuzz") != ST_OK)
        return 0;
    CHECK(tokenizer_bos(tok) < (int64_t)tokenizer_size(tok));
    if (end) {
        try_text(tok, end + 1, size - len - 1, 0);
        try_text(tok, end + 1, size - len - 1, TOKENIZER_SPECIAL);
    }
    tokenizer_close(tok);
    return 0;
}
