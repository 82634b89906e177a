/* SPDX-License-Identifier: Apache-2.0 */
/* Properties, and normal form C (Unicode Standard Annex 15) in linear time.
 *
 * utf8proc puts combining marks in order by exchanging neighbours, which takes
 * the square of their number, so the order is made here: marks of one class
 * are counted, then each goes to its place. */
#include "model/unicode.h"

#include <string.h>
#include <utf8proc.h>

#include "base/mem.h"
#include "base/utf8.h"

enum {
    MAX_PARTS = 8, /* characters that one is made of; there are 4 at most */
    N_CLASS = 256
};

bool
unicode_is_space(uint32_t c)
{
    return (c >= 0x09 && c <= 0x0d) || c == ' ' || c == 0x85 || c == 0xa0 ||
           c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 ||
           c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

static int
category(uint32_t c)
{
    return (int)utf8proc_category((utf8proc_int32_t)c);
}

bool
unicode_is_letter(uint32_t c)
{
    int kind = category(c);

    return kind >= UTF8PROC_CATEGORY_LU && kind <= UTF8PROC_CATEGORY_LO;
}

bool
unicode_is_number(uint32_t c)
{
    int kind;

    if (c < 0x80)
        return c >= '0' && c <= '9';
    kind = category(c);
    return kind == UTF8PROC_CATEGORY_ND || kind == UTF8PROC_CATEGORY_NL ||
           kind == UTF8PROC_CATEGORY_NO;
}

/* Letters in circles and squares are symbols, and alphabetic all the same. */
static bool
is_enclosed_letter(uint32_t c)
{
    return (c >= 0x24b6 && c <= 0x24e9) || (c >= 0x1f130 && c <= 0x1f149) ||
           (c >= 0x1f150 && c <= 0x1f169) || (c >= 0x1f170 && c <= 0x1f189);
}

bool
unicode_is_word(uint32_t c)
{
    int kind = category(c);

    return (kind >= UTF8PROC_CATEGORY_LU && kind <= UTF8PROC_CATEGORY_NL) ||
           kind == UTF8PROC_CATEGORY_PC || c == 0x200c || c == 0x200d ||
           is_enclosed_letter(c);
}

/* Ranges of which every character is assigned for good, of combining class 0,
 * its own normal form, and never the second of a composed pair. */
static const struct {
    uint32_t first, last;
} inert[] = {
    {0x0000, 0x02ff},   {0x0400, 0x0482}, {0x048a, 0x052f}, {0x05d0, 0x05ea},
    {0x0620, 0x064a},   {0x0660, 0x066f}, {0x0904, 0x0928}, {0x0e01, 0x0e30},
    {0x2010, 0x2027},   {0x2030, 0x205e}, {0x2190, 0x21ff}, {0x2500, 0x25ff},
    {0x3001, 0x3029},   {0x3030, 0x303f}, {0x3041, 0x3096}, {0x309d, 0x309e},
    {0x30a0, 0x30ff},   {0x4e00, 0x9fa5}, {0xac00, 0xd7a3}, {0xff01, 0xff60},
    {0x1f300, 0x1f6c5},
};

bool
unicode_is_inert(uint32_t c)
{
    if (c <= inert[0].last)
        return true;
    for (size_t i = 1; i < sizeof(inert) / sizeof(inert[0]); i++)
        if (c <= inert[i].last)
            return c >= inert[i].first;
    return false;
}

uint32_t
unicode_before(const char *text, size_t at)
{
    size_t start = at - 1;
    size_t n;

    while (start > 0 && at - start < 4 &&
           ((unsigned char)text[start] & 0xc0) == 0x80)
        start--;
    if (utf8_next(text + start, at - start, &n) != UTF8_GOOD || n != at - start)
        return 0;
    return utf8_value(text + start, n);
}

uint32_t
unicode_at(const char *text, size_t len, size_t at)
{
    size_t n;

    if (utf8_next(text + at, len - at, &n) != UTF8_GOOD)
        return 0;
    return utf8_value(text + at, n);
}

/* ---------------------------------------------------------------- NFC --- */

void
unicode_scratch_fini(unicode_scratch *s)
{
    mem_free(s->sorted);
    mem_free(s->c);
    memset(s, 0, sizeof(*s));
}

/* No character of n bytes is made of more than 2 n others. */
static status
reserve(unicode_scratch *s, size_t n)
{
    size_t cap;
    status st;

    TRY(size_mul(&cap, n, 2));
    TRY(size_add(&cap, cap, MAX_PARTS));
    if (cap <= s->cap)
        return ST_OK;
    s->cap = 0;
    TRY(mem_resize(&s->c, cap, sizeof(*s->c)));
    TRY(mem_resize(&s->sorted, cap, sizeof(*s->sorted)));
    s->cap = cap;
    return ST_OK;

fail:
    return st;
}

static int
class_of(int32_t c)
{
    return utf8proc_get_property(c)->combining_class & (N_CLASS - 1);
}

/* c[0..n), all of class > 0, in the order of their classes. */
static void
sort_marks(int32_t *c, int32_t *sorted, size_t n)
{
    size_t place[N_CLASS + 1] = {0};
    bool in_order = true;

    for (size_t i = 1; i < n && in_order; i++)
        in_order = class_of(c[i - 1]) <= class_of(c[i]);
    if (in_order)
        return;
    for (size_t i = 0; i < n; i++)
        place[class_of(c[i]) + 1]++;
    for (int k = 1; k <= N_CLASS; k++)
        place[k] += place[k - 1];
    for (size_t i = 0; i < n; i++)
        sorted[place[class_of(c[i])]++] = c[i];
    memcpy(c, sorted, n * sizeof(*c));
}

static void
decompose(unicode_scratch *s, const char *text, size_t len)
{
    int last_class = 0;

    s->n = 0;
    for (size_t at = 0, n; at < len; at += n) {
        utf8proc_ssize_t got;

        (void)utf8_next(text + at, len - at, &n);
        got = utf8proc_decompose_char(
            (utf8proc_int32_t)utf8_value(text + at, n), s->c + s->n, MAX_PARTS,
            (utf8proc_option_t)(UTF8PROC_DECOMPOSE | UTF8PROC_STABLE),
            &last_class);
        ASSERT(got > 0 && got <= MAX_PARTS);
        s->n += (size_t)got;
    }
}

static void
order(unicode_scratch *s)
{
    for (size_t i = 0; i < s->n; i++) {
        size_t first = i;

        while (i < s->n && class_of(s->c[i]) != 0)
            i++;
        if (i - first > 1)
            sort_marks(s->c + first, s->sorted, i - first);
    }
}

static status
normalize(unicode_scratch *s, bytes *out, const char *text, size_t len)
{
    utf8proc_ssize_t n;
    status st;

    TRY(reserve(s, len));
    decompose(s, text, len);
    order(s);
    n = utf8proc_normalize_utf32(
        s->c, (utf8proc_ssize_t)s->n,
        (utf8proc_option_t)(UTF8PROC_COMPOSE | UTF8PROC_STABLE));
    TRY(bytes_reserve(out, 4 * (size_t)n));
    for (utf8proc_ssize_t i = 0; i < n; i++)
        out->len += (size_t)utf8proc_encode_char(
            s->c[i], (utf8proc_uint8_t *)(void *)(out->data + out->len));
    return ST_OK;

fail:
    return st;
}

/* Inert characters before text[at .. len) ends; the last of them is left to
 * what follows, which it may join. */
static size_t
skip_inert(const char *text, size_t len, size_t at)
{
    size_t last = at;

    while (at < len) {
        size_t n = 1;

        if ((unsigned char)text[at] >= 0x80) {
            (void)utf8_next(text + at, len - at, &n);
            if (!unicode_is_inert(utf8_value(text + at, n)))
                return last;
        }
        last = at;
        at += n;
    }
    return len;
}

/* The number before the first tail of a Hangul syllable.  It composes with
 * nothing, but utf8proc takes it for a tail and loses it behind a syllable
 * without one: so nothing that is composed goes across it. */
enum { HANGUL_BEFORE_TAILS = 0x11a7 };

/* The place behind text[at] from where text can be normalized by itself. */
static size_t
next_start(const char *text, size_t len, size_t at)
{
    size_t n;

    do {
        (void)utf8_next(text + at, len - at, &n);
        at += n;
    } while (at < len && !unicode_is_inert(unicode_at(text, len, at)) &&
             unicode_at(text, len, at) != HANGUL_BEFORE_TAILS);
    return at;
}

status
unicode_nfc(unicode_scratch *s, bytes *out, const char *text, size_t len)
{
    size_t at = 0;
    status st;

    while (at < len) {
        size_t end = skip_inert(text, len, at);

        TRY(bytes_add(out, text + at, end - at));
        at = end;
        if (at == len)
            break;
        end = next_start(text, len, at);
        TRY(normalize(s, out, text + at, end - at));
        at = end;
    }
    return ST_OK;

fail:
    return st;
}
