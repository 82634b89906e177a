/* SPDX-License-Identifier: Apache-2.0 */
/* What each has in the queue, against counting anew. */
#include "daemon/shares.h"

#include <stdio.h>

#include "tests/expect.h"

enum { OWNERS = 700, JOBS = 4 };

static void
expect_part(const shares *s, const char *owner, uint64_t jobs, uint64_t bytes)
{
    shares_part part = shares_of(s, owner);

    assert_int_equal(part.jobs, jobs);
    assert_int_equal(part.bytes, bytes);
}

static void
each_has_his_own(void **state)
{
    shares *s;

    (void)state;
    EXPECT_OK(shares_new(&s));
    expect_part(s, "a", 0, 0);
    EXPECT_OK(shares_add(s, "a"));
    EXPECT_OK(shares_add(s, "a"));
    EXPECT_OK(shares_add(s, "b"));
    shares_move(s, "a", 0, 10);
    shares_move(s, "a", 0, 7);
    shares_move(s, "a", 10, 3);
    shares_move(s, "b", 0, 1);
    expect_part(s, "a", 2, 10);
    expect_part(s, "b", 1, 1);
    shares_remove(s, "a", 3);
    expect_part(s, "a", 1, 7);
    shares_remove(s, "a", 7);
    expect_part(s, "a", 0, 0);
    expect_part(s, "b", 1, 1);
    EXPECT_OK(shares_add(s, "a"));
    expect_part(s, "a", 1, 0);
    shares_free(s);
}

/* Who has documents stays without a job, and only then goes. */
static void
documents_count_beside_jobs(void **state)
{
    shares *s;

    (void)state;
    EXPECT_OK(shares_new(&s));
    EXPECT_OK(shares_add(s, "a"));
    shares_add_document(s, "a");
    shares_add_document(s, "a");
    shares_remove(s, "a", 0);
    assert_int_equal(shares_of(s, "a").documents, 2);
    expect_part(s, "a", 0, 0);
    shares_remove_document(s, "a");
    assert_int_equal(shares_of(s, "a").documents, 1);
    shares_remove_document(s, "a");
    assert_int_equal(shares_of(s, "a").documents, 0);
    shares_free(s);
}

/* More owners than lists, who go in another order than they came. */
static void
many_do_not_mix(void **state)
{
    char name[16];
    shares *s;

    (void)state;
    EXPECT_OK(shares_new(&s));
    for (unsigned i = 0; i < OWNERS * JOBS; i++) {
        (void)snprintf(name, sizeof(name), "%u", i % OWNERS);
        EXPECT_OK(shares_add(s, name));
        shares_move(s, name, 0, i % OWNERS + 1);
    }
    for (unsigned i = 0; i < OWNERS; i += 2) {
        (void)snprintf(name, sizeof(name), "%u", i);
        for (int k = 0; k < JOBS; k++)
            shares_remove(s, name, i + 1);
    }
    for (unsigned i = 0; i < OWNERS; i++) {
        (void)snprintf(name, sizeof(name), "%u", i);
        if (i % 2 == 0)
            expect_part(s, name, 0, 0);
        else
            expect_part(s, name, JOBS, (uint64_t)JOBS * (i + 1));
    }
    shares_free(s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_has_his_own),
        cmocka_unit_test(documents_count_beside_jobs),
        cmocka_unit_test(many_do_not_mix),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
