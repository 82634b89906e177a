/* SPDX-License-Identifier: Apache-2.0 */
/* Writing one JSON object on one line.  No library needed.
 *
 * Strings are escaped; bytes that are no UTF-8 become U+FFFD; numbers that are
 * not finite become null. */
#ifndef BASE_JSONOUT_H
#define BASE_JSONOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/status.h"

typedef struct jsonout {
    char *text; /* NUL-terminated; NULL before the first value */
    size_t len, cap;
    bool comma;
    status st; /* first failure; later calls do nothing */
} jsonout;

void jsonout_init(jsonout *j);
void jsonout_fini(jsonout *j);
/* `key` NULL inside arrays and for the outermost object. */
void jsonout_object(jsonout *j, const char *key);
void jsonout_array(jsonout *j, const char *key);
void jsonout_close_object(jsonout *j);
void jsonout_close_array(jsonout *j);
void jsonout_text(jsonout *j, const char *key, const char *text);
void jsonout_bytes(jsonout *j, const char *key, const char *text, size_t len);
void jsonout_u64(jsonout *j, const char *key, uint64_t value);
void jsonout_i64(jsonout *j, const char *key, int64_t value);
void jsonout_f64(jsonout *j, const char *key, double value);
void jsonout_bool(jsonout *j, const char *key, bool value);
/* Writes the line and a newline to `file` and flushes it.  ST_IO; or the first
 * failure of what was put in (ST_NOMEM). */
status jsonout_print(jsonout *j, FILE *file) MUST_USE;

#endif
