/* SPDX-License-Identifier: Apache-2.0 */
/* T26: who comes in by TCP, on real sockets. */
#include "proto/zap.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/expect.h"

enum { MAX = 1 << 20, WAIT_MS = 5000, REFUSED_MS = 300, N_SOCKET = 8 };

typedef struct scene {
    zcontext *z;
    zap *door;
    keyfile daemon, client, world, admin, stranger;
    zsocket *clients, *worlds; /* guarded */
    zsocket *open[N_SOCKET];   /* dealers, closed by leave() */
} scene;

static keyfile
key_for(const keyfile *server)
{
    keyfile k;

    EXPECT_OK(keyfile_generate(&k));
    if (server)
        memcpy(k.server_key, server->public_key, KEYFILE_SIZE);
    return k;
}

static void
allow(scene *s, bool client)
{
    char text[512];
    allowlist *list;

    (void)snprintf(text, sizeof(text), "%s%s\nworld %s\nadmin %s\n",
                   client ? "client " : "# ", s->client.public_key,
                   s->world.public_key, s->admin.public_key);
    EXPECT_OK(allowlist_parse(&list, text, strlen(text)));
    zap_take_list(s->door, &list);
    assert_null(list);
}

static zsocket *
guarded(scene *s, zsocket_domain domain)
{
    zsocket_guard guard = {.key = &s->daemon, .domain = domain};
    zsocket *socket;

    EXPECT_OK(zsocket_router(&socket, s->z, "tcp://127.0.0.1:*", &guard, MAX));
    return socket;
}

static int
enter(void **state)
{
    scene *s = calloc(1, sizeof(*s));

    assert_non_null(s);
    *state = s;
    s->daemon = key_for(NULL);
    s->client = key_for(&s->daemon);
    s->world = key_for(&s->daemon);
    s->admin = key_for(&s->daemon);
    s->stranger = key_for(&s->daemon);
    EXPECT_OK(zcontext_new(&s->z));
    EXPECT_OK(zap_new(&s->door, s->z));
    allow(s, true);
    s->clients = guarded(s, ZSOCKET_CLIENTS);
    s->worlds = guarded(s, ZSOCKET_WORLDS);
    return 0;
}

static int
leave(void **state)
{
    scene *s = *state;

    for (int i = 0; i < N_SOCKET; i++)
        zsocket_close(s->open[i]);
    zsocket_close(s->clients);
    zsocket_close(s->worlds);
    zap_free(s->door);
    zcontext_free(s->z);
    free(s);
    return 0;
}

static zsocket *
dealer(scene *s, const zsocket *to, const keyfile *key)
{
    zsocket *socket;

    EXPECT_OK(zsocket_dealer(&socket, s->z, zsocket_endpoint(to), key, MAX));
    for (int i = 0; i < N_SOCKET; i++)
        if (!s->open[i]) {
            s->open[i] = socket;
            return socket;
        }
    fail_msg("too many sockets");
    return NULL;
}

/* Says something and expects it to come in with the key's name on it. */
static zsocket *
comes_in(scene *s, zsocket *to, const keyfile *key)
{
    zsocket *from = dealer(s, to, key);
    zsocket_message m;

    EXPECT_OK(zsocket_send(from, NULL, "hi", 2, NULL, 0));
    EXPECT_OK(zsocket_recv(to, &m, WAIT_MS));
    assert_string_equal(m.user, key->public_key);
    EXPECT_OK(zsocket_send(to, &m.peer, "yes", 3, NULL, 0));
    zsocket_message_fini(&m);
    EXPECT_OK(zsocket_recv(from, &m, WAIT_MS));
    assert_string_equal(m.user, "");
    zsocket_message_fini(&m);
    assert_false(zsocket_is_refused(from));
    return from;
}

static void
stays_out(scene *s, zsocket *to, const keyfile *key)
{
    zsocket *from = dealer(s, to, key);
    zsocket_message m;

    EXPECT_OK(zsocket_send(from, NULL, "hi", 2, NULL, 0));
    EXPECT_ST(zsocket_recv(to, &m, REFUSED_MS), ST_TIMEOUT);
    /* Who talks to another daemon, or without a key, is not even answered. */
    assert_int_equal(zsocket_is_refused(from),
                     s->door && key &&
                         strcmp(key->server_key, s->daemon.public_key) == 0);
}

static void
keys_come_in_where_they_belong(void **state)
{
    scene *s = *state;

    (void)comes_in(s, s->clients, &s->client);
    (void)comes_in(s, s->clients, &s->admin);
    (void)comes_in(s, s->worlds, &s->world);
    stays_out(s, s->worlds, &s->client); /* can never be a world */
    stays_out(s, s->worlds, &s->admin);
    stays_out(s, s->clients, &s->world);
    (void)comes_in(s, s->clients, &s->client); /* still served */
}

static void
strangers_stay_out(void **state)
{
    scene *s = *state;
    keyfile wrong = s->client;

    stays_out(s, s->clients, &s->stranger);
    memcpy(wrong.server_key, s->stranger.public_key, KEYFILE_SIZE);
    stays_out(s, s->clients, &wrong); /* who is served by somebody else */
    stays_out(s, s->clients, NULL);   /* without any key */
    (void)comes_in(s, s->clients, &s->client);
}

