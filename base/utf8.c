/* SPDX-License-Identifier: Apache-2.0 */
/* Characters, whole texts and cut-off ends. */
#include "base/utf8.h"

#include <string.h>

/* Bytes that a character beginning with `lead` has; 0: none begins so. */
static size_t
width(unsigned char lead)
{
    if (lead < 0x80)
        return 1;
    if (lead < 0xc2 || lead > 0xf4)
        return 0;
    return lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

/* The second byte's range depends on the first where the first alone would
 * allow overlong forms, surrogates or too large values. */
static bool
second_fits(unsigned char lead, unsigned char second)
{
    unsigned char low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    unsigned char high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;

    return second >= low && second <= high;
}

utf8_kind
utf8_next(const char *text, size_t len, size_t *n)
{
    unsigned char lead = (unsigned char)text[0];
    size_t need = width(lead);
    size_t have = 1;

    if (need == 0) {
        *n = 1;
        return UTF8_BAD;
    }
    while (have < need && have < len) {
        unsigned char c = (unsigned char)text[have];

        if (have == 1 ? !second_fits(lead, c) : (c & 0xc0) != 0x80) {
            *n = have;
            return UTF8_BAD;
        }
        have++;
    }
    *n = have;
    return have == need ? UTF8_GOOD : UTF8_SHORT;
}

uint32_t
utf8_value(const char *text, size_t n)
{
    static const unsigned char mask[5] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t value = (unsigned char)text[0] & mask[n];

    for (size_t i = 1; i < n; i++)
        value = value << 6 | ((unsigned char)text[i] & 0x3f);
    return value;
}

bool
utf8_is_control(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x2028 || c == 0x2029 ||
           (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

status
utf8_check(const char *text, size_t len)
{
    size_t at = 0;

    while (at < len) {
        uint64_t eight;
        size_t n;

        if (len - at >= sizeof(eight)) {
            memcpy(&eight, text + at, sizeof(eight));
            if ((eight & 0x8080808080808080u) == 0) {
                at += sizeof(eight);
                continue;
            }
        }
        if (utf8_next(text + at, len - at, &n) != UTF8_GOOD)
            return status_fail(ST_ARG, "the text is not UTF-8 at byte %zu", at);
        at += n;
    }
    return ST_OK;
}

size_t
utf8_tail(const char *text, size_t len)
{
    for (size_t back = 1; back <= 3 && back <= len; back++) {
        const char *at = text + len - back;
        size_t n;

        if (((unsigned char)*at & 0xc0) == 0x80)
            continue;
        return utf8_next(at, back, &n) == UTF8_SHORT ? back : 0;
    }
    return 0;
}
