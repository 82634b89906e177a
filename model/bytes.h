/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes that grow.  Internal to the tokenizer. */
#ifndef MODEL_BYTES_H
#define MODEL_BYTES_H

#include <stddef.h>

#include "base/status.h"

typedef struct bytes {
    char *data;
    size_t len, cap;
} bytes;

void bytes_fini(bytes *b); /* zeroed is fine */

/* Room for n more behind what is there. */
status bytes_reserve(bytes *b, size_t n) MUST_USE;
status bytes_add(bytes *b, const char *data, size_t n) MUST_USE;

#endif
