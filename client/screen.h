/* SPDX-License-Identifier: Apache-2.0 */
/* Printing for people: text from elsewhere, and numbers. */
#ifndef CLIENT_SCREEN_H
#define CLIENT_SCREEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { SCREEN_NUMBER = 32 };

/* Text on its way to a terminal, which may come in pieces.  Zeroed is fine. */
typedef struct screen {
    bool terminal;      /* otherwise every byte passes */
    unsigned pending;   /* bytes of a character still to come */
    unsigned char lead; /* its first byte */
} screen;

/* Whether `out` is a terminal. */
void screen_init(screen *s, FILE *out);
/* Writes len bytes; on a terminal without control characters other than
 * newline and tab, so that no answer and no name can move the cursor. */
void screen_write(screen *s, FILE *out, const char *text, size_t len);
/* One whole text. */
void screen_text(FILE *out, const char *text);

/* "1,234,567". */
const char *screen_count(char out[SCREEN_NUMBER], uint64_t n);
/* "48.0 MiB". */
const char *screen_bytes(char out[SCREEN_NUMBER], uint64_t n);
/* "4.2 s", "1:02", "3:04:05". */
const char *screen_duration(char out[SCREEN_NUMBER], double seconds);
/* "2024-01-31 17:05" here. */
const char *screen_moment(char out[SCREEN_NUMBER], int64_t wall_ms);

#endif
