/* SPDX-License-Identifier: Apache-2.0 */
/* Added tokens in a sorted list: the ones that begin like the text at a place
 * are a range of it, which each further byte makes narrower. */
#include "model/added.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/unicode.h"

status
added_init(added *a, const vocab *v, size_t max)
{
    status st;

    memset(a, 0, sizeof(*a));
    a->vocab = v;
    a->cap = max;
    TRY(mem_new(&a->entry, max, sizeof(*a->entry)));

fail:
    return st;
}

void
added_fini(added *a)
{
    mem_free(a->entry);
    bytes_fini(&a->text);
    memset(a, 0, sizeof(*a));
}

static const char *
text_of(const added *a, const added_entry *e)
{
    return a->text.data + e->at;
}

static bool
is_special(const added *a, const added_entry *e)
{
    return a->vocab->token[e->id].kind == VOCAB_SPECIAL;
}

status
added_put(added *a, int32_t id, const char *text, size_t len, added_flags flags)
{
    added_entry e = {a->text.len, len, id, flags};
    status st;

    ASSERT(a->n < a->cap && len > 0);
    TRY(bytes_add(&a->text, text, len));
    a->entry[a->n++] = e;
    a->first[(unsigned char)text[0]] = true;
    a->any_plain |= !is_special(a, &e);
    a->any.lstrip |= flags.lstrip;
    a->any.rstrip |= flags.rstrip;
    a->any.single_word |= flags.single_word;
    if (len > a->max_len)
        a->max_len = len;

fail:
    return st;
}

static int
by_text(const void *x, const void *y, void *ctx)
{
    const added_entry *a = x;
    const added_entry *b = y;
    int order = memcmp(text_of(ctx, a), text_of(ctx, b),
                       a->len < b->len ? a->len : b->len);

    return order != 0 ? order : (a->len > b->len) - (a->len < b->len);
}

status
added_sort(added *a)
{
    qsort_r(a->entry, a->n, sizeof(*a->entry), by_text, a);
    for (size_t i = 1; i < a->n; i++)
        if (by_text(&a->entry[i - 1], &a->entry[i], a) == 0)
            return status_fail(ST_ARG, "added tokens %d and %d are the same",
                               a->entry[i - 1].id, a->entry[i].id);
    return ST_OK;
}

/* The first of entry[low..high), which agree before byte k, whose byte k is
 * `c` or greater; having no byte k is less than all. */
static size_t
lower_bound(const added *a, size_t low, size_t high, size_t k, int c)
{
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        const added_entry *e = &a->entry[mid];
        int byte = k < e->len ? (unsigned char)text_of(a, e)[k] : -1;

        if (byte < c)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* Walks down from text[0]; `partial` is set when the text ends while some
 * entry still agrees. */
static const added_entry *
longest(const added *a, const char *text, size_t len, bool *partial)
{
    const added_entry *best = NULL;
    size_t low = 0;
    size_t high = a->n;

    for (size_t k = 0; low < high; k++) {
        const added_entry *e = &a->entry[low];

        /* Sorted: only the first of the range can end here. */
        if (e->len == k) {
            best = e;
            low++;
        }
        if (k == len) {
            *partial = low < high;
            break;
        }
        low = lower_bound(a, low, high, k, (unsigned char)text[k]);
        high = lower_bound(a, low, high, k, (unsigned char)text[k] + 1);
    }
    return best;
}

/* ---------------------------------------------------------------- walk --- */

static bool
stands_alone(const char *text, size_t len, size_t at, size_t end)
{
    return (at == 0 || !unicode_is_word(unicode_before(text, at))) &&
           (end == len || !unicode_is_word(unicode_at(text, len, end)));
}

static size_t
spaces_before(const char *text, size_t at, size_t from)
{
    while (at > from) {
        uint32_t c = unicode_before(text, at);

        if (!unicode_is_space(c))
            break;
        at -= c < 0x80 ? 1 : c < 0x800 ? 2 : 3;
    }
    return at;
}

static size_t
spaces_behind(const char *text, size_t len, size_t at)
{
    while (at < len) {
        uint32_t c = unicode_at(text, len, at);

        if (!unicode_is_space(c))
            break;
        at += c < 0x80 ? 1 : c < 0x800 ? 2 : 3;
    }
    return at;
}

bool
added_next(const added *a, added_walk *w, const char *text, size_t len,
           bool special)
{
    if (a->n == 0 || (!special && !a->any_plain))
        return false;
    for (size_t i = w->search; i < len; i++) {
        const added_entry *e;
        bool partial;
        size_t end;

        if (!a->first[(unsigned char)text[i]] ||
            (e = longest(a, text + i, len - i, &partial)) == NULL)
            continue;
        end = i + e->len;
        w->search = end;
        if ((!special && is_special(a, e)) ||
            (e->flags.single_word && !stands_alone(text, len, i, end))) {
            i = end - 1;
            continue;
        }
        w->id = e->id;
        w->at = e->flags.lstrip ? spaces_before(text, i, w->from) : i;
        w->from = e->flags.rstrip ? spaces_behind(text, len, end) : end;
        return true;
    }
    return false;
}

bool
added_touches(const added *a, const char *text, size_t len, size_t at)
{
    for (size_t back = 0; back <= a->max_len && back <= at; back++) {
        bool partial = false;
        const added_entry *e;

        if (at - back < len && !a->first[(unsigned char)text[at - back]])
            continue;
        e = longest(a, text + at - back, len - at + back, &partial);
        if (partial || (e != NULL && e->len >= back))
            return true;
    }
    return false;
}
