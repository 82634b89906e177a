/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets over ipc and loopback TCP: frames, limits, endpoints in use. */
#include "proto/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/expect.h"

enum { MAX = 1 << 20, WAIT_MS = 5000, MAX_OPEN = 4 };

static const zsocket_guard OPEN = {.allow_local_users = true};

typedef struct bench {
    zcontext *z;
    zsocket *open[MAX_OPEN]; /* a check that fails leaves them to teardown() */
    char directory[32], path[64], endpoint[72];
} bench;

static zsocket *
keep(bench *b, zsocket *s)
{
    for (size_t i = 0; i < MAX_OPEN; i++)
        if (!b->open[i]) {
            b->open[i] = s;
            return s;
        }
    fail_msg("more than %d sockets", MAX_OPEN);
    return NULL;
}

static zsocket *
router_at(bench *b, const char *endpoint, size_t max)
{
    zsocket *s;

    EXPECT_OK(zsocket_router(&s, b->z, endpoint, &OPEN, max));
    return keep(b, s);
}

/* What is opened against expectation is closed before the check fails. */
static void
expect_no_router(bench *b, const char *endpoint, const zsocket_guard *guard,
                 status want)
{
    zsocket *s = NULL;
    status st = zsocket_router(&s, b->z, endpoint, guard, MAX);

    zsocket_close(s);
    assert_int_equal(st, want);
}

static void
expect_no_dealer(bench *b, const char *endpoint, status want)
{
    zsocket *s = NULL;
    status st = zsocket_dealer(&s, b->z, endpoint, NULL, MAX);

    zsocket_close(s);
    assert_int_equal(st, want);
}

static zsocket *
dealer_to(bench *b, const char *endpoint)
{
    zsocket *s;

    EXPECT_OK(zsocket_dealer(&s, b->z, endpoint, NULL, MAX));
    return keep(b, s);
}

static void
forget(bench *b, const zsocket *s)
{
    for (size_t i = 0; i < MAX_OPEN; i++)
        if (b->open[i] == s)
            b->open[i] = NULL;
}

static void
shut(bench *b, zsocket *s)
{
    forget(b, s);
    zsocket_close(s);
}

static int
setup(void **state)
{
    bench *b = calloc(1, sizeof(*b));

    assert_non_null(b);
    EXPECT_OK(zcontext_new(&b->z));
    snprintf(b->directory, sizeof(b->directory), "/tmp/lw-socket-XXXXXX");
    assert_non_null(mkdtemp(b->directory));
    snprintf(b->path, sizeof(b->path), "%s/s", b->directory);
    snprintf(b->endpoint, sizeof(b->endpoint), "ipc://%s", b->path);
    *state = b;
    return 0;
}

