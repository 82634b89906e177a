/* SPDX-License-Identifier: Apache-2.0 */
/* Worlds whose ranks outlive each other: who comes after whom. */
#include "tests/daemon/core_harness.h"

enum { LAUNCH = 99, KIN = 7 };

static void
hello(harness *h, uint8_t world, uint64_t launch, uint64_t kin)
{
    world_message m = harness_hello(2, launch);

    m.u.hello.kin = kin;
    harness_world(h, world, m);
}

/* World 10 of the launch reads job 1. */
static const harness_action *
reading(harness *h)
{
    const harness_action *begin;

    core_launch_event(h->c, CORE_LAUNCH_STARTING, LAUNCH, "");
    hello(h, 10, LAUNCH, KIN);
    (void)EXPECT_WORLD(WORLD_WELCOME);
    harness_client(h, 1, harness_add("d", 400));
    harness_input(h, 1, 100);
    begin = EXPECT_WORLD(WORLD_BEGIN);
    (void)EXPECT_ACTION(CORE_FEED_OPEN);
    return begin;
}

/* Those that are there, and one that is on its way. */
static size_t
n_world(harness *h)
{
    harness_client(h, 9, harness_plain(CLIENT_GET_STATUS));
    return EXPECT_CLIENT(CLIENT_STATUS)->n_item;
}

static void
begins_on(harness *h, uint8_t world, uint32_t attempt)
{
    const harness_action *begin = EXPECT_WORLD(WORLD_BEGIN);

    assert_int_equal(begin->peer.id[0], world);
    assert_int_equal(begin->attempt, attempt);
    (void)EXPECT_ACTION(CORE_FEED_OPEN);
}

/* Its connection may be seen to end later, or never. */
static void
kin_takes_over_what_it_was(void **state)
{
    harness *h = *state;
    const harness_action *begin = reading(h);
    zsocket_peer ten = harness_peer(10);

    hello(h, 11, LAUNCH, KIN);
    (void)EXPECT_ACTION(CORE_ATTEMPT_DROP);
    assert_true(EXPECT_WORLD(WORLD_WELCOME)->incarnation > begin->incarnation);
    begins_on(h, 11, 2);
    harness_world_done(h, 10, begin, ""); /* from the world that was */
    core_world_gone(h->c, &ten, "gone");
    EXPECT_NOTHING();
    assert_int_equal(n_world(h), 1);
}

static void
kin_that_is_gone_is_awaited(void **state)
{
    harness *h = *state;
    zsocket_peer ten = harness_peer(10);

    (void)reading(h);
    core_world_gone(h->c, &ten, "gone");
    (void)EXPECT_WORLD(WORLD_ABORT);
    assert_int_equal(EXPECT_ACTION(CORE_WORLD_AWAY)->number, LAUNCH);
    (void)EXPECT_ACTION(CORE_ATTEMPT_DROP);
    EXPECT_NOTHING();
    assert_int_equal(n_world(h), 1); /* starting */
    hello(h, 11, LAUNCH, KIN);
    (void)EXPECT_WORLD(WORLD_WELCOME);
    begins_on(h, 11, 2);
    EXPECT_NOTHING();
    assert_int_equal(n_world(h), 1); /* there */
}

/* Without kin, and of others, nothing is awaited. */
static void
others_end_as_ever(void **state)
{
    harness *h = *state;
    zsocket_peer ten = harness_peer(10), eleven = harness_peer(11);

    core_launch_event(h->c, CORE_LAUNCH_STARTING, LAUNCH, "");
    hello(h, 10, LAUNCH, 0);
    (void)EXPECT_WORLD(WORLD_WELCOME);
    hello(h, 11, 0, KIN); /* started by hand */
    (void)EXPECT_WORLD(WORLD_WELCOME);
    core_world_gone(h->c, &eleven, "gone");
    (void)EXPECT_WORLD(WORLD_ABORT);
    EXPECT_NOTHING();
    assert_int_equal(n_world(h), 1);
    core_world_gone(h->c, &ten, "gone");
    (void)EXPECT_WORLD(WORLD_ABORT);
    assert_int_equal(EXPECT_ACTION(CORE_WORLD_LEFT)->number, LAUNCH);
    EXPECT_NOTHING();
}

static void
only_kin_takes_over(void **state)
{
    harness *h = *state;

    (void)reading(h);
    hello(h, 11, 0, KIN + 1);
    (void)EXPECT_WORLD(WORLD_WELCOME);
    hello(h, 12, 0, 0);
    (void)EXPECT_WORLD(WORLD_WELCOME);
    hello(h, 13, 0, 0);
    (void)EXPECT_WORLD(WORLD_WELCOME);
    EXPECT_NOTHING();
    assert_int_equal(n_world(h), 4);
}

