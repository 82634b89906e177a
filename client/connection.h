/* SPDX-License-Identifier: Apache-2.0 */
/* One connection to a daemon: requests out, messages in, and whether the
 * daemon is still there.
 *
 * ZeroMQ reconnects by itself, and what was on its way is gone.  So when the
 * daemon is silent, or its connection has gone, it is asked for its status: an
 * answer proves that it lives.  One to a question that was put after the end of
 * the connection comes behind everything that came there: what is not answered
 * by then is lost (or was still here, and the next daemon works on it). */
#ifndef CLIENT_CONNECTION_H
#define CLIENT_CONNECTION_H

#include "client/client.h"
#include "proto/socket.h"

typedef struct connection {
    client_config config;
    char *endpoint;
    zcontext *z;
    zsocket *socket;
    uint64_t last_request; /* number given last */
    uint64_t ping;         /* request of the status that is out, 0: none */
    uint64_t ping_ns;      /* when it was sent */
    unsigned ping_cuts;    /* connections that had gone then */
    uint64_t heard_ns;     /* last sign of life */
    uint64_t begun_ns;     /* when the call began */
    unsigned cuts;         /* connections that had gone then */
    uint64_t epoch;        /* of the daemon that the call relies on, 0: any */
    bool lost;             /* the call's request or answer: the daemon is
                              another one, or takes us for another */
    bool deaf;             /* do not ask config.interrupted any more */
} connection;

/* ST_STATE: nobody listens there. */
status connection_open(connection *c, const client_config *config) MUST_USE;
void connection_close(connection *c); /* zeroed is fine */

/* Starts a call: takes a request number, and silence counts from now. */
uint64_t connection_begin(connection *c);
/* Sends m with a raw frame, if there is one; waits while the queue is full. */
status connection_send(connection *c, const client_message *m, const void *raw,
                       size_t raw_len) MUST_USE;
/* Sends m with a raw frame; ST_TIMEOUT at once when the queue is full. */
status connection_try(connection *c, const client_message *m, const void *raw,
                      size_t raw_len) MUST_USE;

/* The next message, waiting at most wait_ms.  ST_TIMEOUT: none came;
 * ST_CANCELED: interrupted; ST_STATE: the daemon is silent for too long, or
 * c->lost: it answers, but the call must be made again, which may have been
 * carried out; ST_WIRE and others: it cannot be understood. */
status connection_receive(connection *c, client_message *out,
                          uint32_t wait_ms) MUST_USE;

/* Whoever has the connection wants to stop.  Does not block. */
bool connection_interrupted(const connection *c);

/* The failure that a REFUSED tells. */
status connection_refusal(const client_message *m);

#endif
