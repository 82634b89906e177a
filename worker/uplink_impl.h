/* SPDX-License-Identifier: Apache-2.0 */
/* Inside uplink: what its files share.  Not for anybody else.
 *
 *   uplink.c         the main thread's side
 *   uplink_thread.c  the thread that owns the socket */
#ifndef WORKER_UPLINK_IMPL_H
#define WORKER_UPLINK_IMPL_H

#include <pthread.h>
#include <stdatomic.h>

#include "proto/socket.h"
#include "worker/uplink.h"
#include "worker/uplink_queue.h"

/* A message on its way out, encoded. */
typedef struct uplink_packet {
    uint8_t *control, *raw;
    size_t control_len, raw_len;
} uplink_packet;

struct uplink {
    uplink_config cfg;
    zcontext *z;
    int wake_thread, wake_main; /* eventfds */
    pthread_t thread;
    bool started;

    pthread_mutex_t lock; /* of everything down to the next comment */
    uplink_queue in;      /* uplink_message */
    uplink_queue out;     /* uplink_packet */
    uplink_state state;
    status why;
    char text[512];
    uint64_t incarnation;
    world_message beat;
    watch_stall stall; /* see uplink_replicas() */
    uint64_t silent_ns;
    bool closing;

    _Atomic uint64_t steps; /* of the world */
    atomic_bool due;        /* steps are expected */

    /* the thread's own */
    zsocket *socket;
    uint64_t start_ns, heard_ns, beat_ns;
    uint64_t beat_every_ns, silence_ns;
    bool hello_again; /* said since the daemon was heard last */
    watch loop;       /* of the main thread */
};

void uplink_packet_free(uplink_packet *p); /* NULL is fine */

/* An eventfd wakes a thread: rings it, and takes the ringing back. */
void uplink_ring(int fd);
void uplink_hush(int fd);

/* The thread's function; ctx is the uplink. */
void *uplink_thread_run(void *ctx);

#endif
