/* SPDX-License-Identifier: Apache-2.0 */
/* Cuts text into the words that are merged one by one: a row of steps, each of
 * which cuts the words of the one before.
 *
 * Internal to the tokenizer. */
#ifndef MODEL_PRETOKEN_H
#define MODEL_PRETOKEN_H

#include "model/pattern.h"

enum { PRETOKEN_MAX = 8 }; /* steps */

typedef enum pretoken_kind {
    PRETOKEN_PATTERN, /* by a regular expression */
    PRETOKEN_DIGIT,   /* every number character is a word */
    PRETOKEN_DIGITS,  /* every run of number characters is one */
    PRETOKEN_MARK     /* one begins at every mark of a space, U+2581 */
} pretoken_kind;

/* Read only once it is filled; zeroed: the whole text is one word. */
typedef struct pretoken {
    pretoken_kind kind[PRETOKEN_MAX];
    pattern *pattern[PRETOKEN_MAX];
    size_t n;
} pretoken;

void pretoken_fini(pretoken *p);

/* ST_LIMIT: there are PRETOKEN_MAX already. */
status pretoken_add(pretoken *p, pretoken_kind kind) MUST_USE;
status pretoken_add_pattern(pretoken *p, const char *text, size_t len) MUST_USE;

/* Whether the steps are among those whose borders tokenizer_cut.c knows. */
bool pretoken_is_known(const pretoken *p);

/* Of one thread. */
typedef struct pretoken_scratch {
    pattern_scratch *pattern[PRETOKEN_MAX];
} pretoken_scratch;
status pretoken_scratch_init(pretoken_scratch *s, const pretoken *p) MUST_USE;
void pretoken_scratch_fini(pretoken_scratch *s); /* zeroed is fine */

/* Called for each word in turn; anything but ST_OK ends the walk. */
typedef status pretoken_fn(void *ctx, const char *word, size_t len);

/* All words of the text.  ST_LIMIT: a pattern's budget is used up. */
status pretoken_each(const pretoken *p, pretoken_scratch *s, const char *text,
                     size_t len, pretoken_fn *fn, void *ctx) MUST_USE;

#endif
