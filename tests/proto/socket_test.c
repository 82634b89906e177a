/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets over ipc and loopback TCP: frames, limits, endpoints in use. */
#include "tests/proto/socket_rig.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { MAX = SOCKET_RIG_MAX, WAIT_MS = SOCKET_RIG_MS };

static const zsocket_guard *const OPEN = &socket_rig_guard;

/* What is opened against expectation is closed before the check fails. */
static void
expect_no_router(socket_rig *r, const char *endpoint,
                 const zsocket_guard *guard, status want)
{
    zsocket *s = NULL;
    status st = zsocket_router(&s, r->z, endpoint, guard, MAX);

    zsocket_close(s);
    assert_int_equal(st, want);
}

static void
expect_no_dealer(socket_rig *r, const char *endpoint, status want)
{
    zsocket *s = NULL;
    status st = zsocket_dealer(&s, r->z, endpoint, NULL, MAX);

    zsocket_close(s);
    assert_int_equal(st, want);
}

static void
expect_frames(const zsocket_message *m, const char *control, const char *raw)
{
    assert_int_equal(m->control_len, strlen(control));
    assert_memory_equal(m->control, control, m->control_len);
    if (!raw) {
        assert_null(m->raw);
        return;
    }
    assert_non_null(m->raw);
    assert_int_equal(m->raw_len, strlen(raw));
    assert_memory_equal(m->raw, raw, m->raw_len);
}

/* The next message; whose it was. */
static zsocket_peer
expect_message(zsocket *from, const char *control, const char *raw)
{
    zsocket_message m;
    zsocket_peer peer;

    EXPECT_OK(zsocket_recv(from, &m, WAIT_MS));
    expect_frames(&m, control, raw);
    peer = m.peer;
    zsocket_message_fini(&m);
    return peer;
}

/* One and two frames in both directions. */
static void
exchange(socket_rig *r, const char *endpoint)
{
    zsocket *router = socket_rig_router(r, endpoint, MAX);
    zsocket *dealer = socket_rig_dealer(r, zsocket_endpoint(router));
    zsocket_message m;
    zsocket_peer peer;

    EXPECT_ST(zsocket_recv(router, &m, 0), ST_TIMEOUT);
    EXPECT_OK(zsocket_send(dealer, NULL, "one", 3, NULL, 0));
    EXPECT_OK(zsocket_send(dealer, NULL, "two", 3, "raw", 3));
    EXPECT_OK(zsocket_send(dealer, NULL, "", 0, "", 0));
    (void)expect_message(router, "one", NULL);
    peer = expect_message(router, "two", "raw");
    assert_true(peer.len > 0);
    EXPECT_OK(zsocket_recv(router, &m, WAIT_MS));
    expect_frames(&m, "", "");
    zsocket_message_fini(&m);
    zsocket_message_fini(&m); /* twice is once */
    EXPECT_OK(zsocket_send(router, &peer, "back", 4, "more", 4));
    (void)expect_message(dealer, "back", "more");
    assert_true(zsocket_fd(router) >= 0);
}

static void
ipc_carries_messages(void **state)
{
    socket_rig *r = *state;

    exchange(r, r->endpoint);
}

static void
tcp_carries_messages(void **state)
{
    exchange(*state, "tcp://127.0.0.1:*");
    exchange(*state, "tcp://localhost:0");
}

static void
endpoints_are_checked(void **state)
{
    const char *bad[] = {"",
                         "ipc://",
                         "ipc://@abstract",
                         "ipc://*",
                         "inproc://x",
                         "tcp://127.0.0.1",
                         "tcp://127.0.0.1:",
                         "tcp://127.0.0.1:65536",
                         "tcp://127.0.0.1:80x",
                         "tcp://:80",
                         "tcp://[::1:80",
                         "tcp://[]:80",
                         "tcp://[1.2.3.4]:80",
                         "tcp://1.2.3:80",
                         "tcp://1.2.3.4;eth0:80",
                         "tcp://.example.org:80",
                         "tcp://exam ple:80",
                         "127.0.0.1:80"};
    socket_rig *r = *state;
    char longest[200] = "ipc://";

    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        expect_no_router(r, bad[i], OPEN, ST_ARG);
        expect_no_dealer(r, bad[i], ST_ARG);
    }
    expect_no_router(r, "tcp://eth0:80", OPEN, ST_ARG);
    expect_no_dealer(r, "tcp://*:80", ST_ARG);
    expect_no_dealer(r, "tcp://127.0.0.1:*", ST_ARG);
    memset(longest + 6, 'p', 150);
    expect_no_router(r, longest, OPEN, ST_ARG);
    expect_no_router(r, "ipc:///nowhere/at/all", OPEN, ST_IO);
}

