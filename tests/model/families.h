/* SPDX-License-Identifier: Apache-2.0 */
/* The two families of tokenizers under model/data, for the tests of one. */
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

static const char *const families[] = {"llama3", "gpt2"};
enum { N_FAMILY = 2 };

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

static inline json_doc *
open_vectors(const char *family)
{
    json_doc *doc;
    size_t len;
    char *text = slurp(family, ".ids.json", &len);

    EXPECT_OK(json_parse(&doc, text, len, "vectors"));
    mem_free(text);
    assert_in_range(json_size(json_root(doc)), 100, 1000);
    return doc;
}

#endif
