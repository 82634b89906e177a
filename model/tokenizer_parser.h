/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of reading tokenizer.json share: the tables
 * (tokenizer_parse.c), the steps before them (tokenizer_steps.c) and behind
 * them (tokenizer_ends.c). */
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
    bool letters; /* tokens are in the letters of bytelevel.h */
    char *word;   /* room for the bytes of two parts of a merge */
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

/* The "type" of a step; "" when it has none. */
bool tokenizer_parser_is(const json *step, const char *type);
const char *tokenizer_parser_type(const json *step);

/* How Metaspace puts a mark before the text: "always", "first" or "never". */
const char *tokenizer_parser_scheme(const json *metaspace);

/* ST_UNSUPPORTED: Metaspace with another mark than U+2581. */
status tokenizer_parser_mark(const tokenizer_parser *p,
                             const json *metaspace) MUST_USE;

/* Normalizer and pre-tokenizer; sets p->letters. */
status tokenizer_parser_steps(tokenizer_parser *p) MUST_USE;

/* Post-processor and decoder.  Vocabulary and added tokens are there. */
status tokenizer_parser_ends(tokenizer_parser *p) MUST_USE;

#endif
