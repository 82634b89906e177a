/* SPDX-License-Identifier: Apache-2.0 */
/* What counts as a stall, beside which pace. */
#include "tests/expect.h"
#include "worker/watch.h"

static const uint64_t MS = 1000 * 1000;

/* At `ms`, with nothing that hides steps. */
static void
look(watch *w, uint64_t steps, bool due, uint64_t ms)
{
    watch_look(w, steps, due, ms * MS, 0);
}

static void
rest_is_no_stall(void **state)
{
    watch w = {.since_ns = 1000 * MS};

    (void)state;
    look(&w, 0, false, 2000);
    look(&w, 0, false, 90000);
    assert_int_equal(w.stalled_ns, 0);
    look(&w, 0, true, 90010); /* there is work for 10 ms */
    assert_int_equal(w.stalled_ns, 10 * MS);
    look(&w, 0, true, 95000);
    assert_int_equal(w.stalled_ns, 5000 * MS);
    look(&w, 0, false, 95001); /* it was withdrawn */
    assert_int_equal(w.stalled_ns, 0);
    look(&w, 0, true, 95002);
    assert_int_equal(w.stalled_ns, 1 * MS);
}

static void
a_step_ends_a_stall(void **state)
{
    watch w = {.since_ns = 0};

    (void)state;
    look(&w, 1, true, 100);
    assert_int_equal(w.slowest_ns, 0); /* how long the first took is not said */
    look(&w, 1, true, 700);
    assert_int_equal(w.stalled_ns, 600 * MS);
    look(&w, 2, true, 800);
    assert_int_equal(w.stalled_ns, 0);
    assert_int_equal(w.slowest_ns, 700 * MS);
    look(&w, 2, true, 900);
    assert_int_equal(w.stalled_ns, 100 * MS);
}

/* One long step is remembered for some time, then the short ones count. */
static void
the_slowest_is_forgotten_slowly(void **state)
{
    watch w = {.since_ns = 0};
    uint64_t ms = 1;

    (void)state;
    look(&w, 1, true, ms);
    look(&w, 2, true, ms += 1000);
    assert_int_equal(w.slowest_ns, 1000 * MS);
    for (uint64_t i = 0; i < 20; i++)
        look(&w, 3 + i, true, ++ms);
    assert_true(w.slowest_ns > 700 * MS);
    for (uint64_t i = 0; i < 1000; i++)
        look(&w, 23 + i, true, ++ms);
    assert_true(w.slowest_ns < 2 * MS);
    look(&w, 1022, false, ms += 60000); /* rest sets no pace */
    assert_true(w.slowest_ns < 2 * MS);
}

/* Steps that could not be seen were not left out. */
static void
the_watcher_was_away(void **state)
{
    watch w = {.since_ns = 0};

    (void)state;
    look(&w, 1, true, 1);
    look(&w, 2, true, 2);
    assert_int_equal(w.slowest_ns, 1 * MS);
    watch_look(&w, 2, true, 15002 * MS, 15000 * MS);
    assert_int_equal(w.stalled_ns, 15000 * MS);
    assert_int_equal(w.slowest_ns, 15000 * MS);
    watch_look(&w, 2, true, 15003 * MS, 1 * MS);
    assert_int_equal(w.slowest_ns, 15000 * MS);
    /* Before the first step there is no pace that it could set. */
    w = (watch){.since_ns = 0};
    watch_look(&w, 0, true, 15000 * MS, 15000 * MS);
    assert_int_equal(w.slowest_ns, 0);
}

static void
the_worst_is_beside_its_pace(void **state)
{
    const watch_stall none = {0, 5 * MS};
    const watch_stall fast = {3000 * MS, 10 * MS};
    const watch_stall slow = {20000 * MS, 1000 * MS};
    const watch_stall first = {60000 * MS, 0}; /* of 30 s at a time */

    (void)state;
    assert_true(watch_is_worse(&fast, &slow));
    assert_false(watch_is_worse(&slow, &fast));
    assert_true(watch_is_worse(&slow, &first));
    assert_true(watch_is_worse(&first, &none));
    assert_false(watch_is_worse(&none, &none));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rest_is_no_stall),
        cmocka_unit_test(a_step_ends_a_stall),
        cmocka_unit_test(the_slowest_is_forgotten_slowly),
        cmocka_unit_test(the_watcher_was_away),
        cmocka_unit_test(the_worst_is_beside_its_pace),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
