/* SPDX-License-Identifier: Apache-2.0 */
/* Small files that decide who may do what: they are believed only when nobody
 * else could have read, or written, them.
 *
 * A file must be regular and belong to this user or to root. */
#ifndef BASE_SECRET_H
#define BASE_SECRET_H

#include <stddef.h>

#include "base/status.h"

typedef enum secret_care {
    SECRET_PRIVATE = 077, /* closed to others: keys */
    SECRET_TRUSTED = 022  /* others may read and not write: lists of keys */
} secret_care;

/* The whole file, NUL-terminated beyond *len; secret_free().  ST_DENIED: its
 * owner or mode is wrong, or it may not be read; ST_NOTFOUND, ST_ARG (not a
 * regular file), ST_LIMIT (longer than `limit`), ST_IO. */
status secret_read(char **out, size_t *len, const char *path, size_t limit,
                   secret_care care) MUST_USE;
/* Wipes, then releases; NULL is fine. */
void secret_free(char *data, size_t len);
void secret_wipe(void *data, size_t len);

/* Makes a file of mode 0600 that is on disk, with its name, when this returns.
 * ST_STATE: something is at `path` already, which is left alone; ST_IO. */
status secret_create(const char *path, const void *data, size_t len) MUST_USE;

#endif
