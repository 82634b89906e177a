/* SPDX-License-Identifier: Apache-2.0 */
/* The table of jobs: keys. */
#include "tests/expect.h"

#include <stdio.h>
#include <string.h>

#include "daemon/job.h"

enum { MANY = 10000 }; /* more than there are lists */

static job *
add(job_table *t, const char *owner, const char *key)
{
    job *j = NULL;

    EXPECT_OK(job_table_add(t, &j));
    (void)snprintf(j->owner, sizeof(j->owner), "%s", owner);
    (void)snprintf(j->key, sizeof(j->key), "%s", key);
    job_table_index(t, j);
    return j;
}

static void
a_key_finds_its_jobs_the_latest_first(void **state)
{
    job_table *t = NULL;
    job *first, *second;

    (void)state;
    EXPECT_OK(job_table_new(&t, 1));
    assert_null(job_table_by_key(t, "ada", "k", NULL));
    first = add(t, "ada", "k");
    (void)add(t, "ada", "other");
    (void)add(t, "bob", "k");
    second = add(t, "ada", "k");
    assert_ptr_equal(job_table_by_key(t, "ada", "k", NULL), second);
    assert_ptr_equal(job_table_by_key(t, "ada", "k", second), first);
    assert_null(job_table_by_key(t, "ada", "k", first));
    assert_null(job_table_by_key(t, "adak", "", NULL));
    job_table_remove(t, second);
    assert_ptr_equal(job_table_by_key(t, "ada", "k", NULL), first);
    job_table_remove(t, first);
    assert_null(job_table_by_key(t, "ada", "k", NULL));
    job_table_free(t);
}

/* Lists are shared then; each job is still found, and none that is gone. */
static void
many_keys_are_told_apart(void **state)
{
    job_table *t = NULL;
    char key[16];

    (void)state;
    EXPECT_OK(job_table_new(&t, 1));
    for (int i = 0; i < MANY; i++) {
        (void)snprintf(key, sizeof(key), "key-%d", i);
        (void)add(t, "ada", key);
    }
    for (uint64_t id = 1; id <= MANY; id += 2)
        job_table_remove(t, job_table_find(t, id));
    for (int i = 0; i < MANY; i++) {
        job *j;

        (void)snprintf(key, sizeof(key), "key-%d", i);
        j = job_table_by_key(t, "ada", key, NULL);
        assert_ptr_equal(j, job_table_find(t, (uint64_t)i + 1));
        assert_int_equal(j != NULL, i % 2);
        if (j)
            assert_null(job_table_by_key(t, "ada", key, j));
    }
    job_table_free(t);
}

/* One without a key is in no list, and its end leaves the lists alone. */
static void
the_oldest_that_ended_are_forgotten(void **state)
{
    job_table *t = NULL;
    job *j = NULL;

    (void)state;
    EXPECT_OK(job_table_new(&t, 1));
    EXPECT_OK(job_table_add(t, &j));
    j->state = CLIENT_STATE_DONE;
    for (int i = 0; i <= JOB_KEEP; i++) {
        j = add(t, "ada", i == 0 ? "oldest" : "k");
        j->state = CLIENT_STATE_DONE;
    }
    job_table_trim(t);
    assert_int_equal(job_table_count(t), JOB_KEEP);
    assert_null(job_table_by_key(t, "ada", "oldest", NULL));
    assert_ptr_equal(job_table_by_key(t, "ada", "k", NULL), j);
    job_table_free(t);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_finds_its_jobs_the_latest_first),
        cmocka_unit_test(many_keys_are_told_apart),
        cmocka_unit_test(the_oldest_that_ended_are_forgotten),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
