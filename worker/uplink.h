/* SPDX-License-Identifier: Apache-2.0 */
/* The lead's line to the daemon: a thread that owns the ZeroMQ socket.
 *
 * It joins (Hello, Welcome), keeps up heartbeats, and hands messages over in
 * both directions, so that control is never deaf behind a group.  Both queues
 * are bounded in messages and bytes; while the one inwards is full, nothing is
 * read from the socket.  All functions here are for the main thread.
 *
 * After a silence the thread says Hello again on the same socket; a daemon
 * that welcomes it anew gives another incarnation, and all jobs of the old one
 * are void. */
#ifndef WORKER_UPLINK_H
#define WORKER_UPLINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "proto/keyfile.h"
#include "proto/world_message.h"
#include "worker/watch.h"

typedef struct uplink uplink;

typedef struct uplink_config {
    const char *endpoint;
    const keyfile *key; /* by TCP: who we are, and the daemon's; or NULL */
    const world_hello *hello;    /* borrowed until uplink_close() */
    uint32_t connect_timeout_ms; /* until the first Welcome */
    uint32_t gone_ms;            /* silence after which the daemon is gone */
} uplink_config;

typedef enum uplink_state {
    UPLINK_CONNECTING = 0,
    UPLINK_JOINED,
    UPLINK_STOPPED, /* the daemon wants the world to end */
    UPLINK_REFUSED, /* the daemon does not want this world */
    UPLINK_GONE     /* nothing was heard in time, or the socket failed */
} uplink_state;

typedef struct uplink_message {
    world_message m;
    uint8_t *raw; /* NULL: none */
    size_t raw_len;
} uplink_message;
void uplink_message_fini(uplink_message *m);

/* Starts the thread; ST_ARG: not an endpoint that can be reached. */
status uplink_open(uplink **out, const uplink_config *cfg) MUST_USE;
/* Lets what was sent leave (a second at most) and ends the thread.  Once the
 * daemon is gone the thread waits for this as long as it was silent, and then
 * kills the process: a world that hangs must not stay behind. */
void uplink_close(uplink *u);

/* ST_OK while connecting or joined, and when stopped; otherwise the reason:
 * ST_ARG for a refusal (exit status 2), ST_TIMEOUT or ST_IO when gone. */
status uplink_check(uplink *u, uplink_state *state) MUST_USE;

/* The next message of the daemon for this incarnation: BEGIN, SEGMENT_IDS,
 * SNAPSHOT, CANCEL, and WELCOME, after which all earlier jobs are void.  False:
 * none. */
bool uplink_receive(uplink *u, uplink_message *out);
/* Queues a message; the incarnation is filled in.  ST_TIMEOUT: the queue is
 * full, try again later.  Everything is copied. */
status uplink_send(uplink *u, const world_message *m, const void *raw,
                   size_t raw_len) MUST_USE;
/* What the next heartbeats tell. */
void uplink_load(uplink *u, double tokens_per_second, uint32_t streams_busy);
void uplink_hops(uplink *u, double seconds, double hidden_seconds);
/* How far the world is, and whether steps are expected of it: the thread tells
 * the daemon when none is made for long, or when this is not called. */
void uplink_steps(uplink *u, uint64_t steps, bool due);
/* Of the world's replicas, each by itself: the worst stall, and for how long a
 * rank without work has not answered. */
void uplink_replicas(uplink *u, const watch_stall *stall, uint64_t silent_ns);
/* Sleeps up to `us` microseconds, until there is something to receive. */
void uplink_wait(uplink *u, uint32_t us);

#endif
