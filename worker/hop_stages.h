/* SPDX-License-Identifier: Apache-2.0 */
/* Stages: host memory that hops of one direction pass through, where MPI and
 * the device cannot reach each other's.
 *
 * Internal to the hop.  The queue that computes makes the copies, in its order,
 * and nothing here waits for them: a stage that is filled from a place says
 * when it is full, one that is drained into a place is free by itself once it
 * is empty.  Without a queue, stages are plain memory for the host alone. */
#ifndef WORKER_HOP_STAGES_H
#define WORKER_HOP_STAGES_H

#include "worker/engine.h"

typedef struct hop_stage hop_stage;

typedef struct hop_stages {
    kernel_queue *queue; /* or NULL */
    void *data;          /* [n][room] */
    size_t room;         /* bytes of a stage */
    uint32_t n;
    hop_stage *stage; /* [n] */
    uint64_t n_drain; /* so far */
} hop_stages;

/* Zeroed stages may be given to fini(). */
status hop_stages_init(hop_stages *s, kernel_queue *queue, uint32_t n,
                       size_t room) MUST_USE;
/* Waits for copies under way. */
void hop_stages_fini(hop_stages *s);

/* *i: a stage that is free; -1: there is none.  Asks the device, never blocks:
 * its failure shows here. */
status hop_stages_find(hop_stages *s, int *i) MUST_USE;
void hop_stages_take(hop_stages *s, int i);
void hop_stages_give(hop_stages *s, int i);
uint8_t *hop_stages_data(const hop_stages *s, int i);

/* Enqueue-only: the bytes of a place into the stage.  What is enqueued behind
 * it may write the place. */
status hop_stages_fill(hop_stages *s, int i, const engine_place *from) MUST_USE;
/* Whether they are there; never blocks. */
status hop_stages_filled(const hop_stages *s, int i, bool *filled) MUST_USE;
/* Enqueue-only: the stage into a place; what is enqueued behind it finds the
 * bytes there.  The stage is given back, and free when they are. */
status hop_stages_drain(hop_stages *s, int i, const engine_place *to) MUST_USE;

#endif
