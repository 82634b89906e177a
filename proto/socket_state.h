/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of a socket share; private to proto/socket*.c. */
#ifndef PROTO_SOCKET_STATE_H
#define PROTO_SOCKET_STATE_H

#include <zmq.h>

#include "proto/endpoint.h"
#include "proto/links.h"
#include "proto/socket.h"

enum {
    ZSOCKET_MAX_PART = 3, /* a peer's name, control, raw */
    /* What a peer may have waiting, in bytes. */
    ZSOCKET_QUEUE_BYTES = 32 << 20,
    /* Of a connection since its last whole message: what waits, a message that
     * is not whole yet, and some weeks of heartbeats. */
    ZSOCKET_MAX_AHEAD = 2 * ZSOCKET_QUEUE_BYTES
};

struct zsocket {
    void *zmq;
    bool router;
    bool guarded;  /* every peer has proved a key */
    void *monitor; /* PAIR that hears of connections; NULL: nobody listens */
    bool refused;  /* DEALER */
    bool outside;  /* DEALER: not let in by the connection that is */
    unsigned cuts; /* DEALER: connections that have gone */
    links links;   /* ROUTER */
    zmq_msg_t
        part[ZSOCKET_MAX_PART]; /* of a message that there was no memory for */
    int n_part;
    char endpoint[ENDPOINT_MAX]; /* "" until bound or connected */
};

/* ST_NOMEM or ST_IO, after what ZeroMQ says of the call that just failed. */
status zsocket_status(const char *what) MUST_USE;

/* ---- socket_message.c ---- */
void zsocket_drop_parts(zsocket *s);

/* ---- socket_watch.c ---- */
/* The first message of a connection, which `part` is of, tells whose it is. */
void zsocket_note_peer(zsocket *s, const zsocket_message *m,
                       const zmq_msg_t *part);

#endif
