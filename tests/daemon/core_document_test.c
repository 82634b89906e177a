/* SPDX-License-Identifier: Apache-2.0 */
/* Documents in the hands of clients: what is told of them, and how they go. */
#include "tests/daemon/core_harness.h"

/* Twice the trained norm is fine, more is told with every answer. */
static void
a_strained_memory_is_told(void **state)
{
    const document calm = {.n_norm = 2, .norm = {20, 40}};
    const document wild = {.n_norm = 2, .norm = {1, 50}};
    harness *h = *state;

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
}

static void
documents_in_use_are_not_removed(void **state)
{
    harness *h = *state;
    uint64_t id;

    id = harness_document(h, "d", 5);
    harness_client(h, 1, harness_ask("d", 4));
    harness_skip(h);
    harness_refused(h, harness_name(CLIENT_REMOVE, "d"), "state");
    harness_canceled(h, 1);
    harness_client(h, 1, harness_name(CLIENT_REMOVE, "d"));
    assert_int_equal(EXPECT_ACTION(CORE_REMOVE)->doc.id, id);
    /* On its way out it is neither there nor free. */
    harness_refused(h, harness_ask("d", 4), "notfound");
    harness_refused(h, harness_add("d", 4), "state");
    core_removed(h->c, id, ST_OK, "");
    (void)EXPECT_CLIENT(CLIENT_DONE);
    harness_client(h, 1, harness_plain(CLIENT_LIST));
    assert_int_equal(EXPECT_CLIENT(CLIENT_DOCUMENTS)->n_item, 0);
}

static void
a_removal_that_fails_leaves_the_document(void **state)
{
    harness *h = *state;
    uint64_t id;

    id = harness_document(h, "d", 5);
    harness_client(h, 1, harness_name(CLIENT_REMOVE, "d"));
    (void)EXPECT_ACTION(CORE_REMOVE);
    core_removed(h->c, id, ST_IO, "the disk is gone");
    EXPECT_REFUSED("io");
    harness_client(h, 1, harness_name(CLIENT_SHOW, "d"));
    assert_int_equal(EXPECT_CLIENT(CLIENT_DOCUMENTS)->n_item, 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        HARNESS_TEST(a_strained_memory_is_told),
        HARNESS_TEST(documents_in_use_are_not_removed),
        HARNESS_TEST(a_removal_that_fails_leaves_the_document),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
