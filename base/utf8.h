/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8 as The Unicode Standard's table 3-7 has it: shortest forms only, no
 * surrogates, nothing over U+10FFFF.  NUL is a character like any other. */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef enum utf8_kind {
    UTF8_GOOD = 0, /* a character */
    UTF8_BAD,      /* no character begins like this */
    UTF8_SHORT     /* valid so far, cut off by the end of the text */
} utf8_kind;

/* Looks at text[0..len), len > 0.  *n = bytes of the character, of the longest
 * beginning of one (what one U+FFFD stands for; at least 1), or what is there
 * of it. */
utf8_kind utf8_next(const char *text, size_t len, size_t *n);

/* The character of n = 1 to 4 bytes that utf8_next() called good. */
uint32_t utf8_value(const char *text, size_t n);

/* What no terminal may be told by others: C0, DEL and C1, the separators of
 * lines, and what turns the direction of the text around it. */
bool utf8_is_control(uint32_t c);

/* ST_ARG with the offset of the first bad byte. */
status utf8_check(const char *text, size_t len) MUST_USE;

/* Bytes at the end of text that are a cut-off but so far valid character. */
size_t utf8_tail(const char *text, size_t len);

#endif
