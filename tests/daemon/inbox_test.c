/* SPDX-License-Identifier: Apache-2.0 */
/* What waits to be heard: its order, whose turn it is, its bounds. */
#include "daemon/inbox.h"

#include <string.h>

#include "base/mem.h"
#include "tests/expect.h"

enum { PEERS = 600, EACH = 7, BYTES = 100 };

static zsocket_message
frame(unsigned peer, uint8_t value)
{
    zsocket_message m = {.peer.len = 2, .control_len = 1};

    m.peer.id[0] = (uint8_t)(peer >> 8);
    m.peer.id[1] = (uint8_t)peer;
    EXPECT_OK(mem_new(&m.control, 1, 1));
    m.control[0] = value;
    return m;
}

static unsigned
peer_of(const zsocket_message *m)
{
    return (unsigned)m->peer.id[0] << 8 | m->peer.id[1];
}

static void
put(inbox *b, unsigned peer, uint8_t value)
{
    zsocket_message m = frame(peer, value);

    EXPECT_OK(inbox_put(b, &m));
    assert_null(m.control);
}

static void
expect_next(inbox *b, unsigned peer, uint8_t value)
{
    zsocket_message m;

    assert_true(inbox_take(b, &m));
    assert_int_equal(peer_of(&m), peer);
    assert_int_equal(m.control[0], value);
    zsocket_message_fini(&m);
}

/* One has sent everything before the others begin. */
static void
who_sends_much_waits_for_the_others(void **state)
{
    inbox *b;

    (void)state;
    EXPECT_OK(inbox_new(&b, 100, 1 << 20));
    for (uint8_t i = 0; i < 4; i++)
        put(b, 1, i);
    expect_next(b, 1, 0);
    put(b, 2, 0);
    put(b, 2, 1);
    put(b, 3, 0);
    expect_next(b, 1, 1); /* its turn had come before */
    expect_next(b, 2, 0);
    expect_next(b, 3, 0);
    expect_next(b, 1, 2);
    expect_next(b, 2, 1);
    expect_next(b, 1, 3);
    assert_true(inbox_is_empty(b));
    put(b, 3, 9); /* a peer that had gone comes back */
    expect_next(b, 3, 9);
    assert_true(inbox_is_empty(b));
    inbox_free(b);
}

/* More peers than there are lists of them. */
static void
each_peer_is_heard_in_order(void **state)
{
    uint8_t heard[PEERS] = {0};
    zsocket_message m;
    inbox *b;

    (void)state;
    EXPECT_OK(inbox_new(&b, PEERS * EACH, 1 << 30));
    for (unsigned peer = 0; peer < PEERS; peer++)
        for (uint8_t i = 0; i < EACH; i++)
            put(b, peer, i);
    assert_false(inbox_has_room(b));
    for (int n = 0; inbox_take(b, &m); n++) {
        unsigned peer = peer_of(&m);

        assert_int_equal(peer, n % PEERS);
        assert_int_equal(m.control[0], heard[peer]++);
        zsocket_message_fini(&m);
    }
    for (unsigned peer = 0; peer < PEERS; peer++)
        assert_int_equal(heard[peer], EACH);
    assert_true(inbox_has_room(b));
    inbox_free(b);
}

static void
it_is_full_in_bytes_too(void **state)
{
    zsocket_message m = {.peer.len = 1, .raw_len = BYTES};
    inbox *b;

    (void)state;
    EXPECT_OK(inbox_new(&b, 100, BYTES));
    assert_true(inbox_has_room(b));
    EXPECT_OK(mem_new(&m.raw, BYTES, 1));
    EXPECT_OK(inbox_put(b, &m));
    assert_false(inbox_has_room(b));
    assert_true(inbox_take(b, &m));
    assert_int_equal(m.raw_len, BYTES);
    zsocket_message_fini(&m);
    assert_true(inbox_has_room(b));
    put(b, 1, 1);
    inbox_free(b); /* with what still waits */
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_sends_much_waits_for_the_others),
        cmocka_unit_test(each_peer_is_heard_in_order),
        cmocka_unit_test(it_is_full_in_bytes_too),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