static int
teardown(void **state)
{
    bench *b = *state;

    /* An open socket would keep its context waiting for ever. */
    for (size_t i = 0; i < MAX_OPEN; i++)
        zsocket_close(b->open[i]);
    zcontext_free(b->z);
    assert_int_equal(rmdir(b->directory), 0); /* nothing else is left */
    free(b);
    return 0;
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

/* One and two frames in both directions. */
static void
exchange(bench *b, const char *endpoint)
{
    zsocket *router, *dealer;
    zsocket_message m;
    zsocket_peer peer;

    router = router_at(b, endpoint, MAX);
    dealer = dealer_to(b, zsocket_endpoint(router));
    EXPECT_ST(zsocket_recv(router, &m, 0), ST_TIMEOUT);
    EXPECT_OK(zsocket_send(dealer, NULL, "one", 3, NULL, 0));
    EXPECT_OK(zsocket_send(dealer, NULL, "two", 3, "raw", 3));
    EXPECT_OK(zsocket_send(dealer, NULL, "", 0, "", 0));
    EXPECT_OK(zsocket_recv(router, &m, WAIT_MS));
    expect_frames(&m, "one", NULL);
    zsocket_message_fini(&m);
    EXPECT_OK(zsocket_recv(router, &m, WAIT_MS));
    expect_frames(&m, "two", "raw");
    peer = m.peer;
    assert_true(peer.len > 0);
    zsocket_message_fini(&m);
    EXPECT_OK(zsocket_recv(router, &m, WAIT_MS));
    expect_frames(&m, "", "");
    zsocket_message_fini(&m);
    zsocket_message_fini(&m);
    EXPECT_OK(zsocket_send(router, &peer, "back", 4, "more", 4));
    EXPECT_OK(zsocket_recv(dealer, &m, WAIT_MS));
    expect_frames(&m, "back", "more");
    zsocket_message_fini(&m);
    assert_true(zsocket_fd(router) >= 0);
    shut(b, dealer);
    shut(b, router);
}

static void
ipc_carries_messages(void **state)
{
    bench *b = *state;

    exchange(b, b->endpoint);
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
    bench *b = *state;
    char longest[200] = "ipc://";

    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        expect_no_router(b, bad[i], &OPEN, ST_ARG);
        expect_no_dealer(b, bad[i], ST_ARG);
    }
    expect_no_router(b, "tcp://eth0:80", &OPEN, ST_ARG);
    expect_no_dealer(b, "tcp://*:80", ST_ARG);
    expect_no_dealer(b, "tcp://127.0.0.1:*", ST_ARG);
    memset(longest + 6, 'p', 150);
    expect_no_router(b, longest, &OPEN, ST_ARG);
    expect_no_router(b, "ipc:///nowhere/at/all", &OPEN, ST_IO);
}

/* T25 */
static void
the_network_needs_keys(void **state)
{
    const char *network[] = {"tcp://0.0.0.0:80", "tcp://10.0.0.1:80",
                             "tcp://[::]:80", "tcp://[fe80::1]:80"};
    bench *b = *state;

    for (size_t i = 0; i < sizeof(network) / sizeof(*network); i++) {
        expect_no_router(b, network[i], &OPEN, ST_DENIED);
        expect_no_router(b, network[i], NULL, ST_DENIED);
        expect_no_dealer(b, network[i], ST_ARG);
    }
    expect_no_router(b, "tcp://*:80", &OPEN, ST_DENIED);
    assert_non_null(strstr(status_text(), "key"));
    expect_no_router(b, "tcp://127.0.0.1:*", NULL, ST_DENIED);
    assert_non_null(strstr(status_text(), "--allow-local-users"));
    expect_no_dealer(b, "tcp://127.0.0.1.example.org:80", ST_ARG);
    expect_no_dealer(b, "tcp://head-node:80", ST_ARG);
}

static void
an_endpoint_in_use_is_refused(void **state)
{
    bench *b = *state;
    zsocket *first, *dealer;
    zsocket_message m;

    EXPECT_ST(zsocket_probe(b->endpoint), ST_NOTFOUND);
    first = router_at(b, b->endpoint, MAX);
    expect_no_router(b, b->endpoint, NULL, ST_STATE);
    assert_non_null(strstr(status_text(), "in use"));
    dealer = dealer_to(b, b->endpoint);
    EXPECT_OK(zsocket_send(dealer, NULL, "x", 1, NULL, 0));
    EXPECT_OK(zsocket_recv(first, &m, WAIT_MS)); /* the first one lives on */
    zsocket_message_fini(&m);
    shut(b, first);
    first = router_at(b, "tcp://127.0.0.1:*", MAX);
    expect_no_router(b, zsocket_endpoint(first), &OPEN, ST_STATE);
    shut(b, dealer);
    shut(b, first);
}

static void
a_stale_path_is_taken_over(void **state)
{
    bench *b = *state;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat found;
    zsocket *s = NULL;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", b->path);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 1), 0);
    expect_no_router(b, b->endpoint, NULL, ST_STATE);
    EXPECT_OK(zsocket_probe(b->endpoint));
    close(fd); /* as a killed daemon leaves it */
    EXPECT_ST(zsocket_probe(b->endpoint), ST_NOTFOUND);
    s = router_at(b, b->endpoint, MAX);
    assert_int_equal(stat(b->path, &found), 0);
    assert_int_equal(found.st_mode & 0777, 0600);
    shut(b, s);
}