static void
revoked_keys_are_out(void **state)
{
    scene *s = *state;
    zsocket *from = comes_in(s, s->clients, &s->client);
    zsocket_message m;

    allow(s, false);
    stays_out(s, s->clients, &s->client);
    /* One who is in already is told apart by its receiver. */
    EXPECT_OK(zsocket_send(from, NULL, "again", 5, NULL, 0));
    EXPECT_OK(zsocket_recv(s->clients, &m, WAIT_MS));
    assert_int_equal(zap_roles(s->door, m.user), 0);
    zsocket_message_fini(&m);
    assert_int_equal(zap_roles(s->door, s->admin.public_key), ALLOWLIST_ADMIN);
    allow(s, true);
    (void)comes_in(s, s->clients, &s->client);
}

static void
our_own_key_is_trusted(void **state)
{
    scene *s = *state;
    keyfile own = s->daemon;

    memcpy(own.server_key, own.public_key, KEYFILE_SIZE);
    stays_out(s, s->worlds, &own);
    zap_trust(s->door, s->daemon.public_key, ALLOWLIST_WORLD);
    (void)comes_in(s, s->worlds, &own);
    stays_out(s, s->clients, &own);
}

/* Connects without ZeroMQ. */
static int
raw_peer(const zsocket *to)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    struct timeval patience = {.tv_sec = 10};
    int port = 0;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(sscanf(zsocket_endpoint(to), "tcp://127.0.0.1:%d", &port),
                     1);
    address.sin_port = htons((uint16_t)port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)),
                     0);
    return fd;
}

static bool
is_hung_up_on(int fd)
{
    char ignored[512];
    ssize_t n;

    do
        n = recv(fd, ignored, sizeof(ignored), 0);
    while (n > 0);
    return n == 0 || errno == ECONNRESET;
}

static void
garbage_is_hung_up_on(void **state)
{
    static const uint8_t curve[64] = {0xFF, 0, 0, 0,   0,   0,   0,   0,  0, 1,
                                      0x7F, 3, 0, 'C', 'U', 'R', 'V', 'E'};
    scene *s = *state;
    char noise[4096];
    zsocket_message m;
    int fd[3];

    memset(noise, 0x5A, sizeof(noise));
    for (size_t i = 0; i < 3; i++)
        fd[i] = raw_peer(s->clients);
    (void)send(fd[0], noise, sizeof(noise), MSG_NOSIGNAL);
    (void)send(fd[1], curve, sizeof(curve), MSG_NOSIGNAL);
    (void)send(fd[1], noise, sizeof(noise), MSG_NOSIGNAL);
    (void)send(fd[2], noise, 3, MSG_NOSIGNAL); /* and then nothing more */
    for (size_t i = 0; i < 3; i++) {
        assert_true(is_hung_up_on(fd[i]));
        close(fd[i]);
    }
    EXPECT_ST(zsocket_recv(s->clients, &m, 0), ST_TIMEOUT);
    (void)comes_in(s, s->clients, &s->client);
}

static void
the_door_is_tried(void **state)
{
    scene *s = *state;
    const char *at = zsocket_endpoint(s->clients);
    const zsocket_guard open = {.allow_local_users = true};
    char text[128];
    allowlist *list;
    zsocket *socket;
    status st;

    EXPECT_OK(zap_check(s->z, at, s->daemon.public_key));
    EXPECT_OK(
        zap_check(s->z, zsocket_endpoint(s->worlds), s->daemon.public_key));
    /* One that is not guarded never refuses. */
    EXPECT_OK(zsocket_router(&socket, s->z, "tcp://127.0.0.1:*", &open, MAX));
    st = zap_check(s->z, zsocket_endpoint(socket), s->daemon.public_key);
    zsocket_close(socket);
    assert_int_equal(st, ST_DENIED);
    (void)snprintf(text, sizeof(text), "client %s\n", s->client.public_key);
    EXPECT_OK(allowlist_parse(&list, text, strlen(text)));
    zap_take_list(s->door, &list);
    EXPECT_OK(zap_check(s->z, at, s->daemon.public_key));
}

static void
without_a_doorkeeper_nobody_comes_in(void **state)
{
    scene s = {.daemon = key_for(NULL)};

    (void)state;
    s.client = key_for(&s.daemon);
    EXPECT_OK(zcontext_new(&s.z));
    s.clients = guarded(&s, ZSOCKET_CLIENTS);
    stays_out(&s, s.clients, &s.client);
    zsocket_close(s.open[0]);
    zsocket_close(s.clients);
    zcontext_free(s.z);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(keys_come_in_where_they_belong, enter,
                                        leave),
        cmocka_unit_test_setup_teardown(strangers_stay_out, enter, leave),
        cmocka_unit_test_setup_teardown(revoked_keys_are_out, enter, leave),
        cmocka_unit_test_setup_teardown(our_own_key_is_trusted, enter, leave),
        cmocka_unit_test_setup_teardown(garbage_is_hung_up_on, enter, leave),
        cmocka_unit_test_setup_teardown(the_door_is_tried, enter, leave),
        cmocka_unit_test(without_a_doorkeeper_nobody_comes_in),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
