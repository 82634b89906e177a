/* SPDX-License-Identifier: Apache-2.0 */
/* ZeroMQ sockets of the project, with the limits that belong on all of them.
 *
 * The owner of ZeroMQ.  A socket belongs to one thread at a time.  A message
 * is a control frame and at most one raw frame.  Every socket has LINGER 0 at
 * zsocket_close(), a maximum message size, queues that are bounded in messages
 * and bytes, heartbeats on TCP and, on a ROUTER, mandatory routing. */
#ifndef PROTO_SOCKET_H
#define PROTO_SOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "proto/keyfile.h"

typedef struct zcontext zcontext;
typedef struct zsocket zsocket;

enum { ZSOCKET_MAX_PEER = 64 };

/* Identity of a peer on a ROUTER. */
typedef struct zsocket_peer {
    uint8_t len;
    uint8_t id[ZSOCKET_MAX_PEER];
} zsocket_peer;

typedef struct zsocket_message {
    zsocket_peer peer; /* ROUTER only */
    uint8_t *control;  /* owned: zsocket_message_fini() */
    size_t control_len;
    uint8_t *raw; /* NULL: no second frame */
    size_t raw_len;
    /* On a guarded ROUTER the peer's public key, which it has proved to hold;
     * otherwise "". */
    char user[KEYFILE_SIZE];
} zsocket_message;
void zsocket_message_fini(zsocket_message *m); /* zeroed is fine */

/* ST_NOMEM: also where descriptors are short. */
status zcontext_new(zcontext **out) MUST_USE;
void zcontext_free(zcontext *z); /* after all its sockets */

/* What zap.h asks the allow-list for when a key knocks. */
typedef enum zsocket_domain {
    ZSOCKET_CLIENTS = 0,
    ZSOCKET_WORLDS
} zsocket_domain;

/* Who may come in by TCP. */
typedef struct zsocket_guard {
    const keyfile *key;     /* ours: CURVE, and zap.h decides; NULL: none */
    zsocket_domain domain;  /* with a key */
    bool allow_local_users; /* without: loopback is open to all of them */
} zsocket_guard;

/* Binds a ROUTER.  `endpoint` ipc://PATH or tcp://ADDRESS:PORT (port 0 or '*':
 * any).  A stale ipc path is taken over, a living one is ST_STATE "in use".
 * ST_ARG: not an endpoint; ST_DENIED: TCP that the guard does not allow (NULL:
 * none).  An ipc path is mode 0600 and has no keys, and is gone when the socket
 * is closed.  With a key: zap_new() comes before this. */
status zsocket_router(zsocket **out, zcontext *z, const char *endpoint,
                      const zsocket_guard *guard, size_t max_message) MUST_USE;
/* Closes the connection of a ROUTER's peer, whatever waits in it.  False: none
 * is known; only who has sent a message is. */
bool zsocket_hang_up(zsocket *s, const zsocket_peer *peer);
/* The same for all that came `max_ms` ago or earlier and have not sent a
 * message; how many that were. */
size_t zsocket_hang_up_silent(zsocket *s, uint32_t max_ms);
/* ZeroMQ bounds each frame and how many messages wait, but not how many frames
 * one message has, and it keeps them until the last one comes.  The same for
 * peers of which much more was read since their last whole message than may
 * wait; how many.  To be called often.  Only where zsocket_counts(): the kernel
 * counts what came by TCP, not by ipc, where none but this user is. */
size_t zsocket_hang_up_endless(zsocket *s);
bool zsocket_counts(const zsocket *s);
/* Where it is bound, with the port that was given. */
const char *zsocket_endpoint(const zsocket *s);

/* Connects a DEALER (in the background; nothing is known of the peer yet).  By
 * TCP with a `key` whose server_key the peer must prove to hold; without one
 * (NULL) to loopback only.  ST_ARG: not an endpoint, one that needs a key, or a
 * key without server. */
status zsocket_dealer(zsocket **out, zcontext *z, const char *endpoint,
                      const keyfile *key, size_t max_message) MUST_USE;
void zsocket_close(zsocket *s);
/* Whether the peer of a DEALER with a key has told that it does not let the key
 * in.  (ZeroMQ goes on trying: the list of keys may change.) */
bool zsocket_is_refused(zsocket *s);
/* From here on the connections of a DEALER that go are counted. */
status zsocket_count_cuts(zsocket *s, zcontext *z) MUST_USE;
/* How many have gone on which the peer had let us in, before it did nothing is
 * sent.  ZeroMQ connects again by itself, but the peer takes us for somebody
 * else then: what was asked there and what it was to tell is lost.  That one
 * has gone is known before anything can be received on the next. */
unsigned zsocket_cuts(zsocket *s);

/* ST_NOTFOUND when it is certain that nobody listens at `endpoint` now (known
 * for ipc only); ST_ARG: no endpoint.  Other failures mean "perhaps". */
status zsocket_probe(const char *endpoint) MUST_USE;

/* Never blocks.  ST_TIMEOUT: the queue is full (try again later); ST_NOTFOUND:
 * the peer is gone (ROUTER).  `raw` NULL: one frame.  Data is copied. */
status zsocket_send(zsocket *s, const zsocket_peer *peer, const void *control,
                    size_t control_len, const void *raw,
                    size_t raw_len) MUST_USE;
/* Waits at most `timeout_ms` (0: not at all, -1: for ever).  ST_TIMEOUT:
 * nothing came.  ST_NOMEM: the message waits for the next call.  One of other
 * shape than one or two frames is dropped and ST_WIRE. */
status zsocket_recv(zsocket *s, zsocket_message *out, int timeout_ms) MUST_USE;
/* Gives queued messages up to `timeout_ms` to leave, then closes. */
void zsocket_flush_close(zsocket *s, int timeout_ms);

/* A readable descriptor for poll(); after it fires (edge-triggered, as
 * ZeroMQ's are) receive until ST_TIMEOUT. */
int zsocket_fd(zsocket *s);

#endif
