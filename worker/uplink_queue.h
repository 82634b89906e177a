/* SPDX-License-Identifier: Apache-2.0 */
/* A bounded queue of frames between two threads; the lock is the caller's.
 *
 * Bounded in messages and in bytes of their second frames. */
#ifndef WORKER_UPLINK_QUEUE_H
#define WORKER_UPLINK_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { UPLINK_QUEUE_LEN = 256, UPLINK_QUEUE_BYTES = 32 << 20 };

typedef struct uplink_queue {
    void *item[UPLINK_QUEUE_LEN];
    size_t bytes_of[UPLINK_QUEUE_LEN];
    uint32_t first, n;
    size_t bytes;
} uplink_queue;

/* Whether an item of so many bytes fits; an empty queue takes any. */
bool uplink_queue_fits(const uplink_queue *q, size_t bytes);
void uplink_queue_push(uplink_queue *q, void *item, size_t bytes);
/* NULL: empty. */
void *uplink_queue_peek(const uplink_queue *q);
void *uplink_queue_pop(uplink_queue *q);

#endif
