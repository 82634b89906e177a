/* SPDX-License-Identifier: Apache-2.0 */
/* Requests of clients: what is refused, what is canceled, who is told. */
#include "tests/daemon/core_harness.h"

/* A refusal is the only action and no job is made. */
static void
refused(harness *h, client_message m, const char *code)
{
    size_t jobs = job_table_count(core_jobs(h->c));
    const harness_action *a;

    harness_client(h, 1, m);
    a = EXPECT_CLIENT(CLIENT_REFUSED);
    assert_string_equal(a->code, code);
    assert_true(strlen(a->text) > 0);
    assert_int_equal(a->job, 0);
    EXPECT_NOTHING();
    assert_int_equal(job_table_count(core_jobs(h->c)), jobs);
}

static void
bad_requests_change_nothing(void **state)
{
    harness box;
    harness *h = &box;
    client_message m;

    (void)state;
    harness_init(h, 8);
    (void)harness_document(h, "there", 5);
    refused(h, harness_add("d", 0), "arg");
    refused(h, harness_add("d", 4004), "limit");
    refused(h, harness_add("there", 4), "state");
    m = harness_add("d", 4);
    m.u.add.input = CLIENT_TEXT;
    refused(h, m, "unsupported");
    m = harness_add("d", 4);
    m.u.add.model = (char *)(uintptr_t) "other";
    refused(h, m, "state");
    refused(h, harness_ask("nobody", 4), "notfound");
    catalog_find(core_catalog(h->c), "local", "there")->damaged = true;
    refused(h, harness_ask("there", 4), "io");
    catalog_find(core_catalog(h->c), "local", "there")->damaged = false;
    refused(h, harness_ask("there", 0), "arg");
    m = harness_ask("there", 4);
    m.u.ask.sampling.max_tokens = 0;
    refused(h, m, "arg");
    refused(h, harness_name(CLIENT_SHOW, "nobody"), "notfound");
    refused(h, harness_name(CLIENT_REMOVE, "nobody"), "notfound");
    refused(h, harness_job(CLIENT_CANCEL, 77), "notfound");
    refused(h, harness_plain(CLIENT_STATUS), "wire");
    harness_fini(h);
}

static void
the_models_name_is_accepted(void **state)
{
    harness box;
    harness *h = &box;
    client_message m = harness_add("d", 32);

    (void)state;
    harness_init(h, 8);
    m.u.add.model = (char *)(uintptr_t) "tiny";
    harness_client(h, 1, m);
    harness_input(h, 1, 8);
    harness_fini(h);
}

static void
a_name_is_taken_while_it_is_added(void **state)
{
    static const char *const names[] = {"c", "d", "e"};
    harness box;
    harness *h = &box;

    (void)state;
    harness_init(h, 8);
    for (size_t i = 0; i < 3; i++)
        harness_client(h, 1, harness_add(names[i], 32));
    harness_skip(h);
    for (size_t i = 0; i < 3; i++) /* whichever of the jobs it is */
        refused(h, harness_add(names[i], 32), "state");
    harness_fini(h);
}

static void
a_full_queue_says_when_to_come_back(void **state)
{
    harness box;
    harness *h = &box;
    const harness_action *a;

    (void)state;
    harness_init(h, 2);
    harness_client(h, 1, harness_add("a", 32));
    harness_client(h, 1, harness_add("b", 32));
    harness_skip(h);
    harness_client(h, 1, harness_add("c", 32));
    a = EXPECT_CLIENT(CLIENT_REFUSED);
    assert_string_equal(a->code, "limit");
    assert_true(a->retry_after_s > 0);
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
    harness box;
    harness *h = &box;

    (void)state;
    harness_init(h, 8);
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
    harness_fini(h);
}

static void
canceled(harness *h, uint64_t id)
{
    bool durable =
        job_table_find(core_jobs(h->c), id)->state != CLIENT_RECEIVING;

    harness_client(h, 2, harness_job(CLIENT_CANCEL, id));
    if (durable)
        (void)harness_end(h, id, CLIENT_CANCELED);
    else
        (void)EXPECT_ACTION(CORE_JOB_DROP);
    EXPECT_REFUSED("canceled");
    (void)EXPECT_CLIENT(CLIENT_DONE);
    EXPECT_NOTHING();
}

