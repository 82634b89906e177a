/* SPDX-License-Identifier: Apache-2.0 */
/* Requests of clients: what is refused, and when input is acknowledged. */
#include "tests/daemon/core_harness.h"

static void
bad_requests_change_nothing(void **state)
{
    harness *h = *state;
    client_message m;

    (void)harness_document(h, "there", 5);
    harness_refused(h, harness_add("d", 0), "arg");
    harness_refused(h, harness_add("d", 4004), "limit");
    harness_refused(h, harness_add("there", 4), "state");
    m = harness_add("d", 4);
    m.u.add.input = CLIENT_TEXT;
    harness_refused(h, m, "unsupported");
    m = harness_add("d", 4);
    m.u.add.model = (char *)(uintptr_t) "other";
    harness_refused(h, m, "state");
    harness_refused(h, harness_ask("nobody", 4), "notfound");
    catalog_find(core_catalog(h->c), "local", "there")->damaged = true;
    harness_refused(h, harness_ask("there", 4), "io");
    catalog_find(core_catalog(h->c), "local", "there")->damaged = false;
    harness_refused(h, harness_ask("there", 0), "arg");
    m = harness_ask("there", 4);
    m.u.ask.sampling.max_tokens = 0;
    harness_refused(h, m, "arg");
    harness_refused(h, harness_name(CLIENT_SHOW, "nobody"), "notfound");
    harness_refused(h, harness_name(CLIENT_REMOVE, "nobody"), "notfound");
    harness_refused(h, harness_job(CLIENT_CANCEL, 77), "notfound");
    harness_refused(h, harness_plain(CLIENT_STATUS), "wire");
}

static void
the_models_name_is_accepted(void **state)
{
    harness *h = *state;
    client_message m = harness_add("d", 32);

    m.u.add.model = (char *)(uintptr_t) "tiny";
    harness_client(h, 1, m);
    harness_input(h, 1, 8);
}

static void
a_name_is_taken_while_it_is_added(void **state)
{
    static const char *const names[] = {"c", "d", "e"};
    harness *h = *state;

    for (size_t i = 0; i < 3; i++)
        harness_client(h, 1, harness_add(names[i], 32));
    harness_skip(h);
    for (size_t i = 0; i < 3; i++) /* whichever of the jobs it is */
        harness_refused(h, harness_add(names[i], 32), "state");
}

static void
expect_limit(harness *h, client_message m, bool later)
{
    const harness_action *a;

    harness_client(h, 1, m);
    a = EXPECT_CLIENT(CLIENT_REFUSED);
    assert_string_equal(a->code, "limit");
    assert_int_equal(a->retry_after_s > 0, later);
    EXPECT_NOTHING();
}

static void
a_full_queue_says_when_to_come_back(void **state)
{
    harness box;
    harness *h = &box;

    (void)state;
    harness_init(h, 2);
    harness_client(h, 1, harness_add("a", 32));
    harness_client(h, 1, harness_add("b", 32));
    harness_skip(h);
    expect_limit(h, harness_add("c", 32), true);
    expect_limit(h, harness_add("c", 4004), false);
    harness_fini(h);
}

static void
chunks_are_held_to_order_and_credit(void **state)
{
    const struct {
        uint64_t first, offset;
        size_t len;
        const char *code;
    } row[] = {
        {16, 20, 4, "wire"},    /* a gap */
        {16, 0, 4, "wire"},     /* again */
        {16, 16, 0, "wire"},    /* nothing */
        {16, 16, 985, "wire"},  /* more than announced */
        {16, 16, 388, "limit"}, /* beyond the credit of 400 */
    };

    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(*row); i++) {
        harness box;
        harness *h = &box;

        harness_init(h, 8);
        harness_client(h, 1, harness_add("d", 1000));
        (void)EXPECT_ACTION(CORE_INPUT_OPEN);
        assert_int_equal(EXPECT_CLIENT(CLIENT_MORE_INPUT)->allowed, 400);
        harness_chunk(h, 1, 1, 0, row[i].first);
        (void)EXPECT_ACTION(CORE_INPUT_DATA);
        harness_chunk(h, 1, 1, row[i].offset, row[i].len);
        (void)EXPECT_ACTION(CORE_JOB_DROP);
        EXPECT_REFUSED(row[i].code);
        harness_chunk(h, 1, 1, 16, 4); /* the job is over */
        EXPECT_NOTHING();
        harness_fini(h);
    }
}

