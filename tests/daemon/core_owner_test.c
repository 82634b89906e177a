/* SPDX-License-Identifier: Apache-2.0 */
/* What belongs to whom: documents, jobs and keys of another owner are not
 * there, in every request that could name them (T34 among them). */
#include "tests/daemon/core_harness.h"

#include <stdio.h>
#include <string.h>

#define ANN "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
#define BOB "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs"

static harness *
start(void)
{
    static harness h;

    harness_init(&h, 100);
    h.owner = ANN;
    return &h;
}

/* Whoever it is asks, and hears how many there are. */
static size_t
count(harness *h, const char *owner, client_kind kind)
{
    const harness_action *a;

    h->owner = owner;
    harness_client(h, 1, harness_plain(kind));
    a = EXPECT_CLIENT(kind == CLIENT_LIST ? CLIENT_DOCUMENTS : CLIENT_JOB_LIST);
    return a->n_item;
}

static void
documents_are_their_owners(void **state)
{
    harness *h = start();

    (void)state;
    harness_document(h, "diary", 20);
    assert_int_equal(count(h, ANN, CLIENT_LIST), 1);
    assert_int_equal(count(h, BOB, CLIENT_LIST), 0);
    harness_client(h, 1, harness_name(CLIENT_SHOW, "diary"));
    EXPECT_REFUSED("notfound");
    harness_client(h, 1, harness_name(CLIENT_REMOVE, "diary"));
    EXPECT_REFUSED("notfound");
    harness_client(h, 1, harness_ask("diary", 8));
    EXPECT_REFUSED("notfound");
    EXPECT_NOTHING();
    h->owner = ANN;
    harness_client(h, 1, harness_name(CLIENT_SHOW, "diary"));
    assert_int_equal(EXPECT_CLIENT(CLIENT_DOCUMENTS)->n_item, 1);
    harness_fini(h);
}

static void
names_are_their_owners(void **state)
{
    harness *h = start();

    (void)state;
    harness_document(h, "diary", 20);
    harness_client(h, 1, harness_add("diary", 8));
    EXPECT_REFUSED("state");
    h->owner = BOB;
    harness_client(h, 2, harness_add("diary", 8)); /* is free for him */
    (void)EXPECT_ACTION(CORE_INPUT_OPEN);
    harness_skip(h);
    h->owner = ANN; /* and his job does not take the name from her */
    harness_client(h, 1, harness_name(CLIENT_REMOVE, "diary"));
    assert_int_equal(EXPECT_ACTION(CORE_REMOVE)->doc.id, 1000);
    core_removed(h->c, 1000, ST_OK, "");
    (void)EXPECT_CLIENT(CLIENT_DONE);
    harness_client(h, 1, harness_add("diary", 8));
    (void)EXPECT_ACTION(CORE_INPUT_OPEN);
    harness_fini(h);
}

static void
what_was_added_is_its_owners(void **state)
{
    harness *h = start();
    const harness_action *a;

    (void)state;
    harness_client(h, 1, harness_add("note", 12));
    harness_input(h, 1, 3); /* one segment: no world is needed */
    while ((a = &h->action[h->read++])->kind != CORE_STORE)
        assert_true(h->read < h->n);
    assert_string_equal(a->doc.owner, ANN);
    core_stored(h->c, 1, ST_OK, "", NULL);
    harness_skip(h);
    assert_int_equal(count(h, BOB, CLIENT_LIST), 0);
    assert_int_equal(count(h, ANN, CLIENT_LIST), 1);
    harness_fini(h);
}

static void
jobs_are_their_owners(void **state)
{
    harness *h = start();
    store_record record = {
        .row = {.id = 77, .state = CLIENT_STATE_DONE, .owner = ANN}};
    job_watcher bob = {.client = harness_peer(2), .owner = BOB};

    (void)state;
    harness_client(h, 1, harness_add("long", 40));
    harness_skip(h);
    assert_int_equal(count(h, ANN, CLIENT_JOBS), 1);
    assert_int_equal(count(h, BOB, CLIENT_JOBS), 0);
    harness_client(h, 2, harness_job(CLIENT_CANCEL, 1));
    EXPECT_REFUSED("notfound");
    harness_client(h, 2, harness_job(CLIENT_WATCH, 1));
    EXPECT_REFUSED("notfound");
    EXPECT_NOTHING();
    /* One that is in the journal alone. */
    harness_client(h, 2, harness_job(CLIENT_WATCH, 77));
    (void)EXPECT_ACTION(CORE_FETCH);
    core_fetched(h->c, &bob, ST_OK, &record, "");
    EXPECT_REFUSED("notfound");
    (void)snprintf(bob.owner, sizeof(bob.owner), "%s", ANN);
    core_fetched(h->c, &bob, ST_OK, &record, "");
    (void)EXPECT_CLIENT(CLIENT_DONE);
    h->owner = ANN;
    harness_client(h, 1, harness_job(CLIENT_WATCH, 1));
    (void)EXPECT_CLIENT(CLIENT_PROGRESS);
    harness_fini(h);
}

