/* SPDX-License-Identifier: Apache-2.0 */
/* Owners by their names; who has nothing is not there. */
#include "daemon/shares.h"

#include <string.h>

#include "base/mem.h"
#include "base/table.h"

typedef struct owned {
    table_link by_name;
    char *name;
    shares_part part;
} owned;

struct shares {
    table by_name;
};

status
shares_new(shares **out)
{
    status st;

    TRY(mem_new(out, 1, sizeof(**out)));
    table_init(&(*out)->by_name);
fail:
    return st;
}

static void
owned_free(owned *o)
{
    mem_free(o->name);
    mem_free(o);
}

void
shares_free(shares *s)
{
    table_link *l;

    if (!s)
        return;
    while ((l = table_pop(&s->by_name)) != NULL)
        owned_free(TABLE_OF(owned, by_name, l));
    table_fini(&s->by_name);
    mem_free(s);
}

static uint64_t
hash_of(const shares *s, const char *name)
{
    return table_hash(&s->by_name, name, strlen(name));
}

/* NULL: he has nothing. */
static owned *
find(const shares *s, const char *name)
{
    table_link *l = table_find(&s->by_name, hash_of(s, name));

    while (l && strcmp(TABLE_OF(owned, by_name, l)->name, name) != 0)
        l = table_next(l);
    return l ? TABLE_OF(owned, by_name, l) : NULL;
}

status
shares_add(shares *s, const char *owner)
{
    owned *o = find(s, owner);
    owned *fresh = NULL;
    status st = ST_OK;

    if (!o) {
        TRY(mem_new(&fresh, 1, sizeof(*fresh)));
        TRY(mem_strdup(&fresh->name, owner));
        table_put(&s->by_name, &fresh->by_name, hash_of(s, owner));
        o = fresh;
    }
    o->part.jobs++;
    return ST_OK;
fail:
    mem_free(fresh);
    return st;
}

void
shares_move(shares *s, const char *owner, uint64_t from, uint64_t to)
{
    owned *o = find(s, owner);

    ASSERT(o && o->part.bytes >= from);
    o->part.bytes += to - from;
}

/* Who has nothing any more goes. */
static void
let_go(shares *s, owned *o)
{
    if (o->part.jobs > 0 || o->part.documents > 0)
        return;
    table_take(&s->by_name, &o->by_name);
    owned_free(o);
}

void
shares_remove(shares *s, const char *owner, uint64_t bytes)
{
    owned *o = find(s, owner);

    ASSERT(o && o->part.jobs > 0 && o->part.bytes >= bytes);
    o->part.bytes -= bytes;
    o->part.jobs--;
    let_go(s, o);
}

void
shares_add_document(shares *s, const char *owner)
{
    owned *o = find(s, owner);

    ASSERT(o);
    o->part.documents++;
}

void
shares_remove_document(shares *s, const char *owner)
{
    owned *o = find(s, owner);

    ASSERT(o && o->part.documents > 0);
    o->part.documents--;
    let_go(s, o);
}

shares_part
shares_of(const shares *s, const char *owner)
{
    const owned *o = find(s, owner);

    return o ? o->part : (shares_part){.jobs = 0};
}