/* A world that says Hello once more, as after a silence, has lost nobody; its
 * job has no strike then, so that three deaths are still to come. */
static void
a_death_is_a_strike(void **state)
{
    harness *h = *state;

    (void)reading(h);
    hello(h, 10, LAUNCH, KIN);
    (void)EXPECT_ACTION(CORE_ATTEMPT_DROP);
    (void)EXPECT_WORLD(WORLD_WELCOME);
    begins_on(h, 10, 2);
    for (uint8_t n = 1; n < 3; n++) {
        hello(h, (uint8_t)(10 + n), LAUNCH, KIN);
        (void)EXPECT_ACTION(CORE_ATTEMPT_DROP);
        (void)EXPECT_WORLD(WORLD_WELCOME);
        begins_on(h, (uint8_t)(10 + n), 2 + n);
    }
    hello(h, 13, LAUNCH, KIN);
    (void)EXPECT_ACTION(CORE_JOB_DROP);
    assert_int_equal(EXPECT_ACTION(CORE_END)->state, CLIENT_FAILED);
    (void)EXPECT_WORLD(WORLD_WELCOME);
    core_ended(h->c, 1, ST_OK, "");
    EXPECT_REFUSED("poison");
    EXPECT_NOTHING();
}

/* Where both are there, none of the two is left behind. */
static void
a_world_has_one_kin(void **state)
{
    harness *h = *state;

    hello(h, 10, 0, KIN);
    hello(h, 11, 0, KIN + 1);
    harness_skip(h);
    hello(h, 11, 0, KIN);
    (void)EXPECT_WORLD(WORLD_WELCOME);
    assert_int_equal(n_world(h), 1);
}

static void
fall_silent(harness *h)
{
    for (int i = 0; i < 6; i++) {
        harness_time(h, 900);
        core_tick(h->c);
    }
}

/* Its lead may have died alone. */
static void
silent_kin_is_awaited(void **state)
{
    harness *h = *state;

    core_launch_event(h->c, CORE_LAUNCH_STARTING, LAUNCH, "");
    hello(h, 10, LAUNCH, KIN);
    (void)EXPECT_WORLD(WORLD_WELCOME);
    fall_silent(h);
    (void)EXPECT_WORLD(WORLD_ABORT);
    assert_int_equal(EXPECT_ACTION(CORE_WORLD_AWAY)->number, LAUNCH);
    EXPECT_NOTHING();
}

/* What hangs has not lost anybody, and an end that is under way waits for
 * nobody. */
static void
kin_that_hangs_is_ended(void **state)
{
    harness *h = *state;
    world_message beat = {.kind = WORLD_HEARTBEAT};

    core_launch_event(h->c, CORE_LAUNCH_STARTING, LAUNCH, "");
    hello(h, 10, LAUNCH, KIN);
    beat.incarnation = EXPECT_WORLD(WORLD_WELCOME)->incarnation;
    beat.u.heartbeat.slowest_ms = 1;
    beat.u.heartbeat.stalled_ms = 10001;
    harness_world(h, 10, beat);
    (void)EXPECT_WORLD(WORLD_HEARTBEAT);
    (void)EXPECT_WORLD(WORLD_ABORT);
    assert_int_equal(EXPECT_ACTION(CORE_WORLD_END)->number, LAUNCH);
    EXPECT_NOTHING();
}

static void
nobody_is_awaited_at_the_end(void **state)
{
    harness *h = *state;

    (void)reading(h);
    core_shutdown(h->c);
    harness_skip(h);
    fall_silent(h);
    while (h->read < h->n && h->action[h->read].kind != CORE_WORLD_END)
        h->read++;
    assert_int_equal(EXPECT_ACTION(CORE_WORLD_END)->number, LAUNCH);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        HARNESS_TEST(kin_takes_over_what_it_was),
        HARNESS_TEST(kin_that_is_gone_is_awaited),
        HARNESS_TEST(others_end_as_ever),
        HARNESS_TEST(only_kin_takes_over),
        HARNESS_TEST(a_death_is_a_strike),
        HARNESS_TEST(a_world_has_one_kin),
        HARNESS_TEST(silent_kin_is_awaited),
        HARNESS_TEST(kin_that_hangs_is_ended),
        HARNESS_TEST(nobody_is_awaited_at_the_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
