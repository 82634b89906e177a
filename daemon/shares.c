/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of owners by their names' hashes; who has nothing is not there. */
#include "daemon/shares.h"

#include <string.h>

#include "base/mem.h"

enum { LISTS = 256 };

typedef struct owned {
    struct owned *next;
    char *name;
    shares_part part;
} owned;

struct shares {
    owned *list[LISTS];
};

status
shares_new(shares **out)
{
    return mem_new(out, 1, sizeof(**out));
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
    if (!s)
        return;
    for (size_t i = 0; i < LISTS; i++)
        while (s->list[i]) {
            owned *next = s->list[i]->next;

            owned_free(s->list[i]);
            s->list[i] = next;
        }
    mem_free(s);
}

/* FNV-1a */
static size_t
list_of(const char *name)
{
    uint32_t h = UINT32_C(0x811c9dc5);

    for (; *name; name++)
        h = (h ^ (uint8_t)*name) * UINT32_C(0x01000193);
    return (h ^ h >> 16) % LISTS;
}

/* Where he is, or would be. */
static owned **
place(shares *s, const char *name)
{
    owned **at = &s->list[list_of(name)];

    while (*at && strcmp((*at)->name, name) != 0)
        at = &(*at)->next;
    return at;
}

status
shares_add(shares *s, const char *owner)
{
    owned **at = place(s, owner);
    owned *o = NULL;
    status st = ST_OK;

    if (!*at) {
        TRY(mem_new(&o, 1, sizeof(*o)));
        TRY(mem_strdup(&o->name, owner));
        *at = o;
    }
    (*at)->part.jobs++;
    return ST_OK;
fail:
    mem_free(o);
    return st;
}

void
shares_move(shares *s, const char *owner, uint64_t from, uint64_t to)
{
    owned *o = *place(s, owner);

    ASSERT(o && o->part.bytes >= from);
    o->part.bytes += to - from;
}

void
shares_remove(shares *s, const char *owner, uint64_t bytes)
{
    owned **at = place(s, owner);
    owned *o = *at;

    ASSERT(o && o->part.jobs > 0 && o->part.bytes >= bytes);
    o->part.bytes -= bytes;
    o->part.jobs--;
    if (o->part.jobs > 0)
        return;
    *at = o->next;
    owned_free(o);
}

shares_part
shares_of(const shares *s, const char *owner)
{
    const owned *o = s->list[list_of(owner)];

    while (o && strcmp(o->name, owner) != 0)
        o = o->next;
    return o ? o->part : (shares_part){.jobs = 0};
}
