/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens that are found in the text as they are, before it is cut into words.
 *
 * Internal to the tokenizer. */
#ifndef MODEL_ADDED_H
#define MODEL_ADDED_H

#include "model/vocab.h"

enum { ADDED_MAX_LEN = 256 }; /* bytes of one */

typedef struct added_entry {
    const char *text; /* in the vocabulary */
    size_t len;
    int32_t id;
} added_entry;

/* The file has them in two lists: those looked for first, and those that its
 * "normalized" puts behind, looked for in what is left. */
typedef struct added {
    added_entry *entry; /* sorted by text after added_sort() */
    size_t n;
    size_t max_len;
    bool any_plain;  /* not all are special */
    bool first[256]; /* bytes that one begins with */
    const vocab *vocab;
} added;

status added_init(added *a, const vocab *v, size_t max) MUST_USE;
void added_fini(added *a); /* zeroed is fine */

/* A token of the vocabulary, not empty, at most `max` of them. */
void added_put(added *a, int32_t id);
/* After the last.  ST_ARG: two have the same text. */
status added_sort(added *a) MUST_USE;

/* The leftmost, and there the longest, that begins in text[from..len).
 * Special ones only if `special`.  NULL: none. */
const added_entry *added_next(const added *a, const char *text, size_t len,
                              size_t from, bool special, size_t *at);

/* Id of the one that is exactly this text; -1: none. */
int32_t added_find(const added *a, const char *text, size_t len);

/* Whether one lies, or might with more text lie, across text[at]. */
bool added_crosses(const added *a, const char *text, size_t len, size_t at);

#endif
