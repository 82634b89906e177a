/* SPDX-License-Identifier: Apache-2.0 */
/* Where a text that arrives in pieces is cut.
 *
 * Three things must end at such a place, whatever the rest of the text is: an
 * added token, a character of normal form C, and a word or (in a tokenizer
 * whose merges go through all of the text) what merging can reach. */
#include "model/tokenizer_cut.h"

#include <string.h>

#include "base/utf8.h"

enum { SLACK = 64 }; /* bytes in which an inert character is looked for */

/* ------------------------------------------------------------- border --- */

/* Characters that are letters in every version of Unicode, of the scripts
 * that put no spaces between words. */
static bool
is_letter(uint32_t c)
{
    return (c >= 0x3041 && c <= 0x3096) || (c >= 0x30a1 && c <= 0x30fa) ||
           (c >= 0x4e00 && c <= 0x9fa5) || (c >= 0xac00 && c <= 0xd7a3);
}

/* Punctuation of those scripts; neither letter nor number nor space. */
static bool
is_mark(uint32_t c)
{
    return (c >= 0x3001 && c <= 0x3003) || (c >= 0x3008 && c <= 0x3011) ||
           (c >= 0xff01 && c <= 0xff0f) || (c >= 0xff1a && c <= 0xff20);
}

static bool
is_alnum(uint32_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
           (c >= 'A' && c <= 'Z');
}

/* Two rules, both true of each known pattern: no word has a space behind
 * something else, and none has a letter or digit and then neither.  No
 * pattern looks back, and the only look ahead stands behind spaces, so what
 * ends here ends in the same way without the rest.  Normal form C leaves the
 * space and what is no letter what they are. */
static bool
ends_word(uint32_t before, uint32_t next)
{
    bool word;

    if (before <= 0x20 || before == 0x7f || next == 0)
        return false;
    if (next == ' ')
        return !unicode_is_space(before);
    word = before < 0x80 ? is_alnum(before) : is_letter(before);
    return word && (next < 0x80 ? !is_alnum(next) : is_mark(next));
}

static bool
ends_part(const tokenizer *tok, uint32_t before, uint32_t next)
{
    if (normal_has(&tok->normalizer, NORMAL_NFC) &&
        (!unicode_is_inert(before) || !unicode_is_inert(next)))
        return false;
    before = normal_last(&tok->marks, normal_last(&tok->normalizer, before));
    next = normal_first(&tok->marks, normal_first(&tok->normalizer, next));
    if (tok->pretoken.n > 0 && next == 0x2581)
        return true;
    return tok->bpe.set.fallback &&
           !seam_is_crossed(&tok->bpe.seam, before, next);
}

static bool
is_border(const tokenizer *tok, const char *text, size_t len, size_t at)
{
    uint32_t before = unicode_before(text, at);
    uint32_t next = unicode_at(text, len, at);

    if (((unsigned char)text[at] & 0xc0) == 0x80)
        return false;
    return tok->bpe.set.chars ? ends_part(tok, before, next)
                              : ends_word(before, next);
}

/* ------------------------------------------------------- added tokens --- */

/* The first inert character that begins in text[from..end); end if none. */
static size_t
find_inert(const char *text, size_t len, size_t from, size_t end)
{
    for (; from < end; from++)
        if (((unsigned char)text[from] & 0xc0) != 0x80 &&
            unicode_is_inert(unicode_at(text, len, from)))
            break;
    return from;
}

static status
add_normal(tokenizer_scratch *s, const char *text, size_t len)
{
    normal_part part = {.text = text, .len = len};
    status st;

    TRY(normal_apply(&s->tok->normalizer, &s->normalizer, &part));
    TRY(bytes_add(&s->window, part.text, part.len));

fail:
    return st;
}

/* What is around text[at], normalized: enough for the longest token on both
 * sides, and on each from or to an inert character, so that it is what the
 * whole text has there. */
static status
touches_normal(tokenizer_scratch *s, bool *out, const char *text, size_t len,
               size_t at)
{
    const added *a = &s->tok->added[1];
    size_t need = 4 * a->max_len;
    size_t low = 0;
    size_t high;
    size_t n_left;
    status st;

    *out = true;
    if (len - at <= need + SLACK)
        return ST_OK;
    high = find_inert(text, len, at + need, at + need + SLACK);
    if (at > need + SLACK)
        low = find_inert(text, len, at - need - SLACK, at - need);
    if (high == at + need + SLACK || (low > 0 && low == at - need))
        return ST_OK;
    s->window.len = 0;
    TRY(add_normal(s, text + low, at - low));
    n_left = s->window.len;
    TRY(add_normal(s, text + at, high - at));
    *out = added_touches(a, s->window.data, s->window.len, n_left);
    return ST_OK;

fail:
    return st;
}

status
tokenizer_cut_clear(tokenizer_scratch *s, bool *out, const char *text,
                    size_t len, size_t at)
{
    const added *a = s->tok->added;
    bool strips = false;
    status st;

    for (int i = 0; i < TOKENIZER_N_ADDED; i++)
        strips |= a[i].any.lstrip || a[i].any.rstrip;
    *out = (strips && unicode_is_space(unicode_before(text, at))) ||
           added_touches(&a[0], text, len, at);
    if (!*out && a[1].n > 0 && s->tok->normalizer.n > 0)
        TRY(touches_normal(s, out, text, len, at));
    else if (!*out)
        *out = added_touches(&a[1], text, len, at);
    *out = !*out;
    return ST_OK;

fail:
    return st;
}

/* ---------------------------------------------------------------- cut --- */

size_t
tokenizer_cut_margin(const tokenizer *tok)
{
    size_t margin = tok->added[0].max_len;

    if (margin < tok->added[1].max_len)
        margin = tok->added[1].max_len;
    if (tok->normalizer.n > 0)
        margin = 4 * margin + SLACK;
    return margin < 4 ? 4 : margin + 1;
}

static bool
has_borders(const tokenizer *tok)
{
    return tok->bpe.set.chars ? tok->bpe.set.fallback || tok->pretoken.n > 0
                              : pretoken_is_known(&tok->pretoken);
}

static status
find_border(tokenizer_scratch *s, size_t *cut, const char *text, size_t len)
{
    size_t margin = tokenizer_cut_margin(s->tok);
    status st;

    *cut = 0;
    if (!has_borders(s->tok))
        return ST_OK;
    for (size_t i = len; i > margin + 1; i--) {
        size_t at = i - 1 - margin;
        bool clear;

        if (!is_border(s->tok, text, len, at))
            continue;
        TRY(tokenizer_cut_clear(s, &clear, text, len, at));
        if (clear) {
            *cut = at;
            return ST_OK;
        }
    }
    return ST_OK;

fail:
    return st;
}

/* Nothing behind `limit` is looked at: the cut would depend on it. */
status
tokenizer_cut(tokenizer_scratch *s, size_t *cut, const char *text, size_t len,
              size_t limit, unsigned flags)
{
    size_t seen = len < limit ? len : limit;
    size_t found = 0;
    status st;

    if (seen > 0)
        TRY(find_border(s, &found, text, seen));
    if (found > 0 || len < limit) {
        *cut = found;
        return ST_OK;
    }
    seen -= utf8_tail(text, seen);
    if (seen > 0)
        TRY(tokenizer_cut_giant(s, &found, text, seen,
                                (flags & TOKENIZER_GOES_ON) == 0));
    *cut = found > 0 ? found : seen > 0 ? seen : limit;
    return ST_OK;

fail:
    return st;
}
