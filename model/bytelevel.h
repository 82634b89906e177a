/* SPDX-License-Identifier: Apache-2.0 */
/* The printable letters that stand for bytes in tokenizer.json.
 *
 * Printable ASCII and Latin-1 characters stand for their own value; the other
 * 68 bytes, in order, for U+0100 and on (so a space is U+0120). */
#ifndef MODEL_BYTELEVEL_H
#define MODEL_BYTELEVEL_H

#include <stdbool.h>
#include <stddef.h>

/* out[0..*n), at most len bytes = what the letters stand for.  False when a
 * character is none of the letters; then *n means nothing. */
bool bytelevel_decode(char *out, size_t *n, const char *letters, size_t len);

#endif