static void
admins_see_everything(void **state)
{
    harness *h = start();

    (void)state;
    harness_document(h, "diary", 20);
    harness_client(h, 1, harness_add("long", 40));
    harness_skip(h);
    h->admin = true;
    assert_int_equal(count(h, BOB, CLIENT_LIST), 1);
    assert_int_equal(count(h, BOB, CLIENT_JOBS), 1);
    harness_client(h, 2, harness_job(CLIENT_WATCH, 1));
    (void)EXPECT_CLIENT(CLIENT_PROGRESS);
    harness_client(h, 2, harness_ask("diary", 8));
    (void)EXPECT_ACTION(CORE_INPUT_OPEN);
    harness_skip(h);
    /* His own goes first; without one of his own he must say whose. */
    harness_document(h, "diary", 4);
    harness_client(h, 2, harness_name(CLIENT_REMOVE, "diary"));
    assert_int_equal(EXPECT_ACTION(CORE_REMOVE)->doc.id, 1001);
    core_removed(h->c, 1001, ST_OK, "");
    harness_skip(h);
    h->owner = "someone";
    harness_document(h, "diary", 4);
    h->owner = BOB;
    harness_client(h, 2, harness_name(CLIENT_SHOW, "diary"));
    EXPECT_REFUSED("arg");
    harness_fini(h);
}

static void
only_admins_stop_the_daemon(void **state)
{
    harness *h = start();

    (void)state;
    harness_client(h, 1, harness_plain(CLIENT_SHUTDOWN));
    EXPECT_REFUSED("denied");
    EXPECT_NOTHING();
    h->admin = true;
    harness_client(h, 1, harness_plain(CLIENT_SHUTDOWN));
    (void)EXPECT_CLIENT(CLIENT_DONE);
    (void)EXPECT_ACTION(CORE_LEAVE);
    harness_fini(h);
}

static client_message
keyed(const char *name, uint8_t hash)
{
    client_message m = harness_add(name, 12);

    m.u.add.key.key = (char *)(uintptr_t) "k";
    m.u.add.key.has_hash = true;
    memset(m.u.add.key.hash, hash, sizeof(m.u.add.key.hash));
    return m;
}

/* T34: the journal is asked for the key of this owner; what it finds with
 * other contents is refused, and nothing of it is told. */
static void
t34_keys_are_their_owners(void **state)
{
    harness *h = start();
    store_record r = {.row = {.id = 500,
                              .kind = JOB_ADD,
                              .owner = ANN,
                              .key = "k",
                              .state = CLIENT_STATE_DONE,
                              .input = CLIENT_IDS,
                              .bytes = 12,
                              .document = "private",
                              .text = "secret"}};
    const harness_action *a;

    (void)state;
    memset(r.row.hash, 1, sizeof(r.row.hash));
    harness_client(h, 1, keyed("private", 2)); /* her key, other contents */
    (void)EXPECT_ACTION(CORE_INPUT_OPEN);
    (void)EXPECT_ACTION(CORE_LOOKUP);
    core_looked_up(h->c, 1, ST_OK, &r, "");
    while ((a = &h->action[h->read++])->kind != CORE_TELL_CLIENT)
        assert_true(h->read < h->n);
    assert_int_equal(a->message, CLIENT_REFUSED);
    assert_null(strstr(a->text, "secret"));
    assert_null(strstr(a->text, "500"));
    harness_skip(h);
    /* While she sends with a key, his submission by the same key neither ends
     * hers nor is taken for it. */
    harness_client(h, 1, keyed("one", 1));
    harness_skip(h);
    h->owner = BOB;
    harness_client(h, 2, keyed("one", 1));
    a = EXPECT_ACTION(CORE_INPUT_OPEN);
    (void)EXPECT_ACTION(CORE_LOOKUP);
    EXPECT_NOTHING();
    assert_string_equal(
        job_table_find((job_table *)(uintptr_t)core_jobs(h->c), a->job)->owner,
        BOB);
    assert_int_equal(count(h, ANN, CLIENT_JOBS), 1);
    harness_fini(h);
}

/* T23: one key cannot fill the queue for the others. */
static void
shares_are_kept_to(void **state)
{
    harness *h = start();
    char name[16];
    const harness_action *a;

    (void)state;
    for (int i = 0; i < 25; i++) {
        (void)snprintf(name, sizeof(name), "d%d", i);
        harness_client(h, 1, harness_add(name, 8));
        (void)EXPECT_ACTION(CORE_INPUT_OPEN);
        harness_skip(h);
    }
    harness_client(h, 1, harness_add("more", 8));
    a = EXPECT_CLIENT(CLIENT_REFUSED);
    assert_string_equal(a->code, "limit");
    assert_true(a->retry_after_s > 0);
    h->owner = BOB;
    harness_client(h, 2, harness_add("more", 8));
    (void)EXPECT_ACTION(CORE_INPUT_OPEN);
    harness_skip(h);
    h->owner = ANN; /* a place gets free */
    harness_client(h, 1, harness_job(CLIENT_CANCEL, 1));
    harness_skip(h);
    harness_client(h, 1, harness_add("more", 8));
    (void)EXPECT_ACTION(CORE_INPUT_OPEN);
    harness_skip(h);
    harness_client(h, 1, harness_ask("more", 2501)); /* of 10,000 bytes */
    a = EXPECT_CLIENT(CLIENT_REFUSED);
    assert_string_equal(a->code, "limit");
    assert_int_equal(a->retry_after_s, 0); /* never */
    h->admin = true;
    harness_client(h, 1, harness_add("even more", 8));
    (void)EXPECT_ACTION(CORE_INPUT_OPEN);
    harness_fini(h);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(documents_are_their_owners),
        cmocka_unit_test(names_are_their_owners),
        cmocka_unit_test(what_was_added_is_its_owners),
        cmocka_unit_test(jobs_are_their_owners),
        cmocka_unit_test(admins_see_everything),
        cmocka_unit_test(only_admins_stop_the_daemon),
        cmocka_unit_test(shares_are_kept_to),
        cmocka_unit_test(t34_keys_are_their_owners),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
