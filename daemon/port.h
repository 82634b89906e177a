/* SPDX-License-Identifier: Apache-2.0 */
/* A listening socket on the loop: frames in, by bounded turns, each peer in
 * order and all peers by turns, and an outbox.
 *
 * Loop thread.  What the frames mean is its owner's (clients.h, worlds.h). */
#ifndef DAEMON_PORT_H
#define DAEMON_PORT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"
#include "daemon/inbox.h"
#include "daemon/outbox.h"
#include "proto/loop.h"
#include "proto/socket.h"

enum { PORT_TURN_NS = 2000000 }; /* no further message is begun after it */

typedef struct port_limits {
    int take_messages; /* off the socket in one turn of the loop */
    int turn_messages; /* heard in one turn */
    size_t turn_bytes; /* the same; a turn copies them once */
    size_t inbox_messages, inbox_bytes; /* that wait to be heard */
    size_t frame_bytes;                 /* the largest message */
    size_t outbox_bytes;                /* that wait for a slow peer */
    uint32_t outbox_ms; /* that it may take nothing; 0: any time */
    uint32_t silent_ms; /* from coming in to the first message */
} port_limits;

/* A frame; its parts may be taken by setting them to NULL. */
typedef void port_frame_fn(void *ctx, zsocket_message *frame);
/* Looks at a frame as it comes, before those that wait; true: it was heard. */
typedef bool port_at_once_fn(void *ctx, zsocket_message *frame);

typedef struct port {
    zsocket *socket;
    loop *l;
    inbox *in;
    outbox *out;
    const port_limits *limits;
    zsocket_message frame; /* that there was no memory to keep */
    bool has_frame;
    int timer, count_timer;
    bool timing, counting;
    port_frame_fn *fn;
    port_at_once_fn *at_once;
    void *ctx;
} port;

/* Binds.  `limits` outlives the port. */
status port_init(port *p, zcontext *z, loop *l, const char *endpoint,
                 const zsocket_guard *guard,
                 const port_limits *limits) MUST_USE;
/* Gives what waits up to `timeout_ms` to leave.  Zeroed is fine. */
void port_fini(port *p, int timeout_ms);
/* `at_once` NULL: everything waits for its turn. */
status port_listen(port *p, port_frame_fn *fn, port_at_once_fn *at_once,
                   void *ctx) MUST_USE;

#endif
