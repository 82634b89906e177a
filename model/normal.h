/* SPDX-License-Identifier: Apache-2.0 */
/* The steps that change text before it is cut into words.
 *
 * Each step rewrites the whole of a part of the text: what stands between
 * added tokens.  Internal to the tokenizer. */
#ifndef MODEL_NORMAL_H
#define MODEL_NORMAL_H

#include "model/unicode.h"

enum {
    NORMAL_MAX = 8,     /* steps */
    NORMAL_LONGEST = 16 /* bytes that a step puts in */
};

typedef enum normal_kind {
    NORMAL_NFC,
    NORMAL_REPLACE, /* every `from`, one character, by `to` */
    NORMAL_PREPEND, /* `to` before every part */
    NORMAL_PREFIX,  /* the same, but not before a part that begins with it */
    NORMAL_FIRST    /* the same, and only before the whole text */
} normal_kind;

typedef struct normal_step {
    normal_kind kind;
    char from[4], to[NORMAL_LONGEST];
    size_t n_from, n_to;
} normal_step;

typedef struct normal {
    normal_step step[NORMAL_MAX];
    size_t n;
} normal;

/* ST_LIMIT: there are NORMAL_MAX already. */
status normal_add(normal *p, const normal_step *step) MUST_USE;

bool normal_has(const normal *p, normal_kind kind);

/* Working memory of one thread. */
typedef struct normal_scratch {
    bytes text[2];
    unicode_scratch unicode;
} normal_scratch;
void normal_scratch_fini(normal_scratch *s); /* zeroed is fine */

/* A part of a text. */
typedef struct normal_part {
    const char *text;
    size_t len;
    bool begins; /* does not go on what was there before it */
    bool first;  /* the text begins with it */
} normal_part;

/* part->text becomes what the steps make of it, in the scratch (until its next
 * use) if there are any.  An empty part stays empty. */
status normal_apply(const normal *p, normal_scratch *s,
                    normal_part *part) MUST_USE;

/* Whether every step leaves as many characters as there were, but for what it
 * puts before a part that begins, and for normal form C. */
bool normal_keeps_places(const normal *p);

/* What the character c, of a text that is in normal form C, becomes: its last
 * and its first character. */
uint32_t normal_last(const normal *p, uint32_t c);
uint32_t normal_first(const normal *p, uint32_t c);

#endif
