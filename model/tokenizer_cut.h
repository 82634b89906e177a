/* SPDX-License-Identifier: Apache-2.0 */
/* What the two ways of cutting a text share.  Internal to tokenizer_cut*.c. */
#ifndef MODEL_TOKENIZER_CUT_H
#define MODEL_TOKENIZER_CUT_H

#include "model/tokenizer_parts.h"

/* Whether no added token lies across text[at], 0 < at < len, or ends or begins
 * there, and none could take spaces from the other side. */
status tokenizer_cut_clear(tokenizer_scratch *s, bool *out, const char *text,
                           size_t len, size_t at) MUST_USE;

/* Bytes at the end that are left for later: what follows might change the
 * verdict on a place there, and then the cut would depend on how the text
 * arrived. */
size_t tokenizer_cut_margin(const tokenizer *tok);

/* A safe place in a whole piece in which no border is known by two characters
 * alone; *cut = 0 if there is none, or if it is not certain.  `text` may not
 * be UTF-8. */
status tokenizer_cut_giant(tokenizer_scratch *s, size_t *cut, const char *text,
                           size_t len, bool begins) MUST_USE;

#endif
