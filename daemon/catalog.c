/* SPDX-License-Identifier: Apache-2.0 */
/* Documents in name order: an array of pointers, found by bisection. */
#include "daemon/catalog.h"

#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/table.h"

typedef struct entry {
    document doc;
    table_link by_id;
} entry;

struct catalog {
    entry **item;
    size_t n, cap;
    size_t n_spare; /* items behind these that wait to be filled */
    table by_id;
};

bool
document_has_model(const document *doc)
{
    return !hash_is_zero(doc->fingerprint);
}

bool
document_has_template(const document *doc)
{
    return !hash_is_zero(doc->template);
}

status
catalog_new(catalog **out)
{
    status st;

    TRY(mem_new(out, 1, sizeof(**out)));
    table_init(&(*out)->by_id);
fail:
    return st;
}

void
catalog_free(catalog *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->n + c->n_spare; i++)
        mem_free(c->item[i]);
    table_fini(&c->by_id);
    mem_free(c->item);
    mem_free(c);
}

size_t
catalog_count(const catalog *c)
{
    return c->n;
}

document *
catalog_at(const catalog *c, size_t i)
{
    return &c->item[i]->doc;
}

static int
compare(const document *doc, const char *owner, const char *name)
{
    int order = strcmp(doc->name, name);

    return order != 0 ? order : strcmp(doc->owner, owner);
}

/* The first place that is not below name and owner. */
static size_t
place(const catalog *c, const char *owner, const char *name)
{
    size_t low = 0;
    size_t high = c->n;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (compare(&c->item[mid]->doc, owner, name) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

document *
catalog_find(const catalog *c, const char *owner, const char *name)
{
    size_t i = place(c, owner, name);

    if (i == c->n || compare(&c->item[i]->doc, owner, name) != 0)
        return NULL;
    return &c->item[i]->doc;
}

document *
catalog_find_any(const catalog *c, size_t *n, const char *name)
{
    size_t first = place(c, "", name);
    size_t end = first;

    while (end < c->n && strcmp(c->item[end]->doc.name, name) == 0)
        end++;
    *n = end - first;
    return *n > 0 ? &c->item[first]->doc : NULL;
}

document *
catalog_by_id(const catalog *c, uint64_t id)
{
    table_link *l =
        table_find(&c->by_id, table_hash(&c->by_id, &id, sizeof(id)));

    while (l && TABLE_OF(entry, by_id, l)->doc.id != id)
        l = table_next(l);
    return l ? &TABLE_OF(entry, by_id, l)->doc : NULL;
}

static status
grow(catalog *c)
{
    size_t cap = c->cap ? c->cap * 2 : 16;
    status st;

    if (c->n + c->n_spare < c->cap)
        return ST_OK;
    TRY(mem_resize(&c->item, cap, sizeof(*c->item)));
    c->cap = cap;
fail:
    return st;
}

status
catalog_reserve(catalog *c, size_t n)
{
    status st = ST_OK;

    if (n > CATALOG_MAX || c->n > CATALOG_MAX - n)
        return status_fail(ST_LIMIT, "there are %d documents already",
                           CATALOG_MAX);
    while (c->n_spare < n) {
        TRY(grow(c));
        TRY(mem_new(&c->item[c->n + c->n_spare], 1, sizeof(**c->item)));
        c->n_spare++;
    }
fail:
    return st;
}

status
catalog_add(catalog *c, const document *doc)
{
    size_t i = place(c, doc->owner, doc->name);
    entry *copy;
    status st;

    if (catalog_find(c, doc->owner, doc->name))
        return status_fail(ST_STATE, "a document named '%s' is there already",
                           doc->name);
    TRY(catalog_reserve(c, 1));
    copy = c->item[c->n];
    copy->doc = *doc;
    table_put(&c->by_id, &copy->by_id,
              table_hash(&c->by_id, &doc->id, sizeof(doc->id)));
    memmove(c->item + i + 1, c->item + i, (c->n - i) * sizeof(*c->item));
    c->item[i] = copy;
    c->n++;
    c->n_spare--;
fail:
    return st;
}

void
catalog_remove(catalog *c, uint64_t id)
{
    const document *doc = catalog_by_id(c, id);
    size_t i;

    if (!doc)
        return;
    i = place(c, doc->owner, doc->name);
    table_take(&c->by_id, &c->item[i]->by_id);
    mem_free(c->item[i]);
    memmove(c->item + i, c->item + i + 1,
            (c->n + c->n_spare - i - 1) * sizeof(*c->item));
    c->n--;
}