/* T25 */
static void
the_network_needs_keys(void **state)
{
    const char *network[] = {"tcp://0.0.0.0:80", "tcp://10.0.0.1:80",
                             "tcp://[::]:80", "tcp://[fe80::1]:80"};
    socket_rig *r = *state;

    for (size_t i = 0; i < sizeof(network) / sizeof(*network); i++) {
        expect_no_router(r, network[i], OPEN, ST_DENIED);
        expect_no_router(r, network[i], NULL, ST_DENIED);
        expect_no_dealer(r, network[i], ST_ARG);
    }
    expect_no_router(r, "tcp://*:80", OPEN, ST_DENIED);
    assert_non_null(strstr(status_text(), "key"));
    expect_no_router(r, "tcp://127.0.0.1:*", NULL, ST_DENIED);
    assert_non_null(strstr(status_text(), "--allow-local-users"));
    expect_no_dealer(r, "tcp://127.0.0.1.example.org:80", ST_ARG);
    expect_no_dealer(r, "tcp://head-node:80", ST_ARG);
}

static void
an_endpoint_in_use_is_refused(void **state)
{
    socket_rig *r = *state;
    zsocket *first, *dealer;

    EXPECT_ST(zsocket_probe(r->endpoint), ST_NOTFOUND);
    first = socket_rig_router(r, r->endpoint, MAX);
    expect_no_router(r, r->endpoint, NULL, ST_STATE);
    assert_non_null(strstr(status_text(), "in use"));
    dealer = socket_rig_dealer(r, r->endpoint);
    EXPECT_OK(zsocket_send(dealer, NULL, "x", 1, NULL, 0));
    (void)expect_message(first, "x", NULL); /* the first one lives on */
    socket_rig_shut(r, first);
    first = socket_rig_router(r, "tcp://127.0.0.1:*", MAX);
    expect_no_router(r, zsocket_endpoint(first), OPEN, ST_STATE);
}

static void
a_stale_path_is_taken_over(void **state)
{
    socket_rig *r = *state;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat found;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", r->path);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 1), 0);
    expect_no_router(r, r->endpoint, NULL, ST_STATE);
    EXPECT_OK(zsocket_probe(r->endpoint));
    close(fd); /* as a killed daemon leaves it */
    EXPECT_ST(zsocket_probe(r->endpoint), ST_NOTFOUND);
    (void)socket_rig_router(r, r->endpoint, MAX);
    assert_int_equal(stat(r->path, &found), 0);
    assert_int_equal(found.st_mode & 0777, 0600);
}

static void
a_file_is_not_taken_over(void **state)
{
    socket_rig *r = *state;
    int fd = open(r->path, O_CREAT | O_WRONLY, 0600);

    close(fd);
    expect_no_router(r, r->endpoint, NULL, ST_STATE);
    assert_int_equal(unlink(r->path), 0); /* it was left alone */
}

static void
oversized_frames_are_dropped(void **state)
{
    socket_rig *r = *state;
    zsocket *router = socket_rig_router(r, r->endpoint, 1024);
    zsocket *loud = socket_rig_dealer(r, r->endpoint);
    zsocket *good = socket_rig_dealer(r, r->endpoint);
    zsocket_message m;
    static const char big[2048];

    EXPECT_OK(zsocket_send(loud, NULL, "control", 7, big, 2048));
    EXPECT_ST(zsocket_recv(router, &m, 300), ST_TIMEOUT);
    EXPECT_OK(zsocket_send(good, NULL, "fits", 4, big, 1024));
    EXPECT_OK(zsocket_recv(router, &m, WAIT_MS));
    assert_int_equal(m.raw_len, 1024);
    zsocket_message_fini(&m);
}

