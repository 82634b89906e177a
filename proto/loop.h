/* SPDX-License-Identifier: Apache-2.0 */
/* The event loop of one thread: sockets, descriptors, timers.
 *
 * Wraps the reactor.  Callbacks run on the loop's thread, one at a time, and
 * must not block.  The longest turn is measured. */
#ifndef PROTO_LOOP_H
#define PROTO_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "proto/socket.h"

typedef struct loop loop;

/* Receives until the socket is empty, bounded per turn.  True: there is more to
 * do than what the socket knows of; it is called again in the next turn, which
 * does not wait. */
typedef bool loop_socket_fn(void *ctx, zsocket *s);
typedef void loop_fd_fn(void *ctx, int fd);
typedef void loop_timer_fn(void *ctx);

status loop_new(loop **out) MUST_USE;
void loop_free(loop *l);

status loop_add_socket(loop *l, zsocket *s, loop_socket_fn *fn,
                       void *ctx) MUST_USE;
void loop_remove_socket(loop *l, zsocket *s);
status loop_add_fd(loop *l, int fd, loop_fd_fn *fn, void *ctx) MUST_USE;
/* Calls fn every `ms`; *id is for loop_remove_timer(). */
status loop_add_timer(loop *l, uint32_t ms, loop_timer_fn *fn, void *ctx,
                      int *id) MUST_USE;
void loop_remove_timer(loop *l, int id);

/* Runs until loop_stop(), called from a callback. */
status loop_run(loop *l) MUST_USE;
void loop_stop(loop *l);

/* Longest time between two waits so far, milliseconds. */
double loop_longest_turn_ms(const loop *l);

#endif
