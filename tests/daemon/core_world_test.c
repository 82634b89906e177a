/* SPDX-License-Identifier: Apache-2.0 */
/* Worlds: joining, fencing, second attempts, and which job runs where. */
#include "tests/daemon/core_harness.h"

static void
other_models_are_turned_away(void **state)
{
    harness box;
    harness *h = &box;
    world_message m = harness_hello(2, 0);

    (void)state;
    harness_init(h, 8);
    m.u.hello.n_layer = 3;
    harness_world(h, 10, m);
    assert_string_equal(EXPECT_WORLD(WORLD_REFUSE)->code, "state");
    (void)harness_join(h, 11, 2);
    m = harness_hello(2, 0);
    m.u.hello.fingerprint[5] = 9;
    harness_world(h, 12, m);
    assert_string_equal(EXPECT_WORLD(WORLD_REFUSE)->code, "state");
    harness_fini(h);
}

static void
stale_messages_are_dropped(void **state)
{
    harness box;
    harness *h = &box;
    const harness_action *begin;
    world_message m;

    (void)state;
    harness_init(h, 8);
    begin = harness_running_add(h, 2);
    m = harness_reply(WORLD_JOB_DONE, begin);
    m.u.job_done.finish = (char *)(uintptr_t) "";
    m.attempt = 2;
    harness_world(h, 10, m);
    m = harness_reply(WORLD_CREDIT, begin);
    m.u.credit.segments = 1;
    m.incarnation += 1;
    harness_world(h, 10, m);
    m = harness_reply(WORLD_CREDIT, begin);
    m.u.credit.segments = 1;
    m.job = 99;
    harness_world(h, 10, m);
    m.job = 1;
    harness_world(h, 11, m); /* a world that never said hello */
    EXPECT_NOTHING();
    harness_fini(h);
}

static void
expect_noted(const harness *h, size_t n, uint64_t id)
{
    assert_int_equal(h->n_incident, n);
    assert_int_equal(h->incident_job, id);
    assert_non_null(strstr(h->incident, "dropped"));
}

/* Once a world; of those that are none once each, and not at any pace. */
static void
what_is_dropped_is_noted(void **state)
{
    harness box;
    harness *h = &box;
    const harness_action *begin;
    world_message m, done;

    (void)state;
    harness_init(h, 8);
    begin = harness_running_add(h, 2);
    assert_int_equal(h->n_incident, 0);
    done = harness_reply(WORLD_JOB_DONE, begin);
    done.u.job_done.finish = (char *)(uintptr_t) "";
    m = done;
    m.attempt = 2;
    harness_world(h, 10, m);
    expect_noted(h, 1, 1);
    harness_world(h, 10, m);
    expect_noted(h, 1, 1);
    m = done;
    m.incarnation--; /* of an earlier life */
    harness_world(h, 10, m);
    expect_noted(h, 2, 1);
    harness_world(h, 11, m); /* from wherever it comes */
    m.incarnation--;
    harness_world(h, 11, m); /* too soon */
    expect_noted(h, 2, 1);
    harness_time(h, 1000);
    m.job = 5;
    harness_world(h, 11, m);
    expect_noted(h, 3, 5);
    harness_time(h, 1000);
    m = (world_message){.kind = WORLD_HEARTBEAT, .incarnation = 1};
    harness_world(h, 11, m); /* says nothing of a job */
    expect_noted(h, 3, 5);
    EXPECT_NOTHING();
    harness_fini(h);
}

/* The last word of a world on a job that was canceled is due. */
static void
an_end_after_a_cancel_is_no_incident(void **state)
{
    harness box;
    harness *h = &box;
    const harness_action *begin;
    world_message m;

    (void)state;
    harness_init(h, 8);
    begin = harness_running_add(h, 2);
    harness_client(h, 2, harness_job(CLIENT_CANCEL, 1));
    m = harness_reply(WORLD_CREDIT, begin);
    m.u.credit.segments = 1;
    harness_world(h, 10, m);
    harness_world_done(h, 10, begin, "");
    assert_int_equal(h->n_incident, 0);
    harness_world_done(h, 10, begin, ""); /* once is enough */
    expect_noted(h, 1, 1);
    harness_fini(h);
}

