/* SPDX-License-Identifier: Apache-2.0 */
/* Opens sockets of both sides, and greets by hand. */
#include "tests/proto/socket_rig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

const zsocket_guard socket_rig_guard = {.allow_local_users = true};

int
socket_rig_setup(void **state)
{
    socket_rig *r = calloc(1, sizeof(*r));

    assert_non_null(r);
    EXPECT_OK(zcontext_new(&r->z));
    snprintf(r->directory, sizeof(r->directory), "/tmp/lw-socket-XXXXXX");
    assert_non_null(mkdtemp(r->directory));
    snprintf(r->path, sizeof(r->path), "%s/s", r->directory);
    snprintf(r->endpoint, sizeof(r->endpoint), "ipc://%s", r->path);
    *state = r;
    return 0;
}

int
socket_rig_teardown(void **state)
{
    socket_rig *r = *state;

    /* An open socket would keep its context waiting for ever. */
    for (size_t i = 0; i < SOCKET_RIG_OPEN; i++)
        zsocket_close(r->open[i]);
    zcontext_free(r->z);
    assert_int_equal(rmdir(r->directory), 0); /* nothing else is left */
    free(r);
    return 0;
}

static zsocket *
keep(socket_rig *r, zsocket *s)
{
    for (size_t i = 0; i < SOCKET_RIG_OPEN; i++)
        if (!r->open[i]) {
            r->open[i] = s;
            return s;
        }
    fail_msg("more than %d sockets", SOCKET_RIG_OPEN);
    return NULL;
}

zsocket *
socket_rig_router(socket_rig *r, const char *endpoint, size_t max)
{
    zsocket *s;

    EXPECT_OK(zsocket_router(&s, r->z, endpoint, &socket_rig_guard, max));
    return keep(r, s);
}

zsocket *
socket_rig_dealer(socket_rig *r, const char *endpoint)
{
    zsocket *s;

    EXPECT_OK(zsocket_dealer(&s, r->z, endpoint, NULL, SOCKET_RIG_MAX));
    return keep(r, s);
}

void
socket_rig_forget(socket_rig *r, const zsocket *s)
{
    for (size_t i = 0; i < SOCKET_RIG_OPEN; i++)
        if (r->open[i] == s)
            r->open[i] = NULL;
}

void
socket_rig_shut(socket_rig *r, zsocket *s)
{
    socket_rig_forget(r, s);
    zsocket_close(s);
}

zsocket_peer
socket_rig_sender(zsocket *s)
{
    zsocket_message m;
    zsocket_peer peer;

    EXPECT_OK(zsocket_recv(s, &m, SOCKET_RIG_MS));
    peer = m.peer;
    zsocket_message_fini(&m);
    return peer;
}

void
socket_rig_greet_on(int fd, const uint8_t *frame, size_t len)
{
    static const uint8_t greeting[64] = {0xFF, 0,    0, 0, 0,   0,   0,   0,
                                         1,    0x7F, 3, 0, 'N', 'U', 'L', 'L'};
    static const uint8_t ready[] = "\x04\x1C\x05READY\x0BSocket-Type\0\0\0"
                                   "\x06"
                                   "DEALER";
    struct timeval patience = {.tv_sec = SOCKET_RIG_MS / 1000};
    uint8_t theirs[64];

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    assert_int_equal(send(fd, greeting, sizeof(greeting), 0), 64);
    assert_int_equal(recv(fd, theirs, sizeof(theirs), MSG_WAITALL), 64);
    assert_int_equal(send(fd, ready, sizeof(ready) - 1, 0), sizeof(ready) - 1);
    assert_true(recv(fd, theirs, sizeof(theirs), 0) > 0);
    assert_int_equal(send(fd, frame, len, 0), len);
}

int
socket_rig_greet(const char *path, const uint8_t *frame, size_t len)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)),
                     0);
    socket_rig_greet_on(fd, frame, len);
    return fd;
}

int
socket_rig_greet_hi(const char *path)
{
    static const uint8_t hi[] = {0x00, 2, 'h', 'i'};

    return socket_rig_greet(path, hi, sizeof(hi));
}

bool
socket_rig_hung_up(int fd)
{
    char ignored[256];
    ssize_t n;

    do
        n = recv(fd, ignored, sizeof(ignored), 0);
    while (n > 0);
    return n == 0 || errno == ECONNRESET;
}
