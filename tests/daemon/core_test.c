/* SPDX-License-Identifier: Apache-2.0 */
/* The core: jobs from request to answer, and the orderly end. */
#include "tests/daemon/core_harness.h"

static void
one_segment_needs_no_world(void **state)
{
    harness box;
    harness *h = &box;
    const harness_action *a;

    (void)state;
    harness_init(h, 8);
    harness_client(h, 1, harness_add("d", 32));
    harness_input(h, 1, HARNESS_SEGMENT);
    a = EXPECT_ACTION(CORE_STORE);
    assert_int_equal(a->doc.pending, HARNESS_SEGMENT);
    assert_int_equal(a->doc.segments, 1);
    assert_int_equal(a->doc.snapshot_bytes, 0);
    assert_false(document_has_model(&a->doc));
    EXPECT_NOTHING();
    core_stored(h->c, 1, ST_OK, "", NULL);
    (void)EXPECT_ACTION(CORE_JOB_DROP);
    a = EXPECT_CLIENT(CLIENT_DONE);
    assert_int_equal(a->n_segment, 1);
    EXPECT_NOTHING();
    assert_non_null(catalog_find(core_catalog(h->c), "local", "d"));
    harness_fini(h);
}

/* The last segment stays pending, full or not. */
static void
all_but_the_last_segment_are_read(void **state)
{
    const struct {
        uint64_t tokens, written;
        uint32_t pending;
    } row[] = {
        {HARNESS_SEGMENT + 1, 1, 1},
        {2 * HARNESS_SEGMENT - 1, 1, HARNESS_SEGMENT - 1},
        {2 * HARNESS_SEGMENT, 1, HARNESS_SEGMENT},
        {2 * HARNESS_SEGMENT + 1, 2, 1},
        {10 * HARNESS_SEGMENT, 9, HARNESS_SEGMENT},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(*row); i++) {
        harness box;
        harness *h = &box;
        const harness_action *begin;
        const harness_action *a;

        harness_init(h, 8);
        (void)harness_join(h, 10, 2);
        harness_client(h, 1, harness_add("d", row[i].tokens * 4));
        harness_input(h, 1, row[i].tokens);
        begin = EXPECT_WORLD(WORLD_BEGIN);
        assert_int_equal(begin->n_segment, row[i].written);
        assert_int_equal(begin->attempt, 1);
        a = EXPECT_ACTION(CORE_FEED_OPEN);
        assert_int_equal(a->allowed, 4);
        EXPECT_NOTHING();
        harness_snapshot(h, 10, begin);
        (void)EXPECT_ACTION(CORE_SNAPSHOT_PART);
        EXPECT_NOTHING();
        harness_world_done(h, 10, begin, "");
        a = EXPECT_ACTION(CORE_STORE);
        assert_int_equal(a->doc.pending, row[i].pending);
        assert_int_equal(a->doc.segments, row[i].written + 1);
        assert_int_equal(a->doc.snapshot_bytes, HARNESS_SNAPSHOT);
        assert_true(document_has_model(&a->doc));
        harness_fini(h);
    }
}

static void
the_end_may_come_before_the_snapshot(void **state)
{
    harness box;
    harness *h = &box;
    const harness_action *begin;

    (void)state;
    harness_init(h, 8);
    (void)harness_join(h, 10, 2);
    harness_client(h, 1, harness_add("d", 400));
    harness_input(h, 1, 100);
    begin = EXPECT_WORLD(WORLD_BEGIN);
    (void)EXPECT_ACTION(CORE_FEED_OPEN);
    harness_world_done(h, 10, begin, "");
    EXPECT_NOTHING();
    harness_snapshot(h, 10, begin);
    (void)EXPECT_ACTION(CORE_SNAPSHOT_PART);
    (void)EXPECT_ACTION(CORE_STORE);
    harness_fini(h);
}

