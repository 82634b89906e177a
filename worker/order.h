/* SPDX-License-Identifier: Apache-2.0 */
/* The channel of commands: from the lead to every other rank.
 *
 * Internal to the world.  Commands of one rank come in order.  A rank always
 * takes its next command, whatever it waits for otherwise. */
#ifndef WORKER_ORDER_H
#define WORKER_ORDER_H

#include "worker/comm.h"
#include "worker/world_wire.h"

/* ---- the lead's end ---- */
typedef struct order_out order_out;
typedef struct order_out_config {
    uint32_t n_rank;
    uint32_t n_queue;   /* commands not yet sent, a rank, at most */
    uint32_t n_segment; /* of these with ids, at most */
    uint32_t max_token; /* of a segment */
} order_out_config;
status order_out_new(order_out **out, comm *c,
                     const order_out_config *cfg) MUST_USE;
void order_out_free(order_out *o);
/* Sends a command to `rank`.  The ids of a segment are copied; other data
 * stays untouched until the stream is closed. */
status order_send(order_out *o, uint32_t rank, const command *cmd,
                  const void *data) MUST_USE;
/* Gives back what has been sent; *n_left: commands on their way. */
status order_push(order_out *o, uint32_t *n_left) MUST_USE;

/* ---- a rank's end ---- */
typedef struct order_in order_in;
status order_in_new(order_in **out, comm *c, size_t max_data) MUST_USE;
void order_in_free(order_in *in);
/* *cmd NULL: none has come.  It and its data stay until order_next(). */
status order_poll(order_in *in, const command **cmd,
                  const void **data) MUST_USE;
status order_next(order_in *in) MUST_USE;

#endif
