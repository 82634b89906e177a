/* SPDX-License-Identifier: Apache-2.0 */
/* Who is there: peers that come in crowds, say nothing, are hung up on, or
 * leave. */
#include "tests/proto/socket_rig.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"

/* Whoever knocks and runs away, however often and unseen, keeps nobody out. */
static void
a_crowd_at_the_door_blocks_nobody(void **state)
{
    const struct timeval patience = {.tv_sec = SOCKET_RIG_MS / 1000};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socket_rig *r = *state;
    zsocket *router = socket_rig_router(r, r->endpoint, SOCKET_RIG_MAX);
    int fd;

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", r->path);
    for (int i = 0; i < 3000; i++) {
        fd = socket(AF_UNIX, SOCK_STREAM, 0);
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
        assert_int_equal(
            connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
        close(fd);
    }
    fd = socket_rig_greet_hi(r->path);
    (void)socket_rig_sender(router);
    close(fd);
}

/* The peer is there and hears us: "you", and the frame's head. */
static void
expect_reachable(zsocket *router, const zsocket_peer *peer, int fd)
{
    EXPECT_OK(zsocket_send(router, peer, "you", 3, NULL, 0));
    assert_int_equal(recv(fd, (char[5]){0}, 5, MSG_WAITALL), 5);
}

/* T22: of those who came in, who has said something is known and stays. */
static void
silent_peers_are_hung_up_on(void **state)
{
    socket_rig *r = *state;
    zsocket *router = socket_rig_router(r, r->endpoint, SOCKET_RIG_MAX);
    zsocket_peer peer;
    int fd[3];

    fd[0] = socket_rig_greet(r->path, NULL, 0);
    fd[1] = socket_rig_greet_hi(r->path);
    fd[2] = socket_rig_greet(r->path, NULL, 0);
    peer = socket_rig_sender(router);
    assert_int_equal(zsocket_hang_up_silent(router, 3600 * 1000), 0);
    assert_int_equal(zsocket_hang_up_silent(router, 0), 2);
    assert_true(socket_rig_hung_up(fd[0]));
    assert_true(socket_rig_hung_up(fd[2]));
    assert_int_equal(zsocket_hang_up_silent(router, 0), 0);
    expect_reachable(router, &peer, fd[1]);
    for (int i = 0; i < 3; i++)
        close(fd[i]);
}

/* With a descriptor of an earlier peer, too. */
static void
one_peer_is_hung_up_on(void **state)
{
    socket_rig *r = *state;
    zsocket *router = socket_rig_router(r, r->endpoint, SOCKET_RIG_MAX);
    zsocket_peer peer[2];
    int fd[2];

    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 2; i++) {
            fd[i] = socket_rig_greet_hi(r->path);
            peer[i] = socket_rig_sender(router);
        }
        assert_true(zsocket_hang_up(router, &peer[0]));
        assert_true(socket_rig_hung_up(fd[0]));
        assert_false(zsocket_hang_up(router, &peer[0]));
        expect_reachable(router, &peer[1], fd[1]);
        assert_true(zsocket_hang_up(router, &peer[1]));
        assert_true(socket_rig_hung_up(fd[1]));
        close(fd[0]);
        close(fd[1]);
    }
}

static int
come_by_tcp(const zsocket *router)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const char *port = strrchr(zsocket_endpoint(router), ':') + 1;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    to.sin_port = htons((uint16_t)strtoul(port, NULL, 10));
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    return fd;
}

/* A frame of 1 MiB, after which more follow, or not. */
static void
say_mega(int fd, bool more)
{
    static uint8_t frame[9 + SOCKET_RIG_MAX];
    size_t done = 0;
    ssize_t n = 1;

    memset(frame, 0, 9);
    frame[0] = more ? 3 : 2;
    frame[6] = SOCKET_RIG_MAX >> 16;
    for (; done < sizeof(frame) && n > 0; done += (size_t)n)
        n = send(fd, frame + done, sizeof(frame) - done, MSG_NOSIGNAL);
}

/* T22: one message of frames without end would be kept until it ends; many
 * messages that end are none of that. */
