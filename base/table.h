/* SPDX-License-Identifier: Apache-2.0 */
/* A hash table of links that its owner's objects carry.
 *
 * It owns no object and needs no memory to take one in: where there is none
 * for more lists they become longer.  An object may be in several tables, with
 * a link for each.  The key of the hash is drawn, so that nobody outside can
 * choose names that fall into one list.  Not thread-safe. */
#ifndef BASE_TABLE_H
#define BASE_TABLE_H

#include <stddef.h>
#include <stdint.h>

enum { TABLE_FEW = 64, TABLE_KEY = 16 };

typedef struct table_link {
    struct table_link *next; /* of its list, whatever its hash */
    uint64_t hash;
} table_link;

typedef struct table {
    table_link **many; /* [n_list], NULL: `few` */
    size_t n_list, n;
    size_t first; /* the lists before this one are empty */
    uint8_t key[TABLE_KEY];
    table_link *few[TABLE_FEW];
} table;

/* The object of type `type` whose member `member` is at `link`, which is not
 * NULL. */
#define TABLE_OF(type, member, link)                                           \
    ((type *)(void *)((char *)(link)-offsetof(type, member)))

void table_init(table *t);
/* Objects that are still there stay as they are. */
void table_fini(table *t);

uint64_t table_hash(const table *t, const void *data, size_t len);
/* `l` is in no table. */
void table_put(table *t, table_link *l, uint64_t h);
/* `l` is in this one. */
void table_take(table *t, table_link *l);
/* The latest that was put there with this hash, and the one before it; NULL:
 * none.  Whether it is the object that is meant its owner compares. */
table_link *table_find(const table *t, uint64_t h);
table_link *table_next(const table_link *l);
/* Takes out any one; NULL: none is left. */
table_link *table_pop(table *t);

#endif
