/* SPDX-License-Identifier: Apache-2.0 */
/* The table of jobs: each way to find one, and what is forgotten. */
#include "tests/expect.h"

#include <stdio.h>
#include <string.h>

#include "daemon/job_table.h"

enum { MANY = 10000 }; /* more than there are lists */

static job *
add(job_table *t, const char *owner, const char *key)
{
    job *j = NULL;

    EXPECT_OK(job_table_add(t, &j));
    (void)snprintf(j->owner, sizeof(j->owner), "%s", owner);
    (void)snprintf(j->key, sizeof(j->key), "%s", key);
    job_table_index_key(t, j);
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
    job_table_state(t, j, CLIENT_STATE_DONE);
    for (int i = 0; i <= JOB_TABLE_KEEP; i++) {
        j = add(t, "ada", i == 0 ? "oldest" : "k");
        job_table_state(t, j, CLIENT_STATE_DONE);
    }
    job_table_trim(t);
    assert_int_equal(job_table_count(t), JOB_TABLE_KEEP);
    assert_null(job_table_by_key(t, "ada", "oldest", NULL));
    assert_ptr_equal(job_table_by_key(t, "ada", "k", NULL), j);
    job_table_free(t);
}

static zsocket_peer
peer(uint8_t number)
{
    return (zsocket_peer){.len = 1, .id = {number}};
}

static void
set_state(job_table *t, uint64_t id, client_state state)
{
    job_table_state(t, job_table_find(t, id), state);
}

/* In the order of their numbers, however they came and went. */
static void
the_queue_is_in_the_order_of_numbers(void **state)
{
    bool there[MANY + 1] = {false};
    uint32_t random = 1;
    uint64_t after = 0;
    job_table *t = NULL;
    job *j;

    (void)state;
    EXPECT_OK(job_table_new(&t, 1));
    for (int i = 0; i < MANY; i++) {
        EXPECT_OK(job_table_add(t, &j));
        j->kind = i % 3 == 0 ? JOB_ADD : JOB_ASK;
    }
    for (int i = 0; i < 4 * MANY; i++) {
        uint64_t id = (random = random * 1664525 + 1013904223) % MANY + 1;

        there[id] = !there[id];
        set_state(t, id, there[id] ? CLIENT_QUEUED : CLIENT_RUNNING);
    }
    for (uint64_t id = 1; id <= MANY; id++) {
        if (!there[id] || (id - 1) % 3 == 0)
            continue;
        j = job_table_queued(t, JOB_ASK, after);
        assert_non_null(j);
        assert_int_equal(j->id, id);
        after = id;
    }
    assert_null(job_table_queued(t, JOB_ASK, after));
    job_table_free(t);
}

static void
what_ends_or_waits_is_not_queued(void **state)
{
    job_table *t = NULL;
    job *j;

    (void)state;
    EXPECT_OK(job_table_new(&t, 1));
    EXPECT_OK(job_table_add(t, &j));
    j->kind = JOB_ASK;
    set_state(t, 1, CLIENT_QUEUED);
    assert_ptr_equal(job_table_queued(t, JOB_ASK, 0), j);
    assert_null(job_table_queued(t, JOB_ADD, 0));
    job_table_unqueue(t, j);
    assert_null(job_table_queued(t, JOB_ASK, 0));
    j->ending = true;
    set_state(t, 1, CLIENT_QUEUED);
    assert_null(job_table_queued(t, JOB_ASK, 0));
    job_table_free(t);
}

static void
a_client_is_found_until_it_left(void **state)
{
    zsocket_peer ada = peer(1), bob = peer(2);
    job_table *t = NULL;
    job *a, *b;

    (void)state;
    EXPECT_OK(job_table_new(&t, 1));
    a = add(t, "ada", "a");
    b = add(t, "ada", "b");
    assert_null(job_table_watched(t, &ada));
    EXPECT_OK(job_table_watch(t, a, &bob, 1));
    EXPECT_OK(job_table_watch(t, a, &ada, 1));
    EXPECT_OK(job_table_watch(t, a, &ada, 2));
    EXPECT_OK(job_table_watch(t, b, &bob, 2));
    assert_ptr_equal(job_table_watched(t, &ada), a);
    job_table_unwatch(t, a, &ada);
    assert_null(job_table_watched(t, &ada));
    assert_int_equal(a->n_seat, 1);
    assert_int_equal(a->seat[0].who.client.id[0], 2);
    job_table_remove(t, b);
    assert_ptr_equal(job_table_watched(t, &bob), a);
    job_table_unwatch(t, a, NULL);
    assert_null(job_table_watched(t, &bob));
    for (uint64_t i = 0; i < JOB_MAX_WATCHER; i++)
        EXPECT_OK(job_table_watch(t, a, &ada, i));
    EXPECT_ST(job_table_watch(t, a, &bob, 9), ST_LIMIT);
    job_table_free(t);
}

static void
requests_and_names_are_found_until_they_go(void **state)
{
    job_watcher from = {.client = peer(1), .request = 7};
    job_table *t = NULL;
    job *j;

    (void)state;
    EXPECT_OK(job_table_new(&t, 1));
    j = add(t, "ada", "k");
    (void)snprintf(j->document, sizeof(j->document), "book");
    j->sender = from;
    job_table_index_sender(t, j);
    job_table_index_name(t, j);
    assert_ptr_equal(job_table_by_sender(t, &from), j);
    from.request = 8;
    assert_null(job_table_by_sender(t, &from));
    assert_ptr_equal(job_table_by_name(t, "ada", "book"), j);
    assert_null(job_table_by_name(t, "bob", "book"));
    job_table_state(t, j, CLIENT_FAILED);
    assert_null(job_table_by_name(t, "ada", "book"));
    from.request = 7;
    assert_ptr_equal(job_table_by_sender(t, &from), j);
    job_table_remove(t, j);
    assert_null(job_table_by_sender(t, &from));
    job_table_free(t);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_finds_its_jobs_the_latest_first),
        cmocka_unit_test(many_keys_are_told_apart),
        cmocka_unit_test(the_oldest_that_ended_are_forgotten),
        cmocka_unit_test(the_queue_is_in_the_order_of_numbers),
        cmocka_unit_test(what_ends_or_waits_is_not_queued),
        cmocka_unit_test(a_client_is_found_until_it_left),
        cmocka_unit_test(requests_and_names_are_found_until_they_go),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
