/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets of one test: a context, a path of its own, and peers that speak just
 * enough of ZMTP to be anybody. */
#ifndef TESTS_PROTO_SOCKET_RIG_H
#define TESTS_PROTO_SOCKET_RIG_H

#include "proto/socket.h"
#include "tests/expect.h"

enum {
    SOCKET_RIG_MAX = 1 << 20, /* bytes of a frame, where no test says less */
    SOCKET_RIG_MS = 5000,     /* until what must come is given up */
    SOCKET_RIG_OPEN = 4
};

typedef struct socket_rig {
    zcontext *z;
    zsocket *open[SOCKET_RIG_OPEN]; /* what a test leaves, teardown closes */
    char directory[32], path[64], endpoint[72]; /* ipc at the path */
} socket_rig;

int socket_rig_setup(void **state);
int socket_rig_teardown(void **state);
#define SOCKET_RIG_TEST(test)                                                  \
    cmocka_unit_test_setup_teardown(test, socket_rig_setup, socket_rig_teardown)

/* A guard that lets this host's users in. */
extern const zsocket_guard socket_rig_guard;
zsocket *socket_rig_router(socket_rig *r, const char *endpoint, size_t max);
zsocket *socket_rig_dealer(socket_rig *r, const char *endpoint);
/* The caller closes it. */
void socket_rig_forget(socket_rig *r, const zsocket *s);
void socket_rig_shut(socket_rig *r, zsocket *s);
/* Waits for a message that is of no interest, and says whose it was. */
zsocket_peer socket_rig_sender(zsocket *s);

/* A descriptor that greeted at an ipc path as a DEALER without security and
 * then sent `len` bytes of frames; close(). */
int socket_rig_greet(const char *path, const uint8_t *frame, size_t len);
/* The same on a connection that is there. */
void socket_rig_greet_on(int fd, const uint8_t *frame, size_t len);
/* It greeted and said "hi". */
int socket_rig_greet_hi(const char *path);
/* True when the other side hangs up within a few seconds; what it says before
 * is not of interest. */
bool socket_rig_hung_up(int fd);

#endif
