/* SPDX-License-Identifier: Apache-2.0 */
/* Who is heard when: everybody in turn, and who asks for the status at once. */
#include "daemon/clients.h"

#include <string.h>

#include "base/mem.h"
#include "tests/daemon/scratch.h"

enum {
    ASKED = 6,
    PEERS = 8, /* as many as a socket takes in */
    WAIT_MS = 10000
};

typedef struct scene {
    scratch box;
    zcontext *z;
    loop *l;
    door *d;
    clients *c;
    zsocket *peer[PEERS + 1]; /* the last one only asks for the status */
    client_kind heard[PEERS * ASKED + 1];
    uint64_t request[PEERS * ASKED + 1];
    size_t n, status_at;
} scene;

static void
send(zsocket *to, client_kind kind, uint64_t request)
{
    client_message m = {.kind = kind, .request = request};
    uint8_t *data = NULL;
    size_t len;

    EXPECT_OK(client_message_encode(&data, &len, &m));
    EXPECT_OK(zsocket_send(to, NULL, data, len, NULL, 0));
    mem_free(data);
}

static void
note(void *ctx, const clients_caller *from, const client_message *m,
     uint8_t **raw, size_t raw_len)
{
    scene *s = ctx;

    (void)raw;
    assert_int_equal(raw_len, 0);
    assert_true(from->admin);
    assert_string_equal(from->owner, DOOR_LOCAL);
    if (m->kind == CLIENT_GET_STATUS)
        s->status_at = s->n;
    s->heard[s->n] = m->kind;
    s->request[s->n++] = m->request;
    if (s->n == PEERS * ASKED + 1)
        loop_stop(s->l);
}

static void
init(scene *s)
{
    const door_setup open = {.key = NULL};
    char at[128];

    memset(s, 0, sizeof(*s));
    scratch_init(&s->box);
    (void)snprintf(at, sizeof(at), "ipc://%s/s", s->box.dir);
    EXPECT_OK(zcontext_new(&s->z));
    EXPECT_OK(loop_new(&s->l));
    EXPECT_OK(door_open(&s->d, s->z, &open));
    EXPECT_OK(clients_open(&s->c, s->z, s->l, at, s->d));
    EXPECT_OK(clients_listen(s->c, note, s));
    for (size_t i = 0; i <= PEERS; i++)
        EXPECT_OK(zsocket_dealer(&s->peer[i], s->z, at, NULL, 1 << 20));
}

static void
fini(scene *s)
{
    for (size_t i = 0; i <= PEERS; i++)
        zsocket_close(s->peer[i]);
    clients_close(s->c, 0);
    loop_free(s->l);
    door_close(s->d);
    zcontext_free(s->z);
    scratch_fini(&s->box);
}

/* What was sent is there once a pair of sockets that came later has greeted and
 * exchanged messages: one thread of ZeroMQ carries them all. */
static void
wait_arrival(scene *s)
{
    const zsocket_guard open = {.allow_local_users = true};
    zsocket *router, *dealer;
    zsocket_message m;
    char at[128];

    (void)snprintf(at, sizeof(at), "ipc://%s/later", s->box.dir);
    EXPECT_OK(zsocket_router(&router, s->z, at, &open, 1 << 20));
    EXPECT_OK(zsocket_dealer(&dealer, s->z, at, NULL, 1 << 20));
    for (int i = 0; i < 10; i++) {
        zsocket_peer peer;

        EXPECT_OK(zsocket_send(dealer, NULL, "?", 1, NULL, 0));
        EXPECT_OK(zsocket_recv(router, &m, WAIT_MS));
        peer = m.peer;
        zsocket_message_fini(&m);
        EXPECT_OK(zsocket_send(router, &peer, "!", 1, NULL, 0));
        EXPECT_OK(zsocket_recv(dealer, &m, WAIT_MS));
        zsocket_message_fini(&m);
    }
    zsocket_close(dealer);
    zsocket_close(router);
}

/* The last that is said is heard first, and whoever said the rest is heard in
 * order. */
static void
who_asks_for_the_status_does_not_wait(void **state)
{
    scene *s = calloc(1, sizeof(*s));
    uint64_t next = 1;

    (void)state;
    assert_non_null(s);
    init(s);
    for (uint64_t i = 0; i < ASKED; i++)
        for (size_t k = 0; k < PEERS; k++)
            send(s->peer[k], CLIENT_LIST, PEERS * i + k + 1);
    send(s->peer[PEERS], CLIENT_GET_STATUS, 1000);
    wait_arrival(s); /* all of it is there when the loop begins */
    EXPECT_OK(loop_run(s->l));
    assert_int_equal(s->status_at, 0);
    for (size_t i = 0; i < s->n; i++)
        if (s->request[i] % PEERS == 1 && s->heard[i] == CLIENT_LIST) {
            assert_int_equal(s->request[i], next);
            next += PEERS;
        }
    assert_int_equal(next, PEERS * ASKED + 1);
    fini(s);
    free(s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_asks_for_the_status_does_not_wait),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
