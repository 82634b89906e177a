/* SPDX-License-Identifier: Apache-2.0 */
/* What waits to be sent on a ROUTER: a bounded queue for each peer that does
 * not take its messages as fast as they come.
 *
 * A peer that left, or that is too slow, is reported once by
 * outbox_take_gone(); what was meant for it is dropped.  Loop thread. */
#ifndef DAEMON_OUTBOX_H
#define DAEMON_OUTBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "proto/loop.h"
#include "proto/socket.h"

typedef struct outbox outbox;

/* Called when everything that waited for `peer` has left. */
typedef void outbox_drained_fn(void *ctx, const zsocket_peer *peer);

/* At most `max_bytes` wait for one peer, and none of it for longer than
 * `max_ms` in which the peer takes nothing (0: however long); then it is hung
 * up on.  Borrows socket and loop. */
status outbox_new(outbox **out, zsocket *s, loop *l, size_t max_bytes,
                  uint32_t max_ms) MUST_USE;
void outbox_free(outbox *o);
void outbox_on_drained(outbox *o, outbox_drained_fn *fn, void *ctx);

/* Copies the frames.  `raw` NULL: one frame. */
void outbox_send(outbox *o, const zsocket_peer *peer, const void *control,
                 size_t control_len, const void *raw, size_t raw_len);
/* Nothing waits for the peer: a large message may be sent. */
bool outbox_is_empty(const outbox *o, const zsocket_peer *peer);
/* Something for the peer, or of it, is lost: it has gone as far as we are
 * concerned. */
void outbox_give_up(outbox *o, const zsocket_peer *peer, const char *why);
/* False: nobody more has gone. */
bool outbox_take_gone(outbox *o, zsocket_peer *peer, const char **why);

#endif
