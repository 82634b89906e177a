/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes that grow to twice what they were. */
#include "model/bytes.h"

#include <string.h>

#include "base/mem.h"

void
bytes_fini(bytes *b)
{
    mem_free(b->data);
    memset(b, 0, sizeof(*b));
}

status
bytes_reserve(bytes *b, size_t n)
{
    size_t cap;
    status st;

    if (n <= b->cap - b->len)
        return ST_OK;
    TRY(size_add(&cap, b->len, n));
    TRY(size_mul(&cap, cap, 2));
    TRY(mem_resize(&b->data, cap, 1));
    b->cap = cap;
    return ST_OK;

fail:
    return st;
}

status
bytes_add(bytes *b, const char *data, size_t n)
{
    status st;

    TRY(bytes_reserve(b, n));
    if (n > 0)
        memcpy(b->data + b->len, data, n);
    b->len += n;
    return ST_OK;

fail:
    return st;
}
