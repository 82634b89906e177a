/* SPDX-License-Identifier: Apache-2.0 */
/* The socket that worlds talk to, and the feeds of the jobs they run.
 *
 * Loop thread.  Malformed messages are logged and go no further. */
#ifndef DAEMON_WORLDS_H
#define DAEMON_WORLDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "daemon/door.h"
#include "daemon/outbox.h"
#include "proto/loop.h"
#include "proto/socket.h"
#include "proto/world_message.h"

typedef struct worlds worlds;

/* A valid message.  *raw may be taken by setting it to NULL. */
typedef void worlds_fn(void *ctx, const zsocket_peer *world,
                       const world_message *m, uint8_t **raw, size_t raw_len);

/* Binds; fails as zsocket_router().  Borrows z, l and d. */
status worlds_open(worlds **out, zcontext *z, loop *l, const char *endpoint,
                   const door *d) MUST_USE;
/* Gives what was told up to `timeout_ms` to leave. */
void worlds_close(worlds *w, int timeout_ms);
/* From now on `fn` is called, by the loop. */
status worlds_listen(worlds *w, worlds_fn *fn, void *ctx) MUST_USE;
const char *worlds_endpoint(const worlds *w);
outbox *worlds_outbox(worlds *w); /* for feeds */

/* Copies.  `raw` NULL: one frame.  What cannot be told loses the world, which
 * worlds_take_gone() tells then. */
void worlds_tell(worlds *w, const zsocket_peer *world, const world_message *m,
                 const void *raw, size_t raw_len);
/* The next world that left or does not read; false: none. */
bool worlds_take_gone(worlds *w, zsocket_peer *world, const char **why);

#endif