static void
jobs_are_canceled_in_every_state(void **state)
{
    harness box;
    harness *h = &box;
    const harness_action *begin;

    (void)state;
    harness_init(h, 8);
    harness_client(h, 1, harness_add("receiving", 1000));
    harness_skip(h);
    canceled(h, 1);
    harness_client(h, 1, harness_add("queued", 400));
    harness_input(h, 2, 100);
    canceled(h, 2);
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
    harness_fini(h);
}

static void
it_can_be_too_late_to_cancel(void **state)
{
    harness box;
    harness *h = &box;

    (void)state;
    harness_init(h, 8);
    harness_client(h, 1, harness_add("d", 32));
    harness_input(h, 1, 8);
    (void)EXPECT_ACTION(CORE_STORE);
    refused(h, harness_job(CLIENT_CANCEL, 1), "state");
    core_stored(h->c, 1, ST_OK, "", NULL);
    harness_skip(h);
    refused(h, harness_job(CLIENT_CANCEL, 1), "state");
    harness_fini(h);
}

static void
a_client_that_left_takes_only_its_input_along(void **state)
{
    harness box;
    harness *h = &box;
    zsocket_peer one = harness_peer(1);
    const harness_action *begin;

    (void)state;
    harness_init(h, 8);
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
    harness_fini(h);
}

static void
watchers_hear_the_end(void **state)
{
    harness box;
    harness *h = &box;

    (void)state;
    harness_init(h, 8);
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
    harness_fini(h);
}

/* Twice the trained norm is fine, more is told with every answer. */
static void
a_strained_memory_is_told(void **state)
{
    const document calm = {.n_norm = 2, .norm = {20, 40}};
    const document wild = {.n_norm = 2, .norm = {1, 50}};
    harness box;
    harness *h = &box;

    (void)state;
    harness_init(h, 8);
    harness_client(h, 1, harness_add("calm", 32));
    harness_input(h, 1, 8);
    core_stored(h->c, 1, ST_OK, "", &calm);
    harness_skip(h);
    harness_client(h, 1, harness_name(CLIENT_SHOW, "calm"));
    assert_string_equal(EXPECT_CLIENT(CLIENT_DOCUMENTS)->text, "");
    harness_client(h, 1, harness_add("wild", 32));
    harness_input(h, 2, 8);
    harness_skip(h);
    core_stored(h->c, 2, ST_OK, "", &wild);
    while (h->action[h->read].message != CLIENT_DONE)
        h->read++;
    assert_non_null(strstr(EXPECT_CLIENT(CLIENT_DONE)->text, "layer 1"));
    harness_client(h, 1, harness_name(CLIENT_SHOW, "wild"));
    assert_non_null(strstr(EXPECT_CLIENT(CLIENT_DOCUMENTS)->text, "2.5 times"));
    harness_fini(h);
}

static void
documents_in_use_are_not_removed(void **state)
{
    harness box;
    harness *h = &box;
    uint64_t id;

    (void)state;
    harness_init(h, 8);
    id = harness_document(h, "d", 5);
    harness_client(h, 1, harness_ask("d", 4));
    harness_skip(h);
    refused(h, harness_name(CLIENT_REMOVE, "d"), "state");
    canceled(h, 1);
    harness_client(h, 1, harness_name(CLIENT_REMOVE, "d"));
    assert_int_equal(EXPECT_ACTION(CORE_REMOVE)->doc.id, id);
    /* On its way out it is neither there nor free. */
    refused(h, harness_ask("d", 4), "notfound");
    refused(h, harness_add("d", 4), "state");
    core_removed(h->c, id, ST_OK, "");
    (void)EXPECT_CLIENT(CLIENT_DONE);
    harness_client(h, 1, harness_plain(CLIENT_LIST));
    assert_int_equal(EXPECT_CLIENT(CLIENT_DOCUMENTS)->n_item, 0);
    harness_fini(h);
}

static void
a_removal_that_fails_leaves_the_document(void **state)
{
    harness box;
    harness *h = &box;
    uint64_t id;

    (void)state;
    harness_init(h, 8);
    id = harness_document(h, "d", 5);
    harness_client(h, 1, harness_name(CLIENT_REMOVE, "d"));
    (void)EXPECT_ACTION(CORE_REMOVE);
    core_removed(h->c, id, ST_IO, "the disk is gone");
    EXPECT_REFUSED("io");
    harness_client(h, 1, harness_name(CLIENT_SHOW, "d"));
    assert_int_equal(EXPECT_CLIENT(CLIENT_DOCUMENTS)->n_item, 1);
    harness_fini(h);
}

