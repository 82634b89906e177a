/* SPDX-License-Identifier: Apache-2.0 */
/* The steps of a pre-tokenizer. */
#include "model/pretoken.h"

#include <string.h>

#include "base/utf8.h"
#include "model/unicode.h"

static const char mark[] = "\u2581";

void
pretoken_fini(pretoken *p)
{
    for (size_t i = 0; i < p->n; i++)
        pattern_free(p->pattern[i]);
    memset(p, 0, sizeof(*p));
}

status
pretoken_add(pretoken *p, pretoken_kind kind)
{
    if (p->n == PRETOKEN_MAX)
        return status_fail(ST_LIMIT, "more than %d steps cut the text",
                           PRETOKEN_MAX);
    p->kind[p->n++] = kind;
    return ST_OK;
}

status
pretoken_add_pattern(pretoken *p, const char *text, size_t len)
{
    status st;

    TRY(pretoken_add(p, PRETOKEN_PATTERN));
    TRY(pattern_new(&p->pattern[p->n - 1], text, len));
    return ST_OK;

fail:
    return st;
}

bool
pretoken_is_known(const pretoken *p)
{
    for (size_t i = 0; i < p->n; i++)
        if (p->kind[i] == PRETOKEN_MARK ||
            (p->pattern[i] != NULL && !pattern_is_known(p->pattern[i])))
            return false;
    return p->n > 0 && p->pattern[p->n - 1] != NULL;
}

status
pretoken_scratch_init(pretoken_scratch *s, const pretoken *p)
{
    status st = ST_OK;

    memset(s, 0, sizeof(*s));
    for (size_t i = 0; i < p->n && st == ST_OK; i++)
        if (p->pattern[i] != NULL)
            st = pattern_scratch_new(&s->pattern[i], p->pattern[i]);
    return st;
}

void
pretoken_scratch_fini(pretoken_scratch *s)
{
    for (size_t i = 0; i < PRETOKEN_MAX; i++)
        pattern_scratch_free(s->pattern[i]);
    memset(s, 0, sizeof(*s));
}

/* One number character or all that stand together; else what is before the
 * next. */
static size_t
number_end(const char *text, size_t len, size_t at, bool alone)
{
    bool number = false;

    for (size_t start = at, n; at < len; at += n) {
        bool here;

        (void)utf8_next(text + at, len - at, &n);
        here = unicode_is_number(utf8_value(text + at, n));
        if (at > start && (here != number || (here && alone)))
            break;
        number = here;
    }
    return at;
}

static size_t
mark_end(const char *text, size_t len, size_t at)
{
    size_t n = sizeof(mark) - 1;
    size_t from = at + 1;
    const char *next;

    if (len - at >= n && memcmp(text + at, mark, n) == 0)
        from = at + n;
    next = memmem(text + from, len - from, mark, n);
    return next != NULL ? (size_t)(next - text) : len;
}

typedef struct walk {
    const pretoken *p;
    pretoken_scratch *s;
    pretoken_fn *fn;
    void *ctx;
} walk;

/* The word of step i that begins at text[at] ends before *end. */
static status
next_word(const walk *w, size_t i, const char *text, size_t len, size_t at,
          size_t *end)
{
    switch (w->p->kind[i]) {
    case PRETOKEN_DIGIT:
    case PRETOKEN_DIGITS:
        *end = number_end(text, len, at, w->p->kind[i] == PRETOKEN_DIGIT);
        return ST_OK;
    case PRETOKEN_MARK:
        *end = mark_end(text, len, at);
        return ST_OK;
    case PRETOKEN_PATTERN:
    default:
        return pattern_next(w->p->pattern[i], w->s->pattern[i], text, len, at,
                            end);
    }
}

/* Cuts the text by step i, and its words by the next. */
static status
each(const walk *w, size_t i, const char *text, size_t len)
{
    size_t end = 0;
    status st;

    if (i == w->p->n)
        return w->fn(w->ctx, text, len);
    for (size_t at = 0; at < len; at = end) {
        TRY(next_word(w, i, text, len, at, &end));
        TRY(each(w, i + 1, text + at, end - at));
    }
    return ST_OK;

fail:
    return st;
}

status
pretoken_each(const pretoken *p, pretoken_scratch *s, const char *text,
              size_t len, pretoken_fn *fn, void *ctx)
{
    return each(&(walk){p, s, fn, ctx}, 0, text, len);
}
