/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens that are found in the text as they are, before it is cut into words.
 *
 * Internal to the tokenizer. */
#ifndef MODEL_ADDED_H
#define MODEL_ADDED_H

#include "model/bytes.h"
#include "model/vocab.h"

enum { ADDED_MAX_LEN = 256 }; /* bytes of one */

typedef struct added_flags {
    bool lstrip, rstrip; /* spaces beside it are part of it */
    bool single_word;    /* only with neither letter nor digit beside it */
} added_flags;

typedef struct added_entry {
    size_t at, len; /* in `text` */
    int32_t id;
    added_flags flags;
} added_entry;

/* The file has them in two lists: those looked for first, and those that its
 * "normalized" puts behind, looked for in what is left when it is normalized,
 * and normalized themselves. */
typedef struct added {
    added_entry *entry; /* sorted by text after added_sort() */
    bytes text;
    size_t n, cap;
    size_t max_len;
    bool any_plain;  /* not all are special */
    added_flags any; /* of all entries */
    bool first[256]; /* bytes that one begins with */
    const vocab *vocab;
} added;

status added_init(added *a, const vocab *v, size_t max) MUST_USE;
void added_fini(added *a); /* zeroed is fine */

/* A token of the vocabulary that looks like text[0..len), len > 0, in the
 * text; at most `max` of them. */
status added_put(added *a, int32_t id, const char *text, size_t len,
                 added_flags flags) MUST_USE;
/* After the last.  ST_ARG: two have the same text. */
status added_sort(added *a) MUST_USE;

/* A walk through the ones of a text, from a zeroed state. */
typedef struct added_walk {
    size_t search; /* from where the next is looked for */
    size_t from;   /* where the last ended, with its spaces */
    int32_t id;    /* of the one that was found */
    size_t at;     /* where it begins, with its spaces */
} added_walk;

/* Goes on to the next; false: there is none.  The leftmost, and there the
 * longest, that begins in text[search..len).  One that its flags rule out, or
 * that is special without `special`, is passed over as a whole.  What is
 * before it and behind the one before is text[old from .. at). */
bool added_next(const added *a, added_walk *w, const char *text, size_t len,
                bool special);

/* Whether one lies, or might with more text lie, across text[at], or ends or
 * begins there. */
bool added_touches(const added *a, const char *text, size_t len, size_t at);

#endif
