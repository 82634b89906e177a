/* SPDX-License-Identifier: Apache-2.0 */
/* Strict UTF-8, after table 3-7 of the Unicode standard. */
#include "proto/wiretext.h"

#include <stdint.h>
#include <string.h>

#include "base/mem.h"

/* Bytes of the well-formed character at p, 0 when there is none. */
static size_t
character(const uint8_t *p, size_t len)
{
    uint8_t low = 0x80, high = 0xBF; /* bounds of the second byte */
    size_t n;

    if (p[0] < 0x80)
        return p[0] != 0;
    if (p[0] >= 0xC2 && p[0] <= 0xDF)
        n = 2;
    else if (p[0] >= 0xE0 && p[0] <= 0xEF)
        n = 3;
    else if (p[0] >= 0xF0 && p[0] <= 0xF4)
        n = 4;
    else
        return 0;
    if (p[0] == 0xE0)
        low = 0xA0; /* overlong */
    if (p[0] == 0xED)
        high = 0x9F; /* surrogates */
    if (p[0] == 0xF0)
        low = 0x90; /* overlong */
    if (p[0] == 0xF4)
        high = 0x8F; /* above U+10FFFF */
    if (len < n || p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++)
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    return n;
}

bool
wiretext_is_utf8(const char *text, size_t len)
{
    const uint8_t *p = (const uint8_t *)text;

    while (len > 0) {
        size_t n = character(p, len);

        if (n == 0)
            return false;
        p += n;
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
        size_t n = character(p, len);

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
