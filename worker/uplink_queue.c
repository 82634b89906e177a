/* SPDX-License-Identifier: Apache-2.0 */
/* A ring of items that counts their bytes. */
#include "worker/uplink_queue.h"

#include "base/status.h"

bool
uplink_queue_fits(const uplink_queue *q, size_t bytes)
{
    if (q->n == 0)
        return true;
    return q->n < UPLINK_QUEUE_LEN && q->bytes < UPLINK_QUEUE_BYTES &&
           bytes <= UPLINK_QUEUE_BYTES - q->bytes;
}

void
uplink_queue_push(uplink_queue *q, void *item, size_t bytes)
{
    ASSERT(q->n < UPLINK_QUEUE_LEN);
    uint32_t i = (q->first + q->n) % UPLINK_QUEUE_LEN;
    q->item[i] = item;
    q->bytes_of[i] = bytes;
    q->bytes += bytes;
    q->n++;
}

void *
uplink_queue_peek(const uplink_queue *q)
{
    return q->n == 0 ? NULL : q->item[q->first];
}

void *
uplink_queue_pop(uplink_queue *q)
{
    void *item = uplink_queue_peek(q);
    if (item == NULL)
        return NULL;
    q->bytes -= q->bytes_of[q->first];
    q->first = (q->first + 1) % UPLINK_QUEUE_LEN;
    q->n--;
    return item;
}