static void
credit_follows_what_is_written(void **state)
{
    harness box;
    harness *h = &box;

    (void)state;
    harness_init_input(h, 1 << 20, 100000);
    harness_client(h, 1, harness_add("d", 200000));
    harness_skip(h);
    harness_chunk(h, 1, 1, 0, 100000);
    (void)EXPECT_ACTION(CORE_INPUT_DATA);
    core_input_written(h->c, 1, 40000);
    assert_int_equal(EXPECT_CLIENT(CLIENT_MORE_INPUT)->allowed, 140000);
    core_input_written(h->c, 1, 100000);
    assert_int_equal(EXPECT_CLIENT(CLIENT_MORE_INPUT)->allowed, 200000);
    harness_chunk(h, 1, 1, 100000, 100000);
    (void)EXPECT_ACTION(CORE_INPUT_DATA);
    EXPECT_NOTHING(); /* come in is not yet in place */
    core_input_written(h->c, 1, 200000);
    (void)EXPECT_ACTION(CORE_SUBMIT);
    EXPECT_NOTHING(); /* in place is not yet durable */
    core_submitted(h->c, 1, ST_OK, "");
    assert_int_equal(EXPECT_CLIENT(CLIENT_ACCEPTED)->job, 1);
    harness_fini(h);
}

/* A job that the journal did not take was never there. */
static void
no_acknowledgement_without_the_journal(void **state)
{
    harness *h = *state;

    harness_client(h, 1, harness_add("d", 32));
    harness_skip(h);
    harness_chunk(h, 1, 1, 0, 32);
    (void)EXPECT_ACTION(CORE_INPUT_DATA);
    (void)EXPECT_ACTION(CORE_SUBMIT);
    core_submitted(h->c, 1, ST_IO, "the disk is full");
    (void)EXPECT_ACTION(CORE_JOB_DROP);
    EXPECT_REFUSED("io");
    EXPECT_NOTHING();
    harness_client(h, 1, harness_add("d", 32)); /* the name is free */
    (void)EXPECT_ACTION(CORE_INPUT_OPEN);
}

/* T23 */
static void
limits_are_told_before_acknowledgement(void **state)
{
    harness *h = *state;

    /* Eight jobs may wait, with 10,000 bytes of input. */
    harness_client(h, 1, harness_add("a", 4000));
    harness_client(h, 1, harness_add("b", 4000));
    harness_skip(h);
    expect_limit(h, harness_add("c", 4000), true);
    harness_canceled(h, 1);
    harness_client(h, 1, harness_add("c", 4000)); /* room again */
    (void)EXPECT_ACTION(CORE_INPUT_OPEN);
    (void)EXPECT_CLIENT(CLIENT_MORE_INPUT);
    /* It would not fit at any time. */
    expect_limit(h, harness_add("d", 4004), false);
    core_disk_full(h->c, true);
    expect_limit(h, harness_add("e", 4), true);
    expect_limit(h, harness_add("d", 4004), false);
    core_disk_full(h->c, false);
    harness_client(h, 1, harness_add("e", 4));
    (void)EXPECT_ACTION(CORE_INPUT_OPEN);
}

/* Where no world is there it may yet come; where one is, it is known. */
static void
ids_that_no_world_has_room_for(void **state)
{
    harness *h = *state;
    world_message hello = harness_hello(2, 0);

    hello.u.hello.snapshot_bytes = 96;
    hello.u.hello.token_bytes = 4;
    hello.u.hello.max_context = 50;
    harness_client(h, 1, harness_add("early", 204));
    EXPECT_ACTION(CORE_INPUT_OPEN);
    harness_skip(h);
    harness_world(h, 10, hello);
    EXPECT_WORLD(WORLD_WELCOME);
    harness_skip(h);
    harness_refused(h, harness_add("d", 204), "limit");
    harness_client(h, 1, harness_add("d", 200));
    EXPECT_ACTION(CORE_INPUT_OPEN);
    harness_skip(h);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        HARNESS_TEST(ids_that_no_world_has_room_for),
        HARNESS_TEST(bad_requests_change_nothing),
        HARNESS_TEST(the_models_name_is_accepted),
        HARNESS_TEST(a_name_is_taken_while_it_is_added),
        cmocka_unit_test(a_full_queue_says_when_to_come_back),
        cmocka_unit_test(chunks_are_held_to_order_and_credit),
        cmocka_unit_test(credit_follows_what_is_written),
        HARNESS_TEST(no_acknowledgement_without_the_journal),
        HARNESS_TEST(limits_are_told_before_acknowledgement),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
