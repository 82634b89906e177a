/* SPDX-License-Identifier: Apache-2.0 */
/* Lists by the low bits of a keyed hash; doubled when they get long. */
#include "base/table.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/status.h"

_Static_assert((int)TABLE_KEY == (int)HASH_SHORT_KEY, "one key of one hash");

void
table_init(table *t)
{
    *t = (table){.n_list = TABLE_FEW};
    hash_random(t->key, sizeof(t->key));
}

void
table_fini(table *t)
{
    mem_free(t->many);
    *t = (table){.n_list = TABLE_FEW};
}

static table_link **
list_of(table *t, uint64_t h)
{
    size_t i = (size_t)h & (t->n_list - 1);

    return t->many ? &t->many[i] : &t->few[i];
}

uint64_t
table_hash(const table *t, const void *data, size_t len)
{
    return hash_short(t->key, data, len);
}

/* Each list becomes two, in its order. */
static void
split(table *t, table_link **to)
{
    for (size_t i = 0; i < t->n_list; i++) {
        table_link **end[2] = {&to[i], &to[i + t->n_list]};

        for (table_link *l = *list_of(t, i); l; l = l->next) {
            table_link ***at = &end[(l->hash & t->n_list) != 0];

            **at = l;
            *at = &l->next;
        }
        *end[0] = *end[1] = NULL;
    }
}

static void
grow(table *t)
{
    table_link **to;

    if (t->n < t->n_list || t->n_list > SIZE_MAX / 2 ||
        mem_new(&to, 2 * t->n_list, sizeof(table_link *)) != ST_OK)
        return;
    split(t, to);
    mem_free(t->many);
    t->many = to;
    t->n_list *= 2;
}

void
table_put(table *t, table_link *l, uint64_t h)
{
    table_link **list;
    size_t i;

    grow(t);
    list = list_of(t, h);
    i = (size_t)h & (t->n_list - 1);
    *l = (table_link){.next = *list, .hash = h};
    *list = l;
    t->n++;
    if (i < t->first)
        t->first = i;
}

void
table_take(table *t, table_link *l)
{
    table_link **at = list_of(t, l->hash);

    while (*at && *at != l)
        at = &(*at)->next;
    ASSERT(*at == l);
    *at = l->next;
    t->n--;
}

static table_link *
same(table_link *l, uint64_t h)
{
    while (l && l->hash != h)
        l = l->next;
    return l;
}

table_link *
table_find(const table *t, uint64_t h)
{
    size_t i = (size_t)h & (t->n_list - 1);

    return same(t->many ? t->many[i] : t->few[i], h);
}

table_link *
table_next(const table_link *l)
{
    return same(l->next, l->hash);
}

table_link *
table_pop(table *t)
{
    table_link *l;

    if (t->n == 0)
        return NULL;
    while (!*list_of(t, t->first))
        t->first++;
    l = *list_of(t, t->first);
    table_take(t, l);
    return l;
}
