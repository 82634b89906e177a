/* SPDX-License-Identifier: Apache-2.0 */
/* A device whose copies are made when a test says so, and an MPI whose messages
 * are taken and come when it says so: one rank's hops between them. */
#ifndef TESTS_WORKER_HOP_RIG_H
#define TESTS_WORKER_HOP_RIG_H

#include "kernels/device.h"
#include "tests/expect.h"
#include "worker/hop.h"

enum {
    HOP_RIG_BYTES = 96,
    HOP_RIG_PLACE = 6,
    HOP_RIG_STREAM = 3,
    HOP_RIG_QUEUE = 8,
    HOP_RIG_MOST = 64
};

/* A message that MPI has, or waits for. */
typedef struct hop_rig_message {
    int tag;
    uint8_t *data;
    size_t len;
    bool done;
} hop_rig_message;

struct comm {
    hop_rig_message sent[HOP_RIG_MOST], posted[HOP_RIG_MOST];
    uint32_t n_sent, n_posted;
};

typedef struct hop_rig_buf {
    kernel_buf base;
    uint8_t bytes[HOP_RIG_BYTES];
} hop_rig_buf;

typedef struct hop_rig {
    kernel_device dev;
    kernel_queue queue;
    device_copy copy[HOP_RIG_MOST]; /* in order */
    uint32_t n_put, n_done;
    status copy_fails, query_fails, host_fails;
    hop_rig_buf place[HOP_RIG_PLACE];
    comm mpi;
    hop *h;
    uint32_t n_back; /* places given back */
    hop_verdict verdict[HOP_RIG_STREAM];
    uint32_t n_given; /* places, in turn */
} hop_rig;

/* With n_stage stages each way; ends with what hop_new() says. */
status hop_rig_open(hop_rig *r, uint32_t n_stage) MUST_USE;
void hop_rig_close(hop_rig *r);

/* The device makes its next n copies, or all. */
void hop_rig_copy(hop_rig *r, uint32_t n);
/* Every byte of a place, by the queue's order: as a group would write it. */
void hop_rig_write(hop_rig *r, uint32_t place, const uint8_t *bytes);
void hop_rig_fill(hop_rig *r, uint32_t place, uint8_t value); /* at once */
bool hop_rig_holds(const hop_rig *r, uint32_t place, uint8_t value);

/* Queues place `place` as a hop of a stream. */
void hop_rig_send(hop_rig *r, uint32_t stream, uint32_t place);
/* MPI takes message i, whose bytes are all `value`. */
void hop_rig_take(hop_rig *r, uint32_t i, uint8_t value);

/* A header comes. */
void hop_rig_head(hop_rig *r, uint32_t stream);
/* The payload of a stream comes, if it is waited for: where to, else NULL. */
const uint8_t *hop_rig_data(hop_rig *r, uint32_t stream, uint8_t value);
/* Payloads that were waited for so far. */
uint32_t hop_rig_posted(const hop_rig *r);

#endif
