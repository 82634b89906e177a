/* SPDX-License-Identifier: Apache-2.0 */
/* Frames that came in and wait for their turn: each peer in order, and all
 * peers by turns, so that one who sends much delays nobody.
 *
 * Bounded in messages and bytes: what does not fit stays in the socket, whose
 * queues are bounded, too.  Loop thread. */
#ifndef DAEMON_INBOX_H
#define DAEMON_INBOX_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"
#include "proto/socket.h"

typedef struct inbox inbox;

/* The last message that is taken in may go beyond `max_bytes`. */
status inbox_new(inbox **out, size_t max_messages, size_t max_bytes) MUST_USE;
void inbox_free(inbox *b);
bool inbox_has_room(const inbox *b);
bool inbox_is_empty(const inbox *b);
/* Takes what *frame owns, and zeroes it; on ST_NOMEM it stays. */
status inbox_put(inbox *b, zsocket_message *frame) MUST_USE;
/* The next one, which is the caller's then; false: there is none. */
bool inbox_take(inbox *b, zsocket_message *out);

#endif
