/* SPDX-License-Identifier: Apache-2.0 */
/* Letters to bytes. */
#include "model/bytelevel.h"

#include "base/utf8.h"

/* The byte of a letter; -1: not one. */
static int
byte_of(uint32_t c)
{
    if ((c >= 0x21 && c <= 0x7e) || (c >= 0xa1 && c <= 0xac) ||
        (c >= 0xae && c <= 0xff))
        return (int)c;
    if (c >= 0x100 && c <= 0x120) /* 0x00 to the space */
        return (int)(c - 0x100);
    if (c >= 0x121 && c <= 0x142) /* delete to the no-break space */
        return (int)(c - 0x121 + 0x7f);
    return c == 0x143 ? 0xad : -1;
}

bool
bytelevel_decode(char *out, size_t *n, const char *letters, size_t len)
{
    size_t at = 0;
    size_t width;

    for (*n = 0; at < len; at += width) {
        int byte;

        if (utf8_next(letters + at, len - at, &width) != UTF8_GOOD)
            return false;
        byte = byte_of(utf8_value(letters + at, width));
        if (byte < 0)
            return false;
        out[(*n)++] = (char)byte;
    }
    return true;
}