static void
a_file_is_not_taken_over(void **state)
{
    bench *b = *state;
    int fd = open(b->path, O_CREAT | O_WRONLY, 0600);

    close(fd);
    expect_no_router(b, b->endpoint, NULL, ST_STATE);
    assert_int_equal(unlink(b->path), 0); /* it was left alone */
}

static void
oversized_frames_are_dropped(void **state)
{
    bench *b = *state;
    zsocket *router, *loud, *good;
    zsocket_message m;
    char *big = calloc(1, 2048);

    assert_non_null(big);
    router = router_at(b, b->endpoint, 1024);
    loud = dealer_to(b, b->endpoint);
    good = dealer_to(b, b->endpoint);
    EXPECT_OK(zsocket_send(loud, NULL, "control", 7, big, 2048));
    EXPECT_ST(zsocket_recv(router, &m, 300), ST_TIMEOUT);
    EXPECT_OK(zsocket_send(good, NULL, "fits", 4, big, 1024));
    EXPECT_OK(zsocket_recv(router, &m, WAIT_MS));
    assert_int_equal(m.raw_len, 1024);
    zsocket_message_fini(&m);
    shut(b, loud);
    shut(b, good);
    shut(b, router);
    free(big);
}

/* Greets as a DEALER without security, then sends `frame`. */
static int
greet(const char *path, const uint8_t *frame, size_t len)
{
    static const uint8_t greeting[64] = {0xFF, 0,    0, 0, 0,   0,   0,   0,
                                         1,    0x7F, 3, 0, 'N', 'U', 'L', 'L'};
    static const uint8_t ready[] = "\x04\x1C\x05READY\x0BSocket-Type\0\0\0"
                                   "\x06"
                                   "DEALER";
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval patience = {.tv_sec = 5};
    uint8_t theirs[64];
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)),
                     0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    assert_int_equal(send(fd, greeting, sizeof(greeting), 0), 64);
    assert_int_equal(recv(fd, theirs, sizeof(theirs), MSG_WAITALL), 64);
    assert_int_equal(send(fd, ready, sizeof(ready) - 1, 0), sizeof(ready) - 1);
    assert_true(recv(fd, theirs, sizeof(theirs), 0) > 0);
    assert_int_equal(send(fd, frame, len, 0), len);
    return fd;
}

/* True when the other side hangs up within a few seconds; what it says before
 * is not of interest. */
static bool
is_hung_up_on(int fd)
{
    char ignored[256];
    ssize_t n;

    do
        n = recv(fd, ignored, sizeof(ignored), 0);
    while (n > 0);
    return n == 0 || errno == ECONNRESET;
}

static void
announced_frames_are_not_believed(void **state)
{
    /* flag "long", 4 GiB in 8 bytes, and nothing of it; a short frame */
    static const uint8_t huge[] = {0x02, 0, 0, 0, 1, 0, 0, 0, 0};
    static const uint8_t small[] = {0x00, 2, 'h', 'i'};
    bench *b = *state;
    zsocket *router;
    zsocket_message m;
    int fd[20];

    router = router_at(b, b->endpoint, MAX);
    for (int i = 0; i < 20; i++)
        fd[i] = i == 10 ? greet(b->path, small, sizeof(small))
                        : greet(b->path, huge, sizeof(huge));
    EXPECT_OK(zsocket_recv(router, &m, WAIT_MS));
    expect_frames(&m, "hi", NULL);
    zsocket_message_fini(&m);
    for (int i = 0; i < 20; i++) {
        if (i != 10)
            assert_true(is_hung_up_on(fd[i]));
        close(fd[i]);
    }
    EXPECT_ST(zsocket_recv(router, &m, 0), ST_TIMEOUT);
    shut(b, router);
}

