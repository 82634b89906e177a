/* SPDX-License-Identifier: Apache-2.0 */
/* Cuts text into the words that are merged one by one: the owner of PCRE2.
 *
 * A pattern may come from outside, so each match has a budget of steps and of
 * memory.  Internal to the tokenizer. */
#ifndef MODEL_PRETOKEN_H
#define MODEL_PRETOKEN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

extern const char pretoken_gpt2[]; /* the pattern that ByteLevel has itself */

typedef struct pretoken pretoken;                 /* read only once made */
typedef struct pretoken_scratch pretoken_scratch; /* of one thread */

/* ST_ARG: the pattern does not compile; ST_LIMIT: it is too long. */
status pretoken_new(pretoken **out, const char *pattern, size_t len) MUST_USE;
void pretoken_free(pretoken *p);

/* Whether the pattern is one of those for which pretoken_border() holds. */
bool pretoken_is_known(const pretoken *p);

/* Whether a known pattern always ends a word at text[at], 0 < at < len,
 * whatever else the text is.  False where it is not certain. */
bool pretoken_border(const char *text, size_t len, size_t at);

status pretoken_scratch_new(pretoken_scratch **out, const pretoken *p) MUST_USE;
void pretoken_scratch_free(pretoken_scratch *s);

/* The word that begins at text[at], at < len, ends before *end > at.  `text`
 * is UTF-8.  ST_LIMIT: the budget is used up. */
status pretoken_next(const pretoken *p, pretoken_scratch *s, const char *text,
                     size_t len, size_t at, size_t *end) MUST_USE;

#endif
