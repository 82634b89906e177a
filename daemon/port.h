/* SPDX-License-Identifier: Apache-2.0 */
/* A listening socket on the loop: frames in, by bounded turns, and an outbox.
 *
 * Loop thread.  What the frames mean is its owner's (clients.h, worlds.h). */
#ifndef DAEMON_PORT_H
#define DAEMON_PORT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"
#include "daemon/outbox.h"
#include "proto/loop.h"
#include "proto/socket.h"

typedef struct port_limits {
    int turn_messages;   /* taken in one turn of the loop */
    size_t turn_bytes;   /* the same; a turn copies them once */
    size_t frame_bytes;  /* the largest message */
    size_t outbox_bytes; /* that wait for a slow peer */
} port_limits;

/* A frame; its parts may be taken by setting them to NULL. */
typedef void port_frame_fn(void *ctx, zsocket_message *frame);

typedef struct port {
    zsocket *socket;
    loop *l;
    outbox *out;
    const port_limits *limits;
    port_frame_fn *fn;
    void *ctx;
} port;

/* Binds.  `limits` outlives the port. */
status port_init(port *p, zcontext *z, loop *l, const char *endpoint,
                 const zsocket_guard *guard,
                 const port_limits *limits) MUST_USE;
/* Gives what waits up to `timeout_ms` to leave.  Zeroed is fine. */
void port_fini(port *p, int timeout_ms);
status port_listen(port *p, port_frame_fn *fn, void *ctx) MUST_USE;

#endif
