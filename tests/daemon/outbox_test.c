/* SPDX-License-Identifier: Apache-2.0 */
/* Peers that do not take their messages: what waits, what is dropped, who
 * hears of it. */
#include "daemon/outbox.h"

#include <stdio.h>
#include <string.h>

#include "tests/daemon/scratch.h"

enum {
    FRAME = 64 << 10,
    MAX_BYTES = 1 << 20,
    MANY = 4000,
    SOON_MS = 20,
    NEVER_MS = 0
};

typedef struct scene {
    scratch box;
    zcontext *z;
    loop *l;
    zsocket *router, *dealer;
    zsocket_peer peer, left;
    outbox *o;
    int drained, timer, turns, fills;
    size_t received;
    uint8_t frame[FRAME];
} scene;

static void
note_drained(void *ctx, const zsocket_peer *peer)
{
    scene *s = ctx;

    assert_memory_equal(peer->id, s->peer.id, peer->len);
    s->drained++;
}

static void
init(scene *s, uint32_t max_ms)
{
    char at[128];
    zsocket_message m = {0};

    memset(s, 0, sizeof(*s));
    scratch_init(&s->box);
    (void)snprintf(at, sizeof(at), "ipc://%s/s", s->box.dir);
    EXPECT_OK(zcontext_new(&s->z));
    EXPECT_OK(loop_new(&s->l));
    EXPECT_OK(zsocket_router(&s->router, s->z, at, NULL, FRAME));
    EXPECT_OK(zsocket_dealer(&s->dealer, s->z, at, NULL, FRAME));
    EXPECT_OK(outbox_new(&s->o, s->router, s->l, MAX_BYTES, max_ms));
    outbox_on_drained(s->o, note_drained, s);
    EXPECT_OK(zsocket_send(s->dealer, NULL, "hi", 2, NULL, 0));
    EXPECT_OK(zsocket_recv(s->router, &m, 10000));
    s->peer = m.peer;
    zsocket_message_fini(&m);
}

static void
fini(scene *s)
{
    outbox_free(s->o);
    zsocket_close(s->dealer);
    zsocket_close(s->router);
    loop_free(s->l);
    zcontext_free(s->z);
    scratch_fini(&s->box);
}

/* Fills every queue on the way until the outbox has to keep something. */
static size_t
fill(scene *s)
{
    size_t n = 0;

    for (; n < MANY && outbox_is_empty(s->o, &s->peer); n++) {
        memcpy(s->frame, &n, sizeof(n));
        outbox_send(s->o, &s->peer, s->frame, FRAME, NULL, 0);
    }
    assert_true(n < MANY);
    return n;
}

/* Takes everything that is there, in order. */
static void
take(void *ctx)
{
    scene *s = ctx;
    zsocket_message m = {0};

    while (zsocket_recv(s->dealer, &m, 0) == ST_OK) {
        size_t n;

        memcpy(&n, m.control, sizeof(n));
        assert_int_equal(n, s->received);
        s->received++;
        zsocket_message_fini(&m);
    }
    if (s->drained > 0 || ++s->turns > 5000)
        loop_stop(s->l);
}

static void
what_waits_is_sent_in_order(void **state)
{
    scene s;
    size_t n;
    zsocket_peer peer;
    const char *why;

    (void)state;
    init(&s, NEVER_MS);
    n = fill(&s);
    for (size_t i = 0; i < 3; i++, n++) {
        memcpy(s.frame, &n, sizeof(n));
        outbox_send(s.o, &s.peer, s.frame, FRAME, NULL, 0);
    }
    EXPECT_OK(loop_add_timer(s.l, 1, take, &s, &s.timer));
    EXPECT_OK(loop_run(s.l));
    assert_int_equal(s.drained, 1);
    assert_true(outbox_is_empty(s.o, &s.peer));
    for (int i = 0; i < 1000 && s.received < n; i++) {
        zsocket_message m = {0};

        if (zsocket_recv(s.dealer, &m, 10) == ST_OK)
            s.received++;
        zsocket_message_fini(&m);
    }
    assert_int_equal(s.received, n);
    assert_false(outbox_take_gone(s.o, &peer, &why));
    fini(&s);
}

static void
who_never_takes_anything_is_given_up(void **state)
{
    scene s;
    zsocket_peer peer;
    const char *why;

    (void)state;
    init(&s, NEVER_MS);
    (void)fill(&s);
    for (int i = 0; i < 2 * MAX_BYTES / FRAME; i++)
        outbox_send(s.o, &s.peer, s.frame, FRAME, NULL, 0);
    assert_true(outbox_take_gone(s.o, &peer, &why));
    assert_memory_equal(peer.id, s.peer.id, peer.len);
    assert_false(outbox_take_gone(s.o, &peer, &why));
    fini(&s);
}

/* What the other side's queues still took is made up for. */
static void
wait_for_gone(void *ctx)
{
    scene *s = ctx;
    const char *why;

    if (outbox_take_gone(s->o, &s->left, &why) || ++s->turns > 5000)
        loop_stop(s->l);
    else if (outbox_is_empty(s->o, &s->peer) && s->fills++ < 100)
        (void)fill(s);
}

/* Some bytes for longer than they may wait.  Without such a limit they would
 * wait for ever. */
