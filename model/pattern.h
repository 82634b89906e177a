/* SPDX-License-Identifier: Apache-2.0 */
/* A regular expression that cuts text into words: the owner of PCRE2.
 *
 * A pattern may come from outside, so each match has a budget of steps and of
 * memory.  Internal to the tokenizer. */
#ifndef MODEL_PATTERN_H
#define MODEL_PATTERN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

extern const char pattern_gpt2[]; /* the one that ByteLevel has itself */

typedef struct pattern pattern;                 /* read only once made */
typedef struct pattern_scratch pattern_scratch; /* of one thread */

/* ST_ARG: the pattern does not compile; ST_LIMIT: it is too long. */
status pattern_new(pattern **out, const char *text, size_t len) MUST_USE;
void pattern_free(pattern *p);

/* Whether it is one of those whose borders tokenizer_cut.c knows. */
bool pattern_is_known(const pattern *p);

status pattern_scratch_new(pattern_scratch **out, const pattern *p) MUST_USE;
void pattern_scratch_free(pattern_scratch *s);

/* The word that begins at text[at], at < len, ends before *end > at: what the
 * pattern matches, or what is left before its next match.  `text` is UTF-8.
 * ST_LIMIT: the budget is used up. */
status pattern_next(const pattern *p, pattern_scratch *s, const char *text,
                    size_t len, size_t at, size_t *end) MUST_USE;

#endif
