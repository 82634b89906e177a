/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers for people; texts from elsewhere are base/terminal.h. */
#ifndef CLIENT_SCREEN_H
#define CLIENT_SCREEN_H

#include <stdint.h>

enum { SCREEN_NUMBER = 32 };

/* "1,234,567". */
const char *screen_count(char out[SCREEN_NUMBER], uint64_t n);
/* "48.0 MiB". */
const char *screen_bytes(char out[SCREEN_NUMBER], uint64_t n);
/* "4.2 s", "1:02", "3:04:05". */
const char *screen_duration(char out[SCREEN_NUMBER], double seconds);
/* "2024-01-31 17:05" here. */
const char *screen_moment(char out[SCREEN_NUMBER], int64_t wall_ms);

#endif