static void
who_takes_nothing_for_long_is_given_up(void **state)
{
    scene s;

    (void)state;
    init(&s, SOON_MS);
    (void)fill(&s);
    EXPECT_OK(loop_add_timer(s.l, 1, wait_for_gone, &s, &s.timer));
    EXPECT_OK(loop_run(s.l));
    assert_int_equal(s.left.len, s.peer.len);
    assert_memory_equal(s.left.id, s.peer.id, s.peer.len);
    assert_true(outbox_is_empty(s.o, &s.peer));
    assert_false(zsocket_hang_up(s.router, &s.peer)); /* that was done */
    fini(&s);
}

static void
who_left_is_reported_once(void **state)
{
    scene s;
    zsocket_peer peer;
    zsocket_peer nobody = {.len = 5, .id = "nobod"};
    const char *why;

    (void)state;
    init(&s, NEVER_MS);
    outbox_send(s.o, &nobody, "x", 1, NULL, 0);
    outbox_send(s.o, &nobody, "x", 1, NULL, 0);
    assert_true(outbox_take_gone(s.o, &peer, &why));
    assert_memory_equal(peer.id, nobody.id, nobody.len);
    assert_false(outbox_take_gone(s.o, &peer, &why));
    assert_true(outbox_is_empty(s.o, &nobody));
    fini(&s);
}

enum { CROWD = 5 };

typedef struct crowd {
    scene s;
    zsocket *dealer[CROWD];
    zsocket_peer peer[CROWD];
    size_t sent[CROWD], received[CROWD];
} crowd;

/* One, and then the one that takes its place. */
static bool
leaves(size_t i)
{
    return i == 1 || i == CROWD - 1;
}

static void
come(crowd *c)
{
    for (size_t i = 0; i < CROWD; i++) {
        zsocket_message m = {0};

        EXPECT_OK(zsocket_dealer(&c->dealer[i], c->s.z,
                                 zsocket_endpoint(c->s.router), NULL, FRAME));
        EXPECT_OK(zsocket_send(c->dealer[i], NULL, "hi", 2, NULL, 0));
        EXPECT_OK(zsocket_recv(c->s.router, &m, 10000));
        c->peer[i] = m.peer;
        zsocket_message_fini(&m);
    }
}

/* To everybody in turn, until it waits for each. */
static void
fill_all(crowd *c)
{
    for (size_t full = 0, n = 0; full < CROWD; n++) {
        assert_true(n < MANY);
        full = 0;
        for (size_t i = 0; i < CROWD; i++) {
            bool waits = !outbox_is_empty(c->s.o, &c->peer[i]);

            full += waits;
            if (waits && n % 8 != i) /* some more */
                continue;
            memcpy(c->s.frame, &c->sent[i], sizeof(c->sent[i]));
            outbox_send(c->s.o, &c->peer[i], c->s.frame, FRAME, NULL, 0);
            c->sent[i]++;
        }
    }
}

static void
take_all(void *ctx)
{
    crowd *c = ctx;
    bool all = true;

    for (size_t i = 0; i < CROWD; i++) {
        zsocket_message m = {0};
        size_t n;

        while (!leaves(i) && zsocket_recv(c->dealer[i], &m, 0) == ST_OK) {
            memcpy(&n, m.control, sizeof(n));
            assert_int_equal(n, c->received[i]);
            c->received[i]++;
            zsocket_message_fini(&m);
        }
        all &= leaves(i) || c->received[i] == c->sent[i];
    }
    if (all || ++c->s.turns > 10000)
        loop_stop(c->s.l);
}

static void
count_drained(void *ctx, const zsocket_peer *peer)
{
    (void)peer;
    ((crowd *)ctx)->s.drained++;
}

static void
each_peer_has_its_own_queue(void **state)
{
    static crowd c;
    zsocket_peer peer;
    const char *why;

    (void)state;
    init(&c.s, NEVER_MS);
    outbox_on_drained(c.s.o, count_drained, &c);
    come(&c);
    fill_all(&c);
    for (size_t i = 0; i < CROWD; i++) {
        if (!leaves(i))
            continue;
        outbox_give_up(c.s.o, &c.peer[i], "it may go");
        assert_true(outbox_take_gone(c.s.o, &peer, &why));
        assert_memory_equal(peer.id, c.peer[i].id, peer.len);
    }
    for (size_t i = 0; i < CROWD; i++)
        assert_int_equal(outbox_is_empty(c.s.o, &c.peer[i]), leaves(i));
    EXPECT_OK(loop_add_timer(c.s.l, 1, take_all, &c, &c.s.timer));
    EXPECT_OK(loop_run(c.s.l));
    for (size_t i = 0; i < CROWD; i++) {
        assert_true(leaves(i) || c.received[i] == c.sent[i]);
        assert_true(outbox_is_empty(c.s.o, &c.peer[i]));
        zsocket_close(c.dealer[i]);
    }
    assert_int_equal(c.s.drained, CROWD - 2);
    assert_false(outbox_take_gone(c.s.o, &peer, &why));
    fini(&c.s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_waits_is_sent_in_order),
        cmocka_unit_test(who_never_takes_anything_is_given_up),
        cmocka_unit_test(who_takes_nothing_for_long_is_given_up),
        cmocka_unit_test(who_left_is_reported_once),
        cmocka_unit_test(each_peer_has_its_own_queue),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
