/* SPDX-License-Identifier: Apache-2.0 */
/* The socket that clients talk to: messages in, messages out.
 *
 * Loop thread.  Malformed messages are answered here and go no further. */
#ifndef DAEMON_CLIENTS_H
#define DAEMON_CLIENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "daemon/door.h"
#include "proto/client_message.h"
#include "proto/loop.h"
#include "proto/socket.h"

typedef struct clients clients;

/* Who sent a message. */
typedef struct clients_caller {
    const zsocket_peer *peer;
    const char *owner; /* of what he makes: his key, or DOOR_LOCAL */
    bool admin;        /* everything is his */
} clients_caller;

/* A valid message that its sender's roles allow.  *raw may be taken by setting
 * it to NULL. */
typedef void clients_fn(void *ctx, const clients_caller *from,
                        const client_message *m, uint8_t **raw, size_t raw_len);

/* Binds; fails as zsocket_router().  Borrows z, l and d. */
status clients_open(clients **out, zcontext *z, loop *l, const char *endpoint,
                    const door *d) MUST_USE;
/* Gives what was told up to `timeout_ms` to leave. */
void clients_close(clients *c, int timeout_ms);
/* From now on `fn` is called, by the loop. */
status clients_listen(clients *c, clients_fn *fn, void *ctx) MUST_USE;
const char *clients_endpoint(const clients *c);

/* Copies.  What cannot be told is refused in its place. */
void clients_tell(clients *c, const zsocket_peer *client,
                  const client_message *m);
/* The next client that left or does not read; false: none. */
bool clients_take_gone(clients *c, zsocket_peer *client, const char **why);

#endif
