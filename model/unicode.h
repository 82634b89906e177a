/* SPDX-License-Identifier: Apache-2.0 */
/* What characters are, and normal form C: the owner of utf8proc.
 *
 * Text is UTF-8 that was checked.  Which characters have a property depends on
 * the version of Unicode that utf8proc has.  Internal to the tokenizer. */
#ifndef MODEL_UNICODE_H
#define MODEL_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "model/bytes.h"

bool unicode_is_space(uint32_t c);  /* White_Space */
bool unicode_is_letter(uint32_t c); /* Lu, Ll, Lt, Lm, Lo */
bool unicode_is_number(uint32_t c); /* Nd, Nl, No */
bool unicode_is_word(uint32_t c);   /* what \w of a regular expression is */

/* Whether c stays as it is in normal form C and nothing before it ever joins
 * with it or changes place with it, so that text may be normalized from here
 * on by itself.  False where that is not certain. */
bool unicode_is_inert(uint32_t c);

/* The character that ends before text[at], at > 0, or begins at text[at],
 * at < len; 0 if there is none. */
uint32_t unicode_before(const char *text, size_t at);
uint32_t unicode_at(const char *text, size_t len, size_t at);

/* Working memory of one thread. */
typedef struct unicode_scratch {
    int32_t *c;
    int32_t *sorted; /* as long as c */
    size_t n, cap;
} unicode_scratch;
void unicode_scratch_fini(unicode_scratch *s); /* zeroed is fine */

/* Adds normal form C of text[0..len) to `out`.  Linear time. */
status unicode_nfc(unicode_scratch *s, bytes *out, const char *text,
                   size_t len) MUST_USE;

#endif
