/* SPDX-License-Identifier: Apache-2.0 */
/* What the two halves of reading tokenizer.json share: the tables
 * (tokenizer_parse.c) and the steps around them (tokenizer_steps.c). */
#ifndef MODEL_TOKENIZER_PARSER_H
#define MODEL_TOKENIZER_PARSER_H

#include "base/json.h"
#include "model/tokenizer_parts.h"

typedef struct tokenizer_parser {
    tokenizer *tok;
    const char *what; /* names the file */
    size_t len;       /* bytes of it */
    const json *root;
    int64_t max_id;
    char *word; /* room for the bytes of two parts of a merge */
    size_t word_cap;
    status st; /* of a walk over members */
} tokenizer_parser;

/* ST_ARG and ST_UNSUPPORTED, with the file's name. */
status tokenizer_parser_bad(const tokenizer_parser *p, const char *name,
                            const char *expected);
status tokenizer_parser_unsupported(const tokenizer_parser *p, const char *name,
                                    const char *value);

/* A flag that is absent or null has its default. */
bool tokenizer_parser_flag(const json *object, const char *name, bool fallback);

/* Normalizer, pre-tokenizer, post-processor, decoder.  The vocabulary and the
 * added tokens are there. */
status tokenizer_parser_steps(tokenizer_parser *p) MUST_USE;

#endif