static void
announced_frames_are_not_believed(void **state)
{
    /* flag "long", 4 GiB in 8 bytes, and nothing of it */
    static const uint8_t huge[] = {0x02, 0, 0, 0, 1, 0, 0, 0, 0};
    socket_rig *r = *state;
    zsocket *router = socket_rig_router(r, r->endpoint, MAX);
    zsocket_message m;
    int fd[20];

    for (int i = 0; i < 20; i++)
        fd[i] = i == 10 ? socket_rig_greet_hi(r->path)
                        : socket_rig_greet(r->path, huge, sizeof(huge));
    (void)expect_message(router, "hi", NULL);
    for (int i = 0; i < 20; i++) {
        if (i != 10)
            assert_true(socket_rig_hung_up(fd[i]));
        close(fd[i]);
    }
    EXPECT_ST(zsocket_recv(router, &m, 0), ST_TIMEOUT);
}

static void
full_queues_are_told(void **state)
{
    socket_rig *r = *state;
    zsocket *router = socket_rig_router(r, r->endpoint, MAX);
    zsocket *dealer = socket_rig_dealer(r, r->endpoint);
    zsocket_message m;
    int sent = 0, received = 0;

    while (sent < 100000 &&
           zsocket_send(dealer, NULL, "n", 1, "0123456789", 10) == ST_OK)
        sent++;
    assert_true(sent < 100000);
    EXPECT_ST(zsocket_send(dealer, NULL, "n", 1, NULL, 0), ST_TIMEOUT);
    while (zsocket_recv(router, &m, received < sent ? WAIT_MS : 0) == ST_OK) {
        expect_frames(&m, "n", "0123456789");
        zsocket_message_fini(&m);
        received++;
    }
    assert_int_equal(received, sent);
}

static void
closing_can_flush(void **state)
{
    socket_rig *r = *state;
    zsocket *router = socket_rig_router(r, r->endpoint, MAX);
    zsocket *dealer = socket_rig_dealer(r, r->endpoint);

    for (int i = 0; i < 20; i++)
        EXPECT_OK(zsocket_send(dealer, NULL, "last", 4, NULL, 0));
    socket_rig_forget(r, dealer);
    zsocket_flush_close(dealer, WAIT_MS);
    for (int i = 0; i < 20; i++)
        (void)expect_message(router, "last", NULL);
}

/* mpirun is started by the daemon and must inherit nothing of this. */
static void
descriptors_close_on_exec(void **state)
{
    socket_rig *r = *state;
    zsocket *router = socket_rig_router(r, r->endpoint, MAX);
    zsocket *dealer = socket_rig_dealer(r, r->endpoint);

    EXPECT_OK(zsocket_send(dealer, NULL, "x", 1, NULL, 0));
    (void)expect_message(router, "x", NULL);
    for (int fd = 3; fd < 256; fd++) {
        char link[32], target[64] = "";
        int flags = fcntl(fd, F_GETFD);

        snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        if (flags < 0 || readlink(link, target, sizeof(target) - 1) < 0)
            continue;
        if (strstr(target, "socket:") || strstr(target, "anon_inode:"))
            assert_true(flags & FD_CLOEXEC);
    }
}

/* The library would end the process. */
static void
without_descriptors_there_is_no_context(void **state)
{
    zcontext *z = NULL;
    struct rlimit before, few;
    int next = dup(STDERR_FILENO);

    (void)state;
    assert_true(next >= 0);
    assert_int_equal(close(next), 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = before;
    few.rlim_cur = (rlim_t)next + 4;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    EXPECT_ST(zcontext_new(&z), ST_NOMEM);
    assert_null(z);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_non_null(strstr(status_text(), "file descriptors"));
    assert_int_equal(dup(STDERR_FILENO), next); /* none is left open */
    assert_int_equal(close(next), 0);
    EXPECT_OK(zcontext_new(&z));
    zcontext_free(z);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        SOCKET_RIG_TEST(ipc_carries_messages),
        SOCKET_RIG_TEST(tcp_carries_messages),
        SOCKET_RIG_TEST(endpoints_are_checked),
        SOCKET_RIG_TEST(the_network_needs_keys),
        SOCKET_RIG_TEST(an_endpoint_in_use_is_refused),
        SOCKET_RIG_TEST(a_stale_path_is_taken_over),
        SOCKET_RIG_TEST(a_file_is_not_taken_over),
        SOCKET_RIG_TEST(oversized_frames_are_dropped),
        SOCKET_RIG_TEST(announced_frames_are_not_believed),
        SOCKET_RIG_TEST(full_queues_are_told),
        SOCKET_RIG_TEST(closing_can_flush),
        SOCKET_RIG_TEST(descriptors_close_on_exec),
        cmocka_unit_test(without_descriptors_there_is_no_context),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
