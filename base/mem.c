/* SPDX-License-Identifier: Apache-2.0 */
/* Checked sizes and host allocation. */
#include "base/mem.h"

#include <stdint.h>
#include <string.h>

#include "base/fault.h"

status
size_mul(size_t *out, size_t a, size_t b)
{
    size_t r;

    if (__builtin_mul_overflow(a, b, &r))
        return status_fail(ST_LIMIT, "a size overflows: %zu x %zu", a, b);
    *out = r;
    return ST_OK;
}

status
size_add(size_t *out, size_t a, size_t b)
{
    size_t r;

    if (__builtin_add_overflow(a, b, &r))
        return status_fail(ST_LIMIT, "a size overflows: %zu + %zu", a, b);
    *out = r;
    return ST_OK;
}

static status
no_memory(size_t n, size_t size)
{
    return status_fail(ST_NOMEM, "out of memory: %zu elements of %zu bytes", n,
                       size);
}

/* The pointer is written by memcpy because `out` may point to a pointer to
 * any type, and those are not compatible lvalues. */
status
mem_new(void *out, size_t n, size_t size)
{
    void *ptr;
    size_t bytes;

    if (__builtin_mul_overflow(n, size, &bytes))
        return no_memory(n, size);
    ptr = FAULT_FAILS(MEM_NEW) ? NULL : calloc(1, bytes > 0 ? bytes : 1);
    if (ptr == NULL)
        return no_memory(n, size);
    memcpy(out, &ptr, sizeof(ptr));
    return ST_OK;
}

status
mem_resize(void *ptr, size_t n, size_t size)
{
    void *old;
    void *grown;
    size_t bytes;

    if (__builtin_mul_overflow(n, size, &bytes))
        return no_memory(n, size);
    memcpy(&old, ptr, sizeof(old));
    grown = FAULT_FAILS(MEM_NEW) ? NULL : realloc(old, bytes > 0 ? bytes : 1);
    if (grown == NULL)
        return no_memory(n, size);
    memcpy(ptr, &grown, sizeof(grown));
    return ST_OK;
}

status
mem_strdup(char **out, const char *text)
{
    size_t len = strlen(text) + 1;
    char *copy = FAULT_FAILS(MEM_NEW) ? NULL : malloc(len);

    if (copy == NULL)
        return no_memory(len, 1);
    memcpy(copy, text, len);
    *out = copy;
    return ST_OK;
}

void
mem_free(void *ptr)
{
    free(ptr);
}