/* Whoever knocks and runs away, however often and unseen, keeps nobody out. */
static void
a_crowd_at_the_door_blocks_nobody(void **state)
{
    static const uint8_t hi[] = {0x00, 2, 'h', 'i'};
    const struct timeval patience = {.tv_sec = WAIT_MS / 1000};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    bench *b = *state;
    zsocket *router = router_at(b, b->endpoint, MAX);
    zsocket_message m;
    int fd;

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", b->path);
    for (int i = 0; i < 3000; i++) {
        fd = socket(AF_UNIX, SOCK_STREAM, 0);
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
        assert_int_equal(
            connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
        close(fd);
    }
    fd = greet(b->path, hi, sizeof(hi));
    EXPECT_OK(zsocket_recv(router, &m, WAIT_MS));
    zsocket_message_fini(&m);
    close(fd);
    shut(b, router);
}

/* T22: of those who came in, who has said something is known and stays. */
static void
silent_peers_are_hung_up_on(void **state)
{
    static const uint8_t hi[] = {0x00, 2, 'h', 'i'};
    bench *b = *state;
    zsocket *router;
    zsocket_message m;
    int fd[3];

    router = router_at(b, b->endpoint, MAX);
    fd[0] = greet(b->path, hi, 0);
    fd[1] = greet(b->path, hi, sizeof(hi));
    fd[2] = greet(b->path, hi, 0);
    EXPECT_OK(zsocket_recv(router, &m, WAIT_MS));
    assert_int_equal(zsocket_hang_up_silent(router, 3600 * 1000), 0);
    assert_int_equal(zsocket_hang_up_silent(router, 0), 2);
    assert_true(is_hung_up_on(fd[0]));
    assert_true(is_hung_up_on(fd[2]));
    assert_int_equal(zsocket_hang_up_silent(router, 0), 0);
    EXPECT_OK(zsocket_send(router, &m.peer, "you", 3, NULL, 0));
    zsocket_message_fini(&m);
    assert_int_equal(recv(fd[1], (char[5]){0}, 5, MSG_WAITALL), 5);
    for (int i = 0; i < 3; i++)
        close(fd[i]);
    shut(b, router);
}

/* With a descriptor of an earlier peer, too. */
static void
one_peer_is_hung_up_on(void **state)
{
    static const uint8_t hi[] = {0x00, 2, 'h', 'i'};
    bench *b = *state;
    zsocket *router;
    zsocket_peer peer[2];
    int fd[2];

    router = router_at(b, b->endpoint, MAX);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 2; i++) {
            zsocket_message m;

            fd[i] = greet(b->path, hi, sizeof(hi));
            EXPECT_OK(zsocket_recv(router, &m, WAIT_MS));
            peer[i] = m.peer;
            zsocket_message_fini(&m);
        }
        assert_true(zsocket_hang_up(router, &peer[0]));
        assert_true(is_hung_up_on(fd[0]));
        assert_false(zsocket_hang_up(router, &peer[0]));
        EXPECT_OK(zsocket_send(router, &peer[1], "you", 3, NULL, 0));
        assert_int_equal(recv(fd[1], (char[5]){0}, 5, MSG_WAITALL), 5);
        assert_true(zsocket_hang_up(router, &peer[1]));
        assert_true(is_hung_up_on(fd[1]));
        close(fd[0]);
        close(fd[1]);
    }
    shut(b, router);
}

/* ZeroMQ tells of them to whoever watches: were the watch closed first, its
 * thread would wait for ever, or lose the memory of what it could not tell. */
static void
closing_while_peers_leave(void **state)
{
    static const uint8_t hi[] = {0x00, 2, 'h', 'i'};
    bench *b = *state;

    for (int round = 0; round < 100; round++) {
        char at[sizeof(b->endpoint) + 8];
        zsocket *router;
        zsocket_message m;
        int fd[4];

        snprintf(at, sizeof(at), "%s-%d", b->endpoint, round);
        router = router_at(b, at, MAX);
        for (int i = 0; i < 4; i++) {
            fd[i] = greet(at + strlen("ipc://"), hi, sizeof(hi));
            EXPECT_OK(zsocket_recv(router, &m, WAIT_MS));
            zsocket_message_fini(&m);
        }
        for (int i = 0; i < 4; i++)
            close(fd[i]);
        shut(b, router);
    }
}

