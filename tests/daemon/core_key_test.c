/* SPDX-License-Identifier: Apache-2.0 */
/* Keys of submissions: the same one is the same job, whenever it comes. */
#include "tests/daemon/core_harness.h"

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
    harness *h = *state;
    const harness_action *a;
    store_record r = {.n_id = 0};

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
    r.row = (store_job){.id = 1,
                        .kind = JOB_ADD,
                        .input = CLIENT_IDS,
                        .bytes = 32,
                        .document = "d",
                        .key = "k"};
    memset(r.row.hash, 7, sizeof(r.row.hash));
    harness_client(h, 2, keyed("k", 7));
    harness_skip(h);
    core_looked_up(h->c, 2, ST_OK, &r, "");
    (void)EXPECT_ACTION(CORE_JOB_DROP);
    a = EXPECT_CLIENT(CLIENT_ACCEPTED);
    assert_int_equal(a->job, 1);
    assert_int_equal(a->peer.id[0], 2);
    (void)EXPECT_CLIENT(CLIENT_PROGRESS);
    assert_null(job_table_find(core_jobs(h->c), 2));
    harness_client(h, 2, keyed("k", 8));
    harness_skip(h);
    core_looked_up(h->c, 3, ST_OK, &r, "");
    EXPECT_REFUSED("arg");
    (void)EXPECT_ACTION(CORE_JOB_DROP);
    EXPECT_NOTHING();
    /* In pieces, the content must be known beforehand. */
    {
        client_message m = keyed("k", 8);

        m.u.add.key.has_hash = false;
        harness_refused(h, m, "arg");
    }
}

/* What was never acknowledged gives way to the same key; what is on its way
 * into the journal does not. */
static void
a_key_sent_again_replaces_what_never_came(void **state)
{
    harness *h = *state;
    const harness_action *a;

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
    harness *h = *state;
    const harness_action *a;
    store_record r = {.row = {.id = 1,
                              .kind = JOB_ADD,
                              .input = CLIENT_IDS,
                              .bytes = 32,
                              .document = "d",
                              .key = "k"}};

    whole(h, 1);
    whole(h, 2);
    memcpy(r.row.hash, job_table_find(core_jobs(h->c), 1)->hash,
           sizeof(r.row.hash));
    core_looked_up(h->c, 1, ST_NOTFOUND, NULL, "none");
    assert_int_equal(EXPECT_ACTION(CORE_SUBMIT)->job, 1);
    core_looked_up(h->c, 2, ST_NOTFOUND, NULL, "none");
    assert_int_equal(EXPECT_ACTION(CORE_LOOKUP)->job, 2); /* once more */
    core_submitted(h->c, 1, ST_OK, "");
    assert_int_equal(EXPECT_CLIENT(CLIENT_ACCEPTED)->job, 1);
    (void)EXPECT_ACTION(CORE_PREPARE);
    core_looked_up(h->c, 2, ST_OK, &r, "");
    (void)EXPECT_ACTION(CORE_JOB_DROP);
    a = EXPECT_CLIENT(CLIENT_ACCEPTED);
    assert_int_equal(a->job, 1);
    assert_int_equal(a->peer.id[0], 2);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        HARNESS_TEST(a_key_makes_one_job),
        HARNESS_TEST(a_key_sent_again_replaces_what_never_came),
        HARNESS_TEST(whole_submissions_join_the_first),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
