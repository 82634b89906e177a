/* SPDX-License-Identifier: Apache-2.0 */
/* Who is told of the end: jobs that are canceled, left, or watched. */
#include "tests/daemon/core_harness.h"

static void
jobs_are_canceled_in_every_state(void **state)
{
    harness *h = *state;
    const harness_action *begin;

    harness_client(h, 1, harness_add("receiving", 1000));
    harness_skip(h);
    harness_canceled(h, 1);
    harness_client(h, 1, harness_add("queued", 400));
    harness_input(h, 2, 100);
    harness_canceled(h, 2);
    (void)harness_join(h, 10, 1);
    harness_client(h, 1, harness_add("running", 400));
    harness_input(h, 3, 100);
    begin = EXPECT_WORLD(WORLD_BEGIN);
    (void)EXPECT_ACTION(CORE_FEED_OPEN);
    harness_client(h, 2, harness_job(CLIENT_CANCEL, 3));
    assert_int_equal(EXPECT_WORLD(WORLD_CANCEL)->attempt, begin->attempt);
    (void)harness_end(h, 3, CLIENT_CANCELED);
    EXPECT_REFUSED("canceled");
    (void)EXPECT_CLIENT(CLIENT_DONE);
    /* The only stream is taken until the world has let go. */
    harness_client(h, 1, harness_add("next", 400));
    harness_input(h, 4, 100);
    EXPECT_NOTHING();
    harness_world_done(h, 10, begin, "");
    assert_int_equal(EXPECT_WORLD(WORLD_BEGIN)->job, 4);
}

static void
it_can_be_too_late_to_cancel(void **state)
{
    harness *h = *state;

    harness_client(h, 1, harness_add("d", 32));
    harness_input(h, 1, 8);
    (void)EXPECT_ACTION(CORE_STORE);
    harness_refused(h, harness_job(CLIENT_CANCEL, 1), "state");
    core_stored(h->c, 1, ST_OK, "", NULL);
    harness_skip(h);
    harness_refused(h, harness_job(CLIENT_CANCEL, 1), "state");
}

static void
a_client_that_left_takes_only_its_input_along(void **state)
{
    harness *h = *state;
    zsocket_peer one = harness_peer(1);
    const harness_action *begin;

    (void)harness_document(h, "d", 20);
    (void)harness_join(h, 10, 2);
    harness_client(h, 1, harness_ask("d", 4));
    harness_input(h, 1, 5);
    begin = EXPECT_WORLD(WORLD_BEGIN);
    (void)EXPECT_ACTION(CORE_FEED_OPEN);
    harness_client(h, 1, harness_add("half", 1000));
    harness_chunk(h, 1, 1, 0, 10);
    harness_skip(h);
    core_client_gone(h->c, &one);
    assert_int_equal(EXPECT_ACTION(CORE_JOB_DROP)->job, 2);
    EXPECT_NOTHING();
    harness_token(h, 10, begin, 0, 42); /* nobody to tell */
    harness_kept(h, 1, 1);
    EXPECT_NOTHING();
    harness_world_done(h, 10, begin, "eos");
    (void)harness_end(h, 1, CLIENT_STATE_DONE);
    EXPECT_NOTHING();
    /* It comes back by number and finds the answer. */
    harness_client(h, 3, harness_job(CLIENT_WATCH, 1));
    assert_int_equal(EXPECT_CLIENT(CLIENT_DONE)->n_id, 1);
    harness_client(h, 3, harness_job(CLIENT_WATCH, 2));
    EXPECT_REFUSED("io");
}

static void
watchers_hear_the_end(void **state)
{
    harness *h = *state;

    harness_client(h, 1, harness_add("d", 32));
    harness_skip(h);
    harness_client(h, 2, harness_job(CLIENT_WATCH, 1));
    assert_int_equal(EXPECT_CLIENT(CLIENT_PROGRESS)->state, CLIENT_RECEIVING);
    harness_chunk(h, 1, 1, 0, 32);
    core_submitted(h->c, 1, ST_OK, "");
    core_tokenized(h->c, 1, 8, true);
    core_stored(h->c, 1, ST_OK, "", NULL);
    while (h->action[h->read].message != CLIENT_DONE)
        h->read++;
    assert_int_equal(EXPECT_CLIENT(CLIENT_DONE)->request, 1);
    assert_int_equal(EXPECT_CLIENT(CLIENT_DONE)->request, 4);
}

static void
what_is_only_in_the_journal_is_fetched(void **state)
{
    harness *h = *state;
    int32_t ids[] = {4, 5};
    char text[] = "ab";
    store_record r = {.row = {.id = 77,
                              .kind = JOB_ASK,
                              .state = CLIENT_STATE_DONE,
                              .finish = "eos"},
                      .ids = ids,
                      .n_id = 2,
                      .text = text,
                      .text_len = 2};
    job_watcher to = {.client = harness_peer(1), .request = 9};

    harness_client(h, 1, harness_job(CLIENT_WATCH, 77));
    assert_int_equal(EXPECT_ACTION(CORE_FETCH)->number, 77);
    core_fetched(h->c, &to, ST_OK, &r, "");
    assert_int_equal(EXPECT_CLIENT(CLIENT_DONE)->n_id, 2);
    r.row.state = CLIENT_FAILED;
    r.row.st = ST_POISON;
    core_fetched(h->c, &to, ST_OK, &r, "");
    EXPECT_REFUSED("poison");
    core_fetched(h->c, &to, ST_NOTFOUND, NULL, "there is no job 77");
    EXPECT_REFUSED("notfound");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        HARNESS_TEST(jobs_are_canceled_in_every_state),
        HARNESS_TEST(it_can_be_too_late_to_cancel),
        HARNESS_TEST(a_client_that_left_takes_only_its_input_along),
        HARNESS_TEST(watchers_hear_the_end),
        HARNESS_TEST(what_is_only_in_the_journal_is_fetched),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