static void
a_world_that_restarts_is_another_one(void **state)
{
    harness box;
    harness *h = &box;
    const harness_action *begin;
    const harness_action *again;

    (void)state;
    harness_init(h, 8);
    begin = harness_running_add(h, 2);
    harness_world(h, 10, harness_hello(2, 0));
    (void)EXPECT_ACTION(CORE_ATTEMPT_DROP);
    assert_true(EXPECT_WORLD(WORLD_WELCOME)->incarnation > begin->incarnation);
    again = EXPECT_WORLD(WORLD_BEGIN);
    assert_int_equal(again->attempt, 2);
    (void)EXPECT_ACTION(CORE_FEED_OPEN);
    harness_world_done(h, 10, begin, ""); /* of the one before */
    EXPECT_NOTHING();
    harness_snapshot(h, 10, again);
    (void)EXPECT_ACTION(CORE_SNAPSHOT_PART);
    harness_world_done(h, 10, again, "");
    (void)EXPECT_ACTION(CORE_STORE);
    harness_fini(h);
}

/* P4: a job stays on one backend, or it is said that it moved. */
static void
a_move_to_another_device_is_noted(void **state)
{
    static char other[] = "cuda";
    zsocket_peer peer = harness_peer(10);
    harness box;
    harness *h = &box;
    world_message m = harness_hello(2, 0);

    (void)state;
    harness_init(h, 8);
    (void)harness_running_add(h, 2);
    for (int i = 0; i < 2; i++) { /* another world, and another device */
        const size_t before = h->n_incident;

        core_world_gone(h->c, &peer, "it went");
        harness_skip(h);
        assert_int_equal(h->n_incident, before + 1);
        if (i == 1)
            m.u.hello.device = m.u.hello.device_name = other;
        harness_world(h, 10, m);
        (void)EXPECT_WORLD(WORLD_WELCOME);
        (void)EXPECT_WORLD(WORLD_BEGIN);
        harness_skip(h);
        assert_int_equal(h->n_incident, before + 1 + (i == 1));
    }
    assert_int_equal(h->incident_job, 1);
    assert_non_null(strstr(h->incident, "moved from cpu to cuda"));
    harness_fini(h);
}

/* T15: a job that ends every world that runs it costs three of them; the jobs
 * beside it are tried alone and live. */
static void
a_poisonous_job_costs_three_worlds(void **state)
{
    harness box;
    harness *h = &box;
    const harness_action *a;
    const harness_action *begin;
    zsocket_peer peer = harness_peer(10);

    (void)state;
    harness_init(h, 8);
    (void)harness_running_add(h, 4);
    (void)harness_document(h, "q", 20);
    harness_client(h, 2, harness_ask("q", 4));
    harness_input(h, 2, 5);
    (void)EXPECT_WORLD(WORLD_BEGIN);
    (void)EXPECT_ACTION(CORE_FEED_OPEN);
    core_world_gone(h->c, &peer, "rank 1 was killed");
    (void)EXPECT_WORLD(WORLD_ABORT);
    (void)EXPECT_ACTION(CORE_ATTEMPT_DROP);
    (void)EXPECT_ACTION(CORE_ATTEMPT_DROP);
    EXPECT_NOTHING();
    /* Both are suspects now: the question first, alone. */
    (void)harness_join(h, 11, 4);
    begin = EXPECT_WORLD(WORLD_BEGIN);
    assert_int_equal(begin->job, 2);
    (void)EXPECT_ACTION(CORE_FEED_OPEN);
    EXPECT_NOTHING();
    harness_world_done(h, 11, begin, "eos");
    (void)harness_end(h, 2, CLIENT_STATE_DONE);
    (void)EXPECT_WORLD(WORLD_BEGIN); /* the world was free at once */
    harness_skip(h);
    peer = harness_peer(11);
    core_world_gone(h->c, &peer, "rank 1 was killed");
    (void)EXPECT_WORLD(WORLD_ABORT);
    (void)EXPECT_ACTION(CORE_ATTEMPT_DROP);
    (void)harness_join(h, 12, 4);
    assert_int_equal(EXPECT_WORLD(WORLD_BEGIN)->attempt, 3);
    (void)EXPECT_ACTION(CORE_FEED_OPEN);
    peer = harness_peer(12);
    core_world_gone(h->c, &peer, "rank 0 was killed");
    (void)EXPECT_WORLD(WORLD_ABORT);
    (void)harness_end(h, 1, CLIENT_FAILED);
    a = EXPECT_CLIENT(CLIENT_REFUSED);
    assert_string_equal(a->code, "poison");
    assert_non_null(strstr(a->text, "rank 0 was killed"));
    assert_int_equal(a->job, 1);
    EXPECT_NOTHING();
    harness_fini(h);
}