static void
credit_lets_the_feed_go_on(void **state)
{
    harness box;
    harness *h = &box;
    const harness_action *begin;
    world_message m;

    (void)state;
    harness_init(h, 8);
    (void)harness_join(h, 10, 2);
    harness_client(h, 1, harness_add("d", 400));
    harness_input(h, 1, 100);
    begin = EXPECT_WORLD(WORLD_BEGIN);
    (void)EXPECT_ACTION(CORE_FEED_OPEN);
    m = harness_reply(WORLD_CREDIT, begin);
    m.u.credit.segments = 3;
    harness_world(h, 10, m);
    assert_int_equal(EXPECT_ACTION(CORE_FEED_ALLOW)->allowed, 7);
    harness_world(h, 10, m);
    assert_int_equal(EXPECT_ACTION(CORE_FEED_ALLOW)->allowed, 10);
    harness_fini(h);
}

static void
answers_are_streamed(void **state)
{
    harness box;
    harness *h = &box;
    const harness_action *begin;
    const harness_action *a;

    (void)state;
    harness_init(h, 8);
    (void)harness_document(h, "d", 20); /* two written, four pending */
    (void)harness_join(h, 10, 2);
    harness_client(h, 1, harness_ask("d", 24));
    harness_input(h, 1, 10); /* four pending and six */
    begin = EXPECT_WORLD(WORLD_BEGIN);
    assert_int_equal(begin->first_segment, 2);
    assert_int_equal(begin->n_segment, 1);
    assert_int_equal(begin->snapshot_bytes, HARNESS_SNAPSHOT);
    (void)EXPECT_ACTION(CORE_FEED_OPEN);
    harness_token(h, 10, begin, 0, 42);
    harness_kept(h, 1, 1); /* not told before */
    assert_int_equal(EXPECT_CLIENT(CLIENT_TOKEN)->index, 0);
    harness_token(h, 10, begin, 1, 43);
    harness_world_done(h, 10, begin, "eos");
    (void)EXPECT_ACTION(CORE_TOKENS);
    (void)harness_end(h, 1, CLIENT_STATE_DONE);
    assert_int_equal(EXPECT_CLIENT(CLIENT_TOKEN)->index, 1);
    a = EXPECT_CLIENT(CLIENT_DONE);
    assert_int_equal(a->n_id, 2);
    assert_string_equal(a->finish, "eos");
    EXPECT_NOTHING();
    harness_fini(h);
}

static void
a_short_document_is_asked_afresh(void **state)
{
    harness box;
    harness *h = &box;
    const harness_action *begin;

    (void)state;
    harness_init(h, 8);
    (void)harness_document(h, "d", 5);
    (void)harness_join(h, 10, 2);
    harness_client(h, 1, harness_ask("d", 4));
    harness_input(h, 1, 6);
    begin = EXPECT_WORLD(WORLD_BEGIN);
    assert_int_equal(begin->first_segment, 0);
    assert_int_equal(begin->n_segment, 0);
    assert_int_equal(begin->snapshot_bytes, 0);
    harness_fini(h);
}

static void
progress_is_told_ten_times_a_second(void **state)
{
    harness box;
    harness *h = &box;
    const harness_action *begin;
    world_message m;

    (void)state;
    harness_init(h, 8);
    (void)harness_join(h, 10, 2);
    harness_client(h, 1, harness_add("d", 400));
    harness_input(h, 1, 100);
    begin = EXPECT_WORLD(WORLD_BEGIN);
    (void)EXPECT_ACTION(CORE_FEED_OPEN);
    m = harness_reply(WORLD_SEGMENTS_DONE, begin);
    for (uint64_t i = 1; i <= 10; i++) {
        m.u.segments_done.segments = i;
        harness_time(h, 20);
        harness_world(h, 10, m);
        core_tick(h->c);
    }
    assert_int_equal(EXPECT_CLIENT(CLIENT_PROGRESS)->n_segment, 5);
    assert_int_equal(EXPECT_CLIENT(CLIENT_PROGRESS)->n_segment, 10);
    EXPECT_NOTHING();
    harness_fini(h);
}

