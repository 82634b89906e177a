/* SPDX-License-Identifier: Apache-2.0 */
/* What the bytes of each token are in an answer.
 *
 * Made once from the vocabulary, as the file's decoder says; read only then.
 * Internal to the tokenizer. */
#ifndef MODEL_SPELLING_H
#define MODEL_SPELLING_H

#include "model/bytes.h"
#include "model/vocab.h"

enum { SPELLING_MAX_SWAP = 4, SPELLING_MARK = 16 };

/* Every `from` of a token becomes `to`. */
typedef struct spelling_swap {
    char from[SPELLING_MARK], to[SPELLING_MARK];
    size_t n_from, n_to;
} spelling_swap;

typedef struct spelling_setup {
    bool letters;    /* tokens are in the letters of bytelevel.h */
    bool byte_names; /* "<0xNN>" is a byte */
    bool drop_first; /* the swaps remove, in the first token of an answer */
    size_t n_strip;  /* spaces at the beginning of an answer that go */
    spelling_swap swap[SPELLING_MAX_SWAP];
    size_t n_swap;
} spelling_setup;

typedef struct spelling {
    spelling_setup set;
    bytes text;
    uint32_t *end; /* of token i in text; it begins where i - 1 ends */
    uint32_t n_token;
    uint8_t *is_byte; /* bits */
} spelling;

/* ST_LIMIT: the bytes of all tokens are too many. */
status spelling_init(spelling *s, const vocab *v,
                     const spelling_setup *set) MUST_USE;
void spelling_fini(spelling *s); /* zeroed is fine */

/* Bytes of a token, id < n_token. */
const char *spelling_of(const spelling *s, int32_t id, size_t *len);

/* Whether it is one byte by name. */
bool spelling_is_byte(const spelling *s, int32_t id);

/* Adds the bytes of the token that an answer begins with. */
status spelling_first(const spelling *s, const vocab *v, int32_t id,
                      bytes *out) MUST_USE;

#endif