static void
the_launched_world_ends_with_its_process(void **state)
{
    harness box;
    harness *h = &box;

    (void)state;
    harness_init(h, 8);
    core_launch_event(h->c, CORE_LAUNCH_STARTING, 99, "");
    harness_world(h, 10, harness_hello(2, 99));
    (void)EXPECT_WORLD(WORLD_WELCOME);
    harness_world(h, 11, harness_hello(2, 0));
    (void)EXPECT_WORLD(WORLD_WELCOME);
    core_launch_event(h->c, CORE_LAUNCH_STARTING, 0, "ended with status 137");
    harness_client(h, 1, harness_plain(CLIENT_GET_STATUS));
    /* The other world, and the one that is starting again. */
    assert_int_equal(EXPECT_CLIENT(CLIENT_STATUS)->n_item, 2);
    harness_fini(h);
}

static const harness_action *
running_ask(harness *h, uint32_t streams)
{
    const harness_action *begin;

    (void)harness_document(h, "d", 20);
    (void)harness_join(h, 10, streams);
    harness_client(h, 1, harness_ask("d", 4));
    harness_input(h, 1, 5);
    begin = EXPECT_WORLD(WORLD_BEGIN);
    (void)EXPECT_ACTION(CORE_FEED_OPEN);
    return begin;
}

static void
a_second_attempt_repeats_in_silence(void **state)
{
    harness box;
    harness *h = &box;
    const harness_action *begin;
    zsocket_peer ten = harness_peer(10);

    (void)state;
    harness_init(h, 8);
    begin = running_ask(h, 2);
    harness_token(h, 10, begin, 0, 42);
    harness_kept(h, 1, 1);
    (void)EXPECT_CLIENT(CLIENT_TOKEN);
    core_world_gone(h->c, &ten, "gone");
    (void)EXPECT_WORLD(WORLD_ABORT);
    (void)EXPECT_ACTION(CORE_ATTEMPT_DROP);
    (void)harness_join(h, 11, 2);
    begin = EXPECT_WORLD(WORLD_BEGIN);
    assert_int_equal(begin->n_forced, 1); /* a token that was told stands */
    (void)EXPECT_ACTION(CORE_FEED_OPEN);
    harness_token(h, 11, begin, 0, 42);
    EXPECT_NOTHING();
    harness_token(h, 11, begin, 1, 43);
    harness_kept(h, 1, 2);
    assert_int_equal(EXPECT_CLIENT(CLIENT_TOKEN)->index, 1);
    harness_fini(h);
}

static harness_wrong
token(uint32_t at, int32_t id)
{
    harness_wrong w = {.m = {.kind = WORLD_TOKEN}};

    w.m.u.token.index = at;
    w.m.u.token.id = id;
    return w;
}

static void
wrong_tokens_end_the_job(void **state)
{
    const harness_wrong row[] = {
        token(1, 5),   /* a gap */
        token(0, -1),  /* no id */
        token(0, 100), /* beyond the vocabulary */
        token(4, 5),   /* beyond what was asked for */
    };

    (void)state;
    harness_wrong_each(running_ask, row, sizeof(row) / sizeof(*row));
}

static harness_wrong
part(uint64_t offset, uint64_t total, bool last, size_t len)
{
    harness_wrong w = {.m = {.kind = WORLD_SNAPSHOT}, .len = len};

    w.m.u.snapshot.offset = offset;
    w.m.u.snapshot.total = total;
    w.m.u.snapshot.last = last;
    return w;
}

static void
wrong_snapshots_end_the_job(void **state)
{
    const harness_wrong row[] = {
        part(4, HARNESS_SNAPSHOT, false, 8),                /* a gap */
        part(0, HARNESS_SNAPSHOT, true, 8),                 /* ends early */
        part(0, HARNESS_SNAPSHOT, false, HARNESS_SNAPSHOT), /* does not end */
        part(0, HARNESS_SNAPSHOT + 1, false, 8),            /* another size */
        part(0, HARNESS_SNAPSHOT, false, 0),                /* nothing */
    };

    (void)state;
    harness_wrong_each(harness_running_add, row, sizeof(row) / sizeof(*row));
}

