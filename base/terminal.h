/* SPDX-License-Identifier: Apache-2.0 */
/* Text from elsewhere on its way to people: on a terminal it is UTF-8 without
 * control characters other than newline and tab (utf8_is_control()), so that
 * no answer and no name can move the cursor or pass for something else.  What
 * is no terminal gets every byte as it is. */
#ifndef BASE_TERMINAL_H
#define BASE_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Of one text, which may come in pieces.  Zeroed is no terminal. */
typedef struct terminal {
    bool is;         /* otherwise every byte passes */
    uint8_t n, need; /* bytes of a character: here, and of the whole */
    char held[4];
} terminal;

/* Whether `out` is one. */
void terminal_init(terminal *t, FILE *out);
/* Writes what is safe of len bytes; ferror() tells whether that went well. */
void terminal_write(terminal *t, FILE *out, const char *text, size_t len);
/* One whole text. */
void terminal_text(FILE *out, const char *text);

#endif
