/* SPDX-License-Identifier: Apache-2.0 */
/* What worlds say of themselves, and worlds that say too little. */
#include "tests/daemon/core_harness.h"

/* What a world's heartbeats say of its hops is in the status. */
static void
hops_are_told(void **state)
{
    harness box;
    harness *h = &box;
    world_message beat = {.kind = WORLD_HEARTBEAT,
                          .u.heartbeat = {.hop_s = 4, .hop_hidden_s = 3}};
    const harness_action *a;

    (void)state;
    harness_init(h, 8);
    beat.incarnation = harness_join(h, 10, 2);
    harness_world(h, 10, beat);
    (void)EXPECT_WORLD(WORLD_HEARTBEAT);
    harness_client(h, 1, harness_plain(CLIENT_GET_STATUS));
    a = EXPECT_CLIENT(CLIENT_STATUS);
    assert_true(a->hop_s == 4);
    assert_true(a->hop_hidden_s == 3);
    harness_fini(h);
}

/* T13: a step that takes far longer than steps do is a hang. */
static void
a_world_that_hangs_is_ended(void **state)
{
    harness box;
    harness *h = &box;
    const harness_action *begin;
    world_message beat = {.kind = WORLD_HEARTBEAT};

    (void)state;
    harness_init(h, 8);
    core_launch_event(h->c, CORE_LAUNCH_STARTING, 99, "");
    harness_world(h, 10, harness_hello(2, 99));
    beat.incarnation = EXPECT_WORLD(WORLD_WELCOME)->incarnation;
    harness_client(h, 1, harness_add("d", 400));
    harness_input(h, 1, 100);
    begin = EXPECT_WORLD(WORLD_BEGIN);
    (void)EXPECT_ACTION(CORE_FEED_OPEN);
    beat.u.heartbeat.stalled_ms = 599000; /* its first step */
    harness_world(h, 10, beat);
    (void)EXPECT_WORLD(WORLD_HEARTBEAT);
    beat.u.heartbeat.slowest_ms = 1;
    beat.u.heartbeat.stalled_ms = 10000; /* within any limit */
    harness_world(h, 10, beat);
    (void)EXPECT_WORLD(WORLD_HEARTBEAT);
    beat.u.heartbeat.slowest_ms = 1000; /* slow steps: 20 s are allowed */
    beat.u.heartbeat.stalled_ms = 20000;
    harness_world(h, 10, beat);
    (void)EXPECT_WORLD(WORLD_HEARTBEAT);
    EXPECT_NOTHING();
    beat.u.heartbeat.stalled_ms = 20001;
    harness_world(h, 10, beat);
    (void)EXPECT_WORLD(WORLD_HEARTBEAT);
    (void)EXPECT_WORLD(WORLD_ABORT);
    assert_int_equal(EXPECT_ACTION(CORE_WORLD_END)->number, 99);
    (void)EXPECT_ACTION(CORE_ATTEMPT_DROP);
    EXPECT_NOTHING();
    harness_world_done(h, 10, begin, ""); /* too late */
    EXPECT_NOTHING();
    harness_fini(h);
}

/* One that has no work and does not answer is as useless as one that hangs. */
static void
a_rank_that_rests_hangs(void **state)
{
    harness box;
    harness *h = &box;
    world_message beat = {.kind = WORLD_HEARTBEAT};

    (void)state;
    harness_init(h, 8);
    core_launch_event(h->c, CORE_LAUNCH_STARTING, 99, "");
    harness_world(h, 10, harness_hello(2, 99));
    beat.incarnation = EXPECT_WORLD(WORLD_WELCOME)->incarnation;
    beat.u.heartbeat.silent_ms = 10000;
    harness_world(h, 10, beat);
    (void)EXPECT_WORLD(WORLD_HEARTBEAT);
    EXPECT_NOTHING();
    beat.u.heartbeat.silent_ms = 10001;
    harness_world(h, 10, beat);
    (void)EXPECT_WORLD(WORLD_HEARTBEAT);
    (void)EXPECT_WORLD(WORLD_ABORT);
    assert_int_equal(EXPECT_ACTION(CORE_WORLD_END)->number, 99);
    EXPECT_NOTHING();
    harness_fini(h);
}

static void
wait_ms(harness *h, uint64_t ms)
{
    harness_time(h, ms);
    core_tick(h->c);
}

/* Nothing happened but progress and heartbeats. */
static void
expect_only_talk(harness *h)
{
    for (; h->read < h->n; h->read++)
        assert_true(h->action[h->read].message == CLIENT_PROGRESS ||
                    h->action[h->read].message == (int)WORLD_HEARTBEAT);
}

static void
silence_is_an_end(void **state)
{
    harness box;
    harness *h = &box;
    const harness_action *begin;
    world_message beat = {.kind = WORLD_HEARTBEAT};

    (void)state;
    harness_init(h, 8);
    begin = harness_running_add(h, 2);
    beat.incarnation = begin->incarnation;
    for (int i = 0; i < 20; i++) {
        wait_ms(h, 900);
        if (i % 4 == 0)
            harness_world(h, 10, beat);
        expect_only_talk(h);
    }
    harness_time(h, 20000); /* this process was stopped for a while */
    core_tick(h->c);
    expect_only_talk(h);
    for (int i = 0; i < 5; i++)
        wait_ms(h, 900);
    expect_only_talk(h);
    wait_ms(h, 501);
    (void)EXPECT_WORLD(WORLD_ABORT);
    (void)EXPECT_ACTION(CORE_ATTEMPT_DROP);
    harness_fini(h);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hops_are_told),
        cmocka_unit_test(a_world_that_hangs_is_ended),
        cmocka_unit_test(a_rank_that_rests_hangs),
        cmocka_unit_test(silence_is_an_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