/* Of many that wait each hears something now and then, and no tick is long. */
static void
many_jobs_are_told_by_turns(void **state)
{
    enum { MANY = 600, FEW = 32, TICKS = 100 };
    unsigned heard[MANY + 1] = {0};
    harness box;
    harness *h = &box;

    (void)state;
    harness_init(h, MANY);
    (void)harness_document(h, "d", 4);
    for (uint64_t id = 1; id <= MANY; id++) {
        harness_client(h, 1, harness_ask("d", 4));
        harness_chunk(h, 1, 2, 0, 4);
        core_submitted(h->c, id, ST_OK, "");
        h->n = h->read = 0;
    }
    for (int tick = 0; tick < TICKS; tick++) {
        size_t told = 0;

        harness_time(h, 50);
        core_tick(h->c);
        for (; h->read < h->n; h->read++) {
            const harness_action *a = &h->action[h->read];

            if (a->kind != CORE_TELL_CLIENT)
                continue;
            assert_int_equal(a->message, CLIENT_PROGRESS);
            heard[a->job]++;
            told++;
        }
        assert_true(told <= FEW);
        h->n = h->read = 0;
    }
    for (uint64_t id = 1; id <= MANY; id++)
        assert_true(heard[id] >= 2);
    harness_fini(h);
}

static void
nothing_is_kept_when_storing_fails(void **state)
{
    harness box;
    harness *h = &box;

    (void)state;
    harness_init(h, 8);
    harness_client(h, 1, harness_add("d", 32));
    harness_input(h, 1, 8);
    (void)EXPECT_ACTION(CORE_STORE);
    core_stored(h->c, 1, ST_IO, "the disk is full", NULL);
    (void)harness_end(h, 1, CLIENT_FAILED);
    EXPECT_REFUSED("io");
    assert_null(catalog_find(core_catalog(h->c), "local", "d"));
    harness_fini(h);
}

static void
input_that_stops_coming_fails(void **state)
{
    harness box;
    harness *h = &box;

    (void)state;
    harness_init(h, 8);
    harness_client(h, 1, harness_add("d", 32));
    harness_chunk(h, 1, 1, 0, 16);
    harness_skip(h);
    for (int i = 0; i < 61; i++) {
        harness_skip(h);
        harness_time(h, 999);
        core_tick(h->c);
    }
    (void)EXPECT_ACTION(CORE_JOB_DROP);
    EXPECT_REFUSED("timeout");
    harness_fini(h);
}

static void
shutdown_puts_away_what_runs(void **state)
{
    harness box;
    harness *h = &box;
    const harness_action *begin;
    world_message m;

    (void)state;
    harness_init(h, 8);
    (void)harness_join(h, 10, 2);
    harness_client(h, 1, harness_add("stored", 32));
    harness_input(h, 1, 8);
    (void)EXPECT_ACTION(CORE_STORE);
    harness_client(h, 1, harness_add("runs", 400));
    harness_input(h, 2, 100);
    begin = EXPECT_WORLD(WORLD_BEGIN);
    (void)EXPECT_ACTION(CORE_FEED_OPEN);
    harness_client(h, 1, harness_plain(CLIENT_SHUTDOWN));
    (void)EXPECT_CLIENT(CLIENT_DONE);
    (void)EXPECT_WORLD(WORLD_DRAIN);
    EXPECT_NOTHING();
    m = harness_reply(WORLD_JOB_FAILED, begin);
    m.u.failed.code = (char *)(uintptr_t) "canceled";
    m.u.failed.text = (char *)(uintptr_t) "drained";
    harness_world(h, 10, m);
    (void)EXPECT_ACTION(CORE_ATTEMPT_DROP); /* and no failure */
    (void)EXPECT_WORLD(WORLD_STOP);
    EXPECT_NOTHING();
    core_stored(h->c, 1, ST_OK, "", NULL);
    (void)EXPECT_ACTION(CORE_JOB_DROP);
    (void)EXPECT_CLIENT(CLIENT_DONE);
    assert_int_equal(EXPECT_ACTION(CORE_LEAVE)->number, 0);
    EXPECT_NOTHING();
    harness_client(h, 1, harness_add("late", 32));
    EXPECT_REFUSED("state");
    harness_fini(h);
}

