/* SPDX-License-Identifier: Apache-2.0 */
/* The connections of a listening socket, by descriptor: since when each is
 * there, and who has spoken on it.
 *
 * ZeroMQ owns the descriptors and has no call that hangs up on one peer.  Its
 * monitor tells of every one that comes and, before it is closed, goes; as long
 * as all of that was told here, a descriptor that is known is still that
 * connection's, and shutting it down is what the peer's own leaving would be.
 * Bounded by the descriptors of the process.  One thread. */
#ifndef PROTO_LINKS_H
#define PROTO_LINKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/socket.h"

typedef struct links_one {
    uint64_t since_ns; /* 0: no connection, or hung up on */
    zsocket_peer peer; /* len 0: has not spoken */
    uint64_t read;     /* bytes, when its last message was known to be whole */
    bool heard;        /* a whole message of it came since then */
} links_one;

typedef struct links {
    links_one *at;  /* [n], by descriptor */
    size_t n, next; /* who is looked at next for having no end */
} links;

/* Zeroed is empty. */
void links_fini(links *l);
/* Where memory runs out a connection is not known, and so never hung up on. */
void links_come(links *l, int fd, uint64_t now_ns);
void links_go(links *l, int fd);
/* A whole message of this peer came; false: the connection is not known as
 * its. */
bool links_hear(links *l, int fd, const zsocket_peer *peer);
void links_speak(links *l, int fd, const zsocket_peer *peer);
/* False: no connection of this peer is known. */
bool links_hang_up(links *l, const zsocket_peer *peer);
/* Those that came at `before_ns` or earlier and have not spoken; how many. */
size_t links_hang_up_silent(links *l, uint64_t before_ns);
/* Those by TCP of which more than `max` bytes were read since their last whole
 * message; how many.  Looks at some connections in each call. */
size_t links_hang_up_endless(links *l, uint64_t max);

#endif