static void
the_worlds_own_failure_is_passed_on(void **state)
{
    harness box;
    harness *h = &box;
    const harness_action *begin;
    const harness_action *a;
    world_message m;

    (void)state;
    harness_init(h, 8);
    begin = harness_running_add(h, 2);
    m = harness_reply(WORLD_JOB_FAILED, begin);
    m.u.failed.code = (char *)(uintptr_t) "nomem";
    m.u.failed.text = (char *)(uintptr_t) "no memory on rank 1";
    harness_world(h, 10, m);
    (void)harness_end(h, 1, CLIENT_FAILED);
    a = EXPECT_CLIENT(CLIENT_REFUSED);
    assert_string_equal(a->code, "nomem");
    assert_string_equal(a->text, "no memory on rank 1");
    EXPECT_NOTHING();
    harness_fini(h);
}

static void
questions_go_first(void **state)
{
    harness box;
    harness *h = &box;

    (void)state;
    harness_init(h, 8);
    (void)harness_document(h, "d", 20);
    harness_client(h, 1, harness_add("a", 400));
    harness_input(h, 1, 100);
    harness_client(h, 1, harness_ask("d", 4));
    harness_input(h, 2, 5);
    EXPECT_NOTHING();
    (void)harness_join(h, 10, 1);
    assert_int_equal(EXPECT_WORLD(WORLD_BEGIN)->job, 2);
    (void)EXPECT_ACTION(CORE_FEED_OPEN);
    EXPECT_NOTHING();
    harness_fini(h);
}

static void
documents_leave_a_stream_to_questions(void **state)
{
    harness box;
    harness *h = &box;

    (void)state;
    harness_init(h, 8);
    (void)harness_document(h, "d", 20);
    (void)harness_join(h, 10, 2);
    harness_client(h, 1, harness_add("a", 400));
    harness_input(h, 1, 100);
    assert_int_equal(EXPECT_WORLD(WORLD_BEGIN)->job, 1);
    (void)EXPECT_ACTION(CORE_FEED_OPEN);
    harness_client(h, 1, harness_add("b", 400));
    harness_input(h, 2, 100);
    EXPECT_NOTHING();
    harness_client(h, 1, harness_ask("d", 4));
    harness_input(h, 3, 5);
    assert_int_equal(EXPECT_WORLD(WORLD_BEGIN)->job, 3);
    harness_fini(h);
}

static void
worlds_share_the_jobs(void **state)
{
    harness box;
    harness *h = &box;
    const harness_action *first;
    const harness_action *second;

    (void)state;
    harness_init(h, 8);
    (void)harness_join(h, 10, 2);
    (void)harness_join(h, 11, 2);
    harness_client(h, 1, harness_add("a", 400));
    harness_input(h, 1, 100);
    first = EXPECT_WORLD(WORLD_BEGIN);
    (void)EXPECT_ACTION(CORE_FEED_OPEN);
    harness_client(h, 1, harness_add("b", 400));
    harness_input(h, 2, 100);
    second = EXPECT_WORLD(WORLD_BEGIN);
    assert_int_not_equal(first->peer.id[0], second->peer.id[0]);
    harness_fini(h);
}

static void
answers_longer_than_any_world_gives_are_refused(void **state)
{
    harness box;
    harness *h = &box;
    client_message m = harness_ask("d", 4);

    (void)state;
    harness_init(h, 8);
    (void)harness_document(h, "d", 20);
    (void)harness_join(h, 10, 2);
    m.u.ask.sampling.max_tokens = 17;
    harness_client(h, 1, m);
    EXPECT_REFUSED("limit");
    EXPECT_NOTHING();
    harness_fini(h);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(other_models_are_turned_away),
        cmocka_unit_test(stale_messages_are_dropped),
        cmocka_unit_test(what_is_dropped_is_noted),
        cmocka_unit_test(an_end_after_a_cancel_is_no_incident),
        cmocka_unit_test(a_world_that_restarts_is_another_one),
        cmocka_unit_test(a_move_to_another_device_is_noted),
        cmocka_unit_test(a_poisonous_job_costs_three_worlds),
        cmocka_unit_test(the_launched_world_ends_with_its_process),
        cmocka_unit_test(a_second_attempt_repeats_in_silence),
        cmocka_unit_test(wrong_tokens_end_the_job),
        cmocka_unit_test(wrong_snapshots_end_the_job),
        cmocka_unit_test(the_worlds_own_failure_is_passed_on),
        cmocka_unit_test(questions_go_first),
        cmocka_unit_test(documents_leave_a_stream_to_questions),
        cmocka_unit_test(worlds_share_the_jobs),
        cmocka_unit_test(answers_longer_than_any_world_gives_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