static client_message
keyed(const char *key, uint8_t hash)
{
    client_message m = harness_add("d", 32);

    m.u.add.key.key = (char *)(uintptr_t)key;
    m.u.add.key.has_hash = true;
    memset(m.u.add.key.hash, hash, sizeof(m.u.add.key.hash));
    return m;
}

/* T07 and T34: the same submission is the same job, whenever it comes; the
 * same key with another content is refused, and is another client's own. */
static void
a_key_makes_one_job(void **state)
{
    harness box;
    harness *h = &box;
    const harness_action *a;
    store_job row;

    (void)state;
    harness_init(h, 8);
    harness_client(h, 1, keyed("k", 7));
    (void)EXPECT_ACTION(CORE_INPUT_OPEN);
    (void)EXPECT_ACTION(CORE_LOOKUP);
    EXPECT_NOTHING(); /* no credit before it is known to be new */
    core_looked_up(h->c, 1, ST_NOTFOUND, NULL, "none");
    (void)EXPECT_CLIENT(CLIENT_MORE_INPUT);
    harness_chunk(h, 1, 1, 0, 32);
    (void)EXPECT_ACTION(CORE_INPUT_DATA);
    (void)EXPECT_ACTION(CORE_SUBMIT);
    core_submitted(h->c, 1, ST_OK, "");
    (void)EXPECT_CLIENT(CLIENT_ACCEPTED);
    (void)EXPECT_ACTION(CORE_PREPARE);
    row = (store_job){.id = 1,
                      .kind = JOB_ADD,
                      .input = CLIENT_IDS,
                      .bytes = 32,
                      .document = "d",
                      .key = "k"};
    memset(row.hash, 7, sizeof(row.hash));
    harness_client(h, 2, keyed("k", 7));
    harness_skip(h);
    core_looked_up(h->c, 2, ST_OK, &row, "");
    (void)EXPECT_ACTION(CORE_JOB_DROP);
    a = EXPECT_CLIENT(CLIENT_ACCEPTED);
    assert_int_equal(a->job, 1);
    assert_int_equal(a->peer.id[0], 2);
    (void)EXPECT_CLIENT(CLIENT_PROGRESS);
    assert_null(job_table_find(core_jobs(h->c), 2));
    harness_client(h, 2, keyed("k", 8));
    harness_skip(h);
    core_looked_up(h->c, 3, ST_OK, &row, "");
    EXPECT_REFUSED("arg");
    (void)EXPECT_ACTION(CORE_JOB_DROP);
    EXPECT_NOTHING();
    /* In pieces, the content must be known beforehand. */
    {
        client_message m = keyed("k", 8);

        m.u.add.key.has_hash = false;
        refused(h, m, "arg");
    }
    harness_fini(h);
}

/* What was never acknowledged gives way to the same key; what is on its way
 * into the journal does not. */
static void
a_key_sent_again_replaces_what_never_came(void **state)
{
    harness box;
    harness *h = &box;
    const harness_action *a;

    (void)state;
    harness_init(h, 8);
    harness_client(h, 1, keyed("k", 7));
    harness_client(h, 1, keyed("other", 7));
    harness_skip(h);
    harness_client(h, 2, keyed("k", 7));
    assert_int_equal(EXPECT_ACTION(CORE_JOB_DROP)->job, 1);
    a = EXPECT_CLIENT(CLIENT_REFUSED);
    assert_string_equal(a->code, "state");
    assert_int_equal(a->peer.id[0], 1);
    (void)EXPECT_ACTION(CORE_INPUT_OPEN);
    assert_int_equal(EXPECT_ACTION(CORE_LOOKUP)->job, 3);
    EXPECT_NOTHING(); /* the other key's job goes on */
    core_looked_up(h->c, 3, ST_NOTFOUND, NULL, "none");
    harness_chunk(h, 2, 1, 0, 32);
    harness_skip(h);
    harness_client(h, 3, keyed("k", 7));
    (void)EXPECT_ACTION(CORE_INPUT_OPEN);
    assert_int_equal(EXPECT_ACTION(CORE_LOOKUP)->job, 4);
    EXPECT_NOTHING();
    harness_fini(h);
}

static void
whole(harness *h, uint8_t client)
{
    client_message m = keyed("k", 7);
    zsocket_peer peer = harness_peer(client);
    const core_caller from = {.client = &peer, .owner = "local", .admin = true};
    uint8_t input[32] = {0};
    uint8_t *data = input;
    const core_raw raw = {.data = &data, .len = sizeof(input)};

    core_client_event(h->c, &from, &m, &raw);
    (void)EXPECT_ACTION(CORE_INPUT_OPEN);
    (void)EXPECT_ACTION(CORE_LOOKUP);
    (void)EXPECT_ACTION(CORE_INPUT_DATA);
    EXPECT_NOTHING();
}

