/* SPDX-License-Identifier: Apache-2.0 */
/* Checks and repairs on top of base/utf8. */
#include "proto/wiretext.h"

#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"

/* Bytes of the well-formed character at text[0..len), 0 when there is none;
 * NUL is none, because text here is a C string in the end. */
static size_t
character(const char *text, size_t len)
{
    size_t n;

    if (text[0] == '\0' || utf8_next(text, len, &n) != UTF8_GOOD)
        return 0;
    return n;
}

bool
wiretext_is_utf8(const char *text, size_t len)
{
    while (len > 0) {
        size_t n = character(text, len);

        if (n == 0)
            return false;
        text += n;
        len -= n;
    }
    return true;
}

static bool
is_control(const uint8_t *p)
{
    return *p < 0x20 || *p == 0x7F ||
           (p[0] == 0xC2 && p[1] >= 0x80 && p[1] < 0xA0);
}

bool
wiretext_is_printable(const char *text)
{
    for (const uint8_t *p = (const uint8_t *)text; *p; p++)
        if (is_control(p))
            return false;
    return true;
}

status
wiretext_sentence(char **out, const char *text)
{
    status st = mem_strdup(out, text ? text : "");
    uint8_t *p;

    if (st != ST_OK)
        return st;
    p = (uint8_t *)*out;
    for (size_t len = strlen(*out); len > 0;) {
        size_t n = character((const char *)p, len);

        if (n == 0)
            *p = '?';
        else if (is_control(p))
            memset(p, ' ', n);
        n = n ? n : 1;
        p += n;
        len -= n;
    }
    return ST_OK;
}