static void
lost_peers_are_told(void **state)
{
    bench *b = *state;
    zsocket *router, *dealer;
    zsocket_message m;
    zsocket_peer stranger = {.len = 3, .id = {1, 2, 3}}, peer;
    status st = ST_OK;

    router = router_at(b, b->endpoint, MAX);
    EXPECT_ST(zsocket_send(router, &stranger, "x", 1, "y", 1), ST_NOTFOUND);
    dealer = dealer_to(b, b->endpoint);
    EXPECT_OK(zsocket_send(dealer, NULL, "x", 1, NULL, 0));
    EXPECT_OK(zsocket_recv(router, &m, WAIT_MS));
    peer = m.peer;
    zsocket_message_fini(&m);
    shut(b, dealer);
    for (int i = 0; i < 500 && st == ST_OK; i++) {
        st = zsocket_send(router, &peer, "x", 1, NULL, 0);
        clock_sleep_us(10000);
    }
    assert_int_equal(st, ST_NOTFOUND);
    shut(b, router);
}

static void
full_queues_are_told(void **state)
{
    bench *b = *state;
    zsocket *router, *dealer;
    zsocket_message m;
    int sent = 0, received = 0;

    router = router_at(b, b->endpoint, MAX);
    dealer = dealer_to(b, b->endpoint);
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
    shut(b, dealer);
    shut(b, router);
}

static void
closing_can_flush(void **state)
{
    bench *b = *state;
    zsocket *router, *dealer;
    zsocket_message m;

    router = router_at(b, b->endpoint, MAX);
    dealer = dealer_to(b, b->endpoint);
    for (int i = 0; i < 20; i++)
        EXPECT_OK(zsocket_send(dealer, NULL, "last", 4, NULL, 0));
    forget(b, dealer);
    zsocket_flush_close(dealer, WAIT_MS);
    for (int i = 0; i < 20; i++) {
        EXPECT_OK(zsocket_recv(router, &m, WAIT_MS));
        zsocket_message_fini(&m);
    }
    shut(b, router);
}

/* mpirun is started by the daemon and must inherit nothing of this. */
static void
descriptors_close_on_exec(void **state)
{
    bench *b = *state;
    zsocket *router, *dealer;
    zsocket_message m;

    router = router_at(b, b->endpoint, MAX);
    dealer = dealer_to(b, b->endpoint);
    EXPECT_OK(zsocket_send(dealer, NULL, "x", 1, NULL, 0));
    EXPECT_OK(zsocket_recv(router, &m, WAIT_MS));
    zsocket_message_fini(&m);
    for (int fd = 3; fd < 256; fd++) {
        char link[32], target[64] = "";
        int flags = fcntl(fd, F_GETFD);

        snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        if (flags < 0 || readlink(link, target, sizeof(target) - 1) < 0)
            continue;
        if (strstr(target, "socket:") || strstr(target, "anon_inode:"))
            assert_true(flags & FD_CLOEXEC);
    }
    shut(b, dealer);
    shut(b, router);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(ipc_carries_messages, setup, teardown),
        cmocka_unit_test_setup_teardown(tcp_carries_messages, setup, teardown),
        cmocka_unit_test_setup_teardown(endpoints_are_checked, setup, teardown),
        cmocka_unit_test_setup_teardown(the_network_needs_keys, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(an_endpoint_in_use_is_refused, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_stale_path_is_taken_over, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_file_is_not_taken_over, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(oversized_frames_are_dropped, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(announced_frames_are_not_believed,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_crowd_at_the_door_blocks_nobody,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(silent_peers_are_hung_up_on, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(one_peer_is_hung_up_on, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(closing_while_peers_leave, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(lost_peers_are_told, setup, teardown),
        cmocka_unit_test_setup_teardown(full_queues_are_told, setup, teardown),
        cmocka_unit_test_setup_teardown(closing_can_flush, setup, teardown),
        cmocka_unit_test_setup_teardown(descriptors_close_on_exec, setup,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
