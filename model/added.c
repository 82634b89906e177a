/* SPDX-License-Identifier: Apache-2.0 */
/* Added tokens in a sorted list: the ones that begin like the text at a place
 * are a range of it, which each further byte makes narrower. */
#include "model/added.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

status
added_init(added *a, const vocab *v, size_t max)
{
    status st;

    memset(a, 0, sizeof(*a));
    a->vocab = v;
    TRY(mem_new(&a->entry, max, sizeof(*a->entry)));

fail:
    return st;
}

void
added_fini(added *a)
{
    mem_free(a->entry);
    memset(a, 0, sizeof(*a));
}

void
added_put(added *a, int32_t id)
{
    const vocab_token *t = &a->vocab->token[id];

    a->entry[a->n++] = (added_entry){a->vocab->bytes + t->at, t->len, id};
    a->first[(unsigned char)a->vocab->bytes[t->at]] = true;
    if (t->kind != VOCAB_SPECIAL)
        a->any_plain = true;
    if (t->len > a->max_len)
        a->max_len = t->len;
}

static int
by_text(const void *x, const void *y)
{
    const added_entry *a = x;
    const added_entry *b = y;
    int order = memcmp(a->text, b->text, a->len < b->len ? a->len : b->len);

    return order != 0 ? order : (a->len > b->len) - (a->len < b->len);
}

status
added_sort(added *a)
{
    qsort(a->entry, a->n, sizeof(*a->entry), by_text);
    for (size_t i = 1; i < a->n; i++)
        if (by_text(&a->entry[i - 1], &a->entry[i]) == 0)
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
        int byte = k < e->len ? (unsigned char)e->text[k] : -1;

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
longest(const added *a, const char *text, size_t len, bool special,
        bool *partial)
{
    const added_entry *best = NULL;
    size_t low = 0;
    size_t high = a->n;

    for (size_t k = 0; low < high; k++) {
        const added_entry *e = &a->entry[low];

        /* Sorted: only the first of the range can end here. */
        if (e->len == k) {
            if (special || a->vocab->token[e->id].kind != VOCAB_SPECIAL)
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

const added_entry *
added_next(const added *a, const char *text, size_t len, size_t from,
           bool special, size_t *at)
{
    bool partial;

    if (a->n == 0 || (!special && !a->any_plain))
        return NULL;
    for (size_t i = from; i < len; i++) {
        const added_entry *e;

        if (!a->first[(unsigned char)text[i]])
            continue;
        e = longest(a, text + i, len - i, special, &partial);
        if (e != NULL) {
            *at = i;
            return e;
        }
    }
    return NULL;
}

int32_t
added_find(const added *a, const char *text, size_t len)
{
    bool partial;
    const added_entry *e = longest(a, text, len, true, &partial);

    return e != NULL && e->len == len ? e->id : -1;
}

bool
added_crosses(const added *a, const char *text, size_t len, size_t at)
{
    for (size_t back = 1; back < a->max_len && back <= at; back++) {
        bool partial = false;
        const added_entry *e =
            longest(a, text + at - back, len - at + back, true, &partial);

        if (partial || (e != NULL && e->len > back))
            return true;
    }
    return false;
}