static void
who_never_ends_is_hung_up_on(void **state)
{
    enum { MAX_MIB = 64 + 16 /* that may be read, and be on the way */ };
    static const uint8_t hi[] = {0x00, 2, 'h', 'i'};
    socket_rig *r = *state;
    zsocket *router = socket_rig_router(r, "tcp://127.0.0.1:*", SOCKET_RIG_MAX);
    zsocket_peer peer;
    size_t n = 0, gone = 0;
    int good = come_by_tcp(router), bad = come_by_tcp(router);

    assert_true(zsocket_counts(router));
    socket_rig_greet_on(good, hi, sizeof(hi));
    peer = socket_rig_sender(router);
    for (int i = 0; i < 2 * MAX_MIB; i++) {
        say_mega(good, false);
        (void)socket_rig_sender(router);
        assert_int_equal(zsocket_hang_up_endless(router), 0);
    }
    socket_rig_greet_on(bad, hi, sizeof(hi));
    (void)socket_rig_sender(router);
    for (; n < MAX_MIB && gone == 0; n++) {
        say_mega(bad, true);
        gone = zsocket_hang_up_endless(router);
    }
    assert_true(n > 60); /* as much as may wait is taken */
    for (int i = 0; i < 500 && gone == 0; i++) {
        clock_sleep_us(10000);
        gone = zsocket_hang_up_endless(router);
    }
    assert_int_equal(gone, 1);
    assert_true(socket_rig_hung_up(bad));
    expect_reachable(router, &peer, good);
    close(good);
    close(bad);
}

/* ZeroMQ tells of them to whoever watches: were the watch closed first, its
 * thread would wait for ever, or lose the memory of what it could not tell. */
static void
closing_while_peers_leave(void **state)
{
    socket_rig *r = *state;

    for (int round = 0; round < 100; round++) {
        char at[sizeof(r->endpoint) + 8];
        zsocket *router;
        int fd[4];

        snprintf(at, sizeof(at), "%s-%d", r->endpoint, round);
        router = socket_rig_router(r, at, SOCKET_RIG_MAX);
        for (int i = 0; i < 4; i++) {
            fd[i] = socket_rig_greet_hi(at + strlen("ipc://"));
            (void)socket_rig_sender(router);
        }
        for (int i = 0; i < 4; i++)
            close(fd[i]);
        socket_rig_shut(r, router);
    }
}

static void
lost_peers_are_told(void **state)
{
    socket_rig *r = *state;
    zsocket *router = socket_rig_router(r, r->endpoint, SOCKET_RIG_MAX);
    zsocket *dealer = socket_rig_dealer(r, r->endpoint);
    zsocket_peer stranger = {.len = 3, .id = {1, 2, 3}}, peer;
    status st = ST_OK;

    EXPECT_ST(zsocket_send(router, &stranger, "x", 1, "y", 1), ST_NOTFOUND);
    EXPECT_OK(zsocket_send(dealer, NULL, "x", 1, NULL, 0));
    peer = socket_rig_sender(router);
    socket_rig_shut(r, dealer);
    for (int i = 0; i < 500 && st == ST_OK; i++) {
        st = zsocket_send(router, &peer, "x", 1, NULL, 0);
        clock_sleep_us(10000);
    }
    assert_int_equal(st, ST_NOTFOUND);
}

/* It has told of the connection before by then. */
static int
await_dealer(int listener)
{
    const struct timeval patience = {.tv_sec = SOCKET_RIG_MS / 1000};
    int fd;

    setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    fd = accept(listener, NULL, NULL);
    assert_true(fd >= 0);
    return fd;
}

/* Nothing was sent on one that came to nothing, so nothing is lost. */
static void
a_cut_is_of_a_peer_that_let_us_in(void **state)
{
    static const uint8_t hi[] = {0x00, 2, 'h', 'i'};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socket_rig *r = *state;
    int listener = socket(AF_UNIX, SOCK_STREAM, 0), fd;
    zsocket *dealer;

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", r->path);
    assert_int_equal(
        bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(listener, 1), 0);
    dealer = socket_rig_dealer(r, r->endpoint);
    EXPECT_OK(zsocket_count_cuts(dealer, r->z));
    for (int i = 0; i < 3; i++)
        close(await_dealer(listener));
    fd = await_dealer(listener);
    assert_int_equal(zsocket_cuts(dealer), 0);
    socket_rig_greet_on(fd, hi, sizeof(hi));
    (void)socket_rig_sender(dealer);
    close(fd);
    fd = await_dealer(listener);
    assert_int_equal(zsocket_cuts(dealer), 1);
    close(fd);
    close(listener);
    unlink(r->path);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        SOCKET_RIG_TEST(a_crowd_at_the_door_blocks_nobody),
        SOCKET_RIG_TEST(silent_peers_are_hung_up_on),
        SOCKET_RIG_TEST(one_peer_is_hung_up_on),
        SOCKET_RIG_TEST(who_never_ends_is_hung_up_on),
        SOCKET_RIG_TEST(closing_while_peers_leave),
        SOCKET_RIG_TEST(lost_peers_are_told),
        SOCKET_RIG_TEST(a_cut_is_of_a_peer_that_let_us_in),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
