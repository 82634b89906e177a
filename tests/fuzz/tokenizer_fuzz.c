/* SPDX-License-Identifier: Apache-2.0 */
/* tokenizer.json and a text for it, with a NUL between them. */
#include "model/tokenizer.h"

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

static void
try_text(const tokenizer *tok, const char *text, size_t len, bool special)
{
    tokenizer_scratch *scratch = NULL;
    const int32_t *ids;
    size_t n = 0;

    if (tokenizer_scratch_new(&scratch, tok) != ST_OK)
        return;
    if (tokenizer_encode(scratch, &ids, &n, text, len, special) == ST_OK) {
        for (size_t i = 0; i < n; i++)
            CHECK(ids[i] >= 0 && (uint32_t)ids[i] < tokenizer_size(tok));
        check_answer(tok, ids, n);
    }
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
        try_text(tok, end + 1, size - len - 1, false);
        try_text(tok, end + 1, size - len - 1, true);
    }
    tokenizer_close(tok);
    return 0;
}
