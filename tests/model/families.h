/* SPDX-License-Identifier: Apache-2.0 */
/* The families of tokenizers under model/data, for the tests of one. */
#ifndef TESTS_MODEL_FAMILIES_H
#define TESTS_MODEL_FAMILIES_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "model/tokenizer.h"
#include "tests/expect.h"

static const char *const families[] = {"llama3",  "gpt2",      "qwen2",
                                       "smollm",  "neox",      "llama2",
                                       "mistral", "metaspace", "pairs"};
enum { N_FAMILY = 9 };

static inline char *
slurp(const char *family, const char *suffix, size_t *len)
{
    char name[64];
    char *text;

    (void)snprintf(name, sizeof(name), "model/data/%s%s", family, suffix);
    EXPECT_OK(file_read(&text, len, name, 1 << 20));
    return text;
}

static inline tokenizer *
open_family(const char *family, tokenizer_scratch **scratch)
{
    tokenizer *tok;
    size_t len;
    char *text = slurp(family, ".json", &len);

    EXPECT_OK(tokenizer_parse(&tok, text, len, family));
    EXPECT_OK(tokenizer_scratch_new(scratch, tok));
    mem_free(text);
    return tok;
}

/* `list` is "rows" or "answers" of make_tokenizers.py. */
static inline json_doc *
open_vectors(const char *family, const char *list, const json **rows)
{
    json_doc *doc;
    size_t len;
    char *text = slurp(family, ".ids.json", &len);

    EXPECT_OK(json_parse(&doc, text, len, "vectors"));
    mem_free(text);
    *rows = json_get(json_root(doc), list);
    assert_in_range(json_size(*rows), 50, 1000);
    return doc;
}

/* The bytes of the tokens, one after the other, are the text. */
static inline void
expect_pieces(const tokenizer *tok, const int32_t *ids, size_t n,
              const char *text, size_t len)
{
    size_t total = 0;

    for (size_t i = 0; i < n; i++) {
        const char *token;
        size_t piece;

        tokenizer_piece(tok, ids[i], true, &token, &piece);
        assert_true(piece <= len - total);
        assert_memory_equal(token, text + total, piece);
        total += piece;
    }
    assert_int_equal(total, len);
}

static inline uint32_t
draw(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 8;
}

#endif
