/* SPDX-License-Identifier: Apache-2.0 */
/* A queue a peer that has something waiting, and these in a queue. */
#include "daemon/inbox.h"

#include <string.h>

#include "base/mem.h"
#include "base/table.h"

typedef struct waiting {
    struct waiting *next;
    zsocket_message frame;
} waiting;

typedef struct queue {
    struct queue *next; /* whose turn comes after its */
    table_link by_peer;
    waiting *first, *last; /* at least one */
} queue;

struct inbox {
    size_t max_messages, max_bytes;
    size_t n, bytes;
    queue *first, *last;
    table by_peer;
};

status
inbox_new(inbox **out, size_t max_messages, size_t max_bytes)
{
    status st;

    TRY(mem_new(out, 1, sizeof(**out)));
    table_init(&(*out)->by_peer);
    (*out)->max_messages = max_messages;
    (*out)->max_bytes = max_bytes;
fail:
    return st;
}

void
inbox_free(inbox *b)
{
    zsocket_message frame;

    if (!b)
        return;
    while (inbox_take(b, &frame))
        zsocket_message_fini(&frame);
    table_fini(&b->by_peer);
    mem_free(b);
}

bool
inbox_has_room(const inbox *b)
{
    return b->n < b->max_messages && b->bytes < b->max_bytes;
}

bool
inbox_is_empty(const inbox *b)
{
    return b->n == 0;
}

static bool
is_of(const queue *q, const zsocket_peer *peer)
{
    const zsocket_peer *of = &q->first->frame.peer;

    return of->len == peer->len && memcmp(of->id, peer->id, peer->len) == 0;
}

/* NULL: nothing of the peer waits. */
static queue *
queue_of(const inbox *b, const zsocket_peer *peer, uint64_t h)
{
    table_link *l = table_find(&b->by_peer, h);

    while (l && !is_of(TABLE_OF(queue, by_peer, l), peer))
        l = table_next(l);
    return l ? TABLE_OF(queue, by_peer, l) : NULL;
}

static size_t
cost(const waiting *w)
{
    return sizeof(*w) + w->frame.control_len + w->frame.raw_len;
}

static void
to_the_end(inbox *b, queue *q)
{
    q->next = NULL;
    if (b->last)
        b->last->next = q;
    else
        b->first = q;
    b->last = q;
}

static status
new_queue(inbox *b, uint64_t h, waiting *w)
{
    queue *q;
    status st;

    TRY(mem_new(&q, 1, sizeof(*q)));
    q->first = q->last = w;
    table_put(&b->by_peer, &q->by_peer, h);
    to_the_end(b, q);
fail:
    return st;
}

status
inbox_put(inbox *b, zsocket_message *frame)
{
    uint64_t h = table_hash(&b->by_peer, frame->peer.id, frame->peer.len);
    queue *q = queue_of(b, &frame->peer, h);
    waiting *w = NULL;
    status st;

    TRY(mem_new(&w, 1, sizeof(*w)));
    w->frame = *frame;
    if (q)
        q->last = q->last->next = w;
    else
        TRY(new_queue(b, h, w));
    b->n++;
    b->bytes += cost(w);
    *frame = (zsocket_message){.raw = NULL};
    return ST_OK;
fail:
    mem_free(w);
    return st;
}

bool
inbox_take(inbox *b, zsocket_message *out)
{
    queue *q = b->first;
    waiting *w;

    if (!q)
        return false;
    b->first = q->next;
    if (!b->first)
        b->last = NULL;
    w = q->first;
    q->first = w->next;
    if (q->first) {
        to_the_end(b, q);
    } else {
        table_take(&b->by_peer, &q->by_peer);
        mem_free(q);
    }
    b->n--;
    b->bytes -= cost(w);
    *out = w->frame;
    mem_free(w);
    return true;
}
