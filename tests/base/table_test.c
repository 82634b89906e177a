/* SPDX-License-Identifier: Apache-2.0 */
/* What was put is found, whatever falls together and however often it grew. */
#include "base/table.h"

#include <string.h>

#include "base/mem.h"
#include "tests/expect.h"

enum { ITEMS = 5000 };

typedef struct item {
    int before; /* a link need not come first */
    table_link link;
    uint64_t number;
} item;

static item *
find(const table *t, uint64_t number)
{
    table_link *l = table_find(t, table_hash(t, &number, sizeof(number)));

    while (l && TABLE_OF(item, link, l)->number != number)
        l = table_next(l);
    return l ? TABLE_OF(item, link, l) : NULL;
}

static void
put(table *t, item *i, uint64_t number)
{
    i->number = number;
    table_put(t, &i->link, table_hash(t, &number, sizeof(number)));
}

static void
what_was_put_is_found_until_it_is_taken(void **unused)
{
    item *all;
    table t;

    (void)unused;
    EXPECT_OK(mem_new(&all, ITEMS, sizeof(*all)));
    table_init(&t);
    for (size_t i = 0; i < ITEMS; i++) {
        assert_null(find(&t, i));
        put(&t, &all[i], i);
    }
    for (size_t i = 0; i < ITEMS; i++)
        assert_ptr_equal(find(&t, i), &all[i]);
    for (size_t i = 0; i < ITEMS; i += 3)
        table_take(&t, &all[i].link);
    for (size_t i = 0; i < ITEMS; i++)
        assert_ptr_equal(find(&t, i), i % 3 == 0 ? NULL : &all[i]);
    assert_true(t.n_list >= t.n);
    table_fini(&t);
    mem_free(all);
}

/* Of equal hashes the latest comes first, before and after the lists grew. */
static void
equal_hashes_come_latest_first(void **unused)
{
    static item same[10], other[1000];
    table t;

    (void)unused;
    table_init(&t);
    for (size_t i = 0; i < 10; i++) {
        same[i].number = i;
        table_put(&t, &same[i].link, 7);
    }
    for (size_t round = 0; round < 2; round++) {
        table_link *l = table_find(&t, 7);

        for (size_t i = 10; i > 0; i--, l = table_next(l))
            assert_ptr_equal(l, &same[i - 1].link);
        assert_null(l);
        /* They share a list with 7 as long as there are few. */
        for (size_t i = 0; i < 1000 && round == 0; i++)
            table_put(&t, &other[i].link, 7 + TABLE_FEW * (i + 1));
    }
    assert_ptr_equal(table_find(&t, 7 + TABLE_FEW), &other[0].link);
    table_fini(&t);
}

static void
all_are_popped_once(void **unused)
{
    static item all[300];
    size_t n = 0;
    table t;
    table_link *l;

    (void)unused;
    table_init(&t);
    assert_null(table_pop(&t));
    for (size_t round = 0; round < 2; round++) {
        for (size_t i = 0; i < 300; i++)
            put(&t, &all[i], 1);
        for (n = 0; (l = table_pop(&t)) != NULL; n++) {
            assert_int_equal(TABLE_OF(item, link, l)->number, 1);
            TABLE_OF(item, link, l)->number = 0;
        }
        assert_int_equal(n, 300);
    }
    table_fini(&t);
}

/* Names that fall together in one table do not in another. */
static void
each_table_has_a_hash_of_its_own(void **unused)
{
    table a, b;

    (void)unused;
    table_init(&a);
    table_init(&b);
    assert_int_equal(table_hash(&a, "name", 4), table_hash(&a, "name", 4));
    assert_true(table_hash(&a, "name", 4) != table_hash(&a, "nam", 3));
    assert_true(table_hash(&a, "name", 4) != table_hash(&b, "name", 4));
    table_fini(&b);
    table_fini(&a);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_put_is_found_until_it_is_taken),
        cmocka_unit_test(equal_hashes_come_latest_first),
        cmocka_unit_test(all_are_popped_once),
        cmocka_unit_test(each_table_has_a_hash_of_its_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
