/* SPDX-License-Identifier: Apache-2.0 */
/* Checked sizes and the only allocator of host memory.
 *
 * Sizes that come from outside go through size_mul/size_add before they reach
 * an allocation or an index. */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>

#include "base/status.h"

/* *out = a * b or a + b; ST_LIMIT when it does not fit in size_t. */
status size_mul(size_t *out, size_t a, size_t b) MUST_USE;
status size_add(size_t *out, size_t a, size_t b) MUST_USE;

/* `n` zeroed elements of `size` bytes each, released with mem_free(); never
 * NULL on ST_OK, also for 0 elements.  ST_NOMEM when there is no memory or
 * n * size overflows. */
status mem_new(void *out, size_t n, size_t size) MUST_USE; /* out: T ** */

/* Grows or shrinks to `n` elements; the new part is not zeroed.  *ptr is
 * unchanged on failure. */
status mem_resize(void *ptr, size_t n, size_t size) MUST_USE; /* ptr: T ** */

/* Copy of a string; released with mem_free(). */
status mem_strdup(char **out, const char *text) MUST_USE;

void mem_free(void *ptr); /* NULL is fine */

#endif