static void
a_world_that_does_not_drain_is_left(void **state)
{
    harness box;
    harness *h = &box;

    (void)state;
    harness_init(h, 8);
    (void)harness_join(h, 10, 2);
    harness_client(h, 1, harness_add("runs", 400));
    harness_input(h, 1, 100);
    core_tick(h->c);
    harness_skip(h);
    core_shutdown(h->c);
    (void)EXPECT_WORLD(WORLD_DRAIN);
    h->time.now_ns += UINT64_C(31) * 1000000000;
    core_set_time(h->c, &h->time);
    core_shutdown(h->c);
    core_tick(h->c);
    while (h->action[h->read].kind == CORE_TELL_CLIENT)
        h->read++;
    (void)EXPECT_WORLD(WORLD_STOP);
    assert_int_equal(EXPECT_ACTION(CORE_LEAVE)->number, 1);
    harness_fini(h);
}

static void
jobs_outlast_the_end_of_their_world(void **state)
{
    harness box;
    harness *h = &box;
    const harness_action *a;

    (void)state;
    harness_init(h, 8);
    core_launch_event(h->c, CORE_LAUNCH_STARTING, 99, "");
    harness_client(h, 1, harness_add("d", 400));
    harness_input(h, 1, 100);
    EXPECT_NOTHING();
    core_launch_event(h->c, CORE_LAUNCH_WAITING, 0, "mpirun: no such file");
    EXPECT_NOTHING();
    harness_client(h, 1, harness_plain(CLIENT_GET_STATUS));
    a = EXPECT_CLIENT(CLIENT_STATUS);
    assert_string_equal(a->text, "mpirun: no such file");
    (void)harness_join(h, 10, 2);
    (void)EXPECT_WORLD(WORLD_BEGIN);
    harness_fini(h);
}

/* Years forth and back: nobody was silent so long, and nothing is over. */
static void
the_wall_clock_expires_nothing(void **state)
{
    static const int64_t jump[] = {INT64_C(10) * 365 * 86400 * 1000,
                                   INT64_C(-20) * 365 * 86400 * 1000};
    harness box;
    harness *h = &box;

    (void)state;
    harness_init(h, 8);
    (void)harness_join(h, 100, 2);
    harness_client(h, 1, harness_add("slow", 40));
    harness_skip(h);
    for (size_t i = 0; i < 2; i++) {
        h->time.wall_ms += jump[i];
        harness_time(h, 20);
        core_tick(h->c);
        assert_int_equal(job_table_at(core_jobs(h->c), 0)->state,
                         CLIENT_RECEIVING);
        harness_skip(h);
        harness_client(h, 2, harness_plain(CLIENT_GET_STATUS));
        assert_int_equal(EXPECT_CLIENT(CLIENT_STATUS)->n_item, 1);
    }
    harness_fini(h);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_segment_needs_no_world),
        cmocka_unit_test(all_but_the_last_segment_are_read),
        cmocka_unit_test(the_end_may_come_before_the_snapshot),
        cmocka_unit_test(credit_lets_the_feed_go_on),
        cmocka_unit_test(answers_are_streamed),
        cmocka_unit_test(a_short_document_is_asked_afresh),
        cmocka_unit_test(progress_is_told_ten_times_a_second),
        cmocka_unit_test(many_jobs_are_told_by_turns),
        cmocka_unit_test(nothing_is_kept_when_storing_fails),
        cmocka_unit_test(input_that_stops_coming_fails),
        cmocka_unit_test(shutdown_puts_away_what_runs),
        cmocka_unit_test(a_world_that_does_not_drain_is_left),
        cmocka_unit_test(jobs_outlast_the_end_of_their_world),
        cmocka_unit_test(the_wall_clock_expires_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