/* T07: several at once, whole, none of them durable: the first makes the job,
 * the others join it. */
static void
whole_submissions_join_the_first(void **state)
{
    harness box;
    harness *h = &box;
    const harness_action *a;
    store_job row = {.id = 1,
                     .kind = JOB_ADD,
                     .input = CLIENT_IDS,
                     .bytes = 32,
                     .document = "d",
                     .key = "k"};

    (void)state;
    harness_init(h, 8);
    whole(h, 1);
    whole(h, 2);
    memcpy(row.hash, job_table_find(core_jobs(h->c), 1)->hash,
           sizeof(row.hash));
    core_looked_up(h->c, 1, ST_NOTFOUND, NULL, "none");
    assert_int_equal(EXPECT_ACTION(CORE_SUBMIT)->job, 1);
    core_looked_up(h->c, 2, ST_NOTFOUND, NULL, "none");
    assert_int_equal(EXPECT_ACTION(CORE_LOOKUP)->job, 2); /* once more */
    core_submitted(h->c, 1, ST_OK, "");
    assert_int_equal(EXPECT_CLIENT(CLIENT_ACCEPTED)->job, 1);
    (void)EXPECT_ACTION(CORE_PREPARE);
    core_looked_up(h->c, 2, ST_OK, &row, "");
    (void)EXPECT_ACTION(CORE_JOB_DROP);
    a = EXPECT_CLIENT(CLIENT_ACCEPTED);
    assert_int_equal(a->job, 1);
    assert_int_equal(a->peer.id[0], 2);
    harness_fini(h);
}

static void
what_is_only_in_the_journal_is_fetched(void **state)
{
    harness box;
    harness *h = &box;
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

    (void)state;
    harness_init(h, 8);
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
    harness_fini(h);
}

/* T23 */
static void
limits_are_told_before_acknowledgement(void **state)
{
    harness box;
    harness *h = &box;
    const harness_action *a;

    (void)state;
    harness_init(h, 8); /* and 10,000 bytes of input */
    harness_client(h, 1, harness_add("a", 4000));
    harness_client(h, 1, harness_add("b", 4000));
    harness_skip(h);
    harness_client(h, 1, harness_add("c", 4000));
    a = EXPECT_CLIENT(CLIENT_REFUSED);
    assert_string_equal(a->code, "limit");
    assert_true(a->retry_after_s > 0);
    canceled(h, 1);
    harness_client(h, 1, harness_add("c", 4000)); /* room again */
    (void)EXPECT_ACTION(CORE_INPUT_OPEN);
    (void)EXPECT_CLIENT(CLIENT_MORE_INPUT);
    core_disk_full(h->c, true);
    harness_client(h, 1, harness_add("e", 4));
    EXPECT_REFUSED("limit");
    core_disk_full(h->c, false);
    harness_client(h, 1, harness_add("e", 4));
    (void)EXPECT_ACTION(CORE_INPUT_OPEN);
    harness_fini(h);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_requests_change_nothing),
        cmocka_unit_test(the_models_name_is_accepted),
        cmocka_unit_test(a_name_is_taken_while_it_is_added),
        cmocka_unit_test(a_full_queue_says_when_to_come_back),
        cmocka_unit_test(chunks_are_held_to_order_and_credit),
        cmocka_unit_test(credit_follows_what_is_written),
        cmocka_unit_test(no_acknowledgement_without_the_journal),
        cmocka_unit_test(a_key_makes_one_job),
        cmocka_unit_test(a_key_sent_again_replaces_what_never_came),
        cmocka_unit_test(whole_submissions_join_the_first),
        cmocka_unit_test(what_is_only_in_the_journal_is_fetched),
        cmocka_unit_test(limits_are_told_before_acknowledgement),
        cmocka_unit_test(jobs_are_canceled_in_every_state),
        cmocka_unit_test(it_can_be_too_late_to_cancel),
        cmocka_unit_test(a_client_that_left_takes_only_its_input_along),
        cmocka_unit_test(watchers_hear_the_end),
        cmocka_unit_test(a_strained_memory_is_told),
        cmocka_unit_test(documents_in_use_are_not_removed),
        cmocka_unit_test(a_removal_that_fails_leaves_the_document),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
