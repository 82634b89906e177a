/* SPDX-License-Identifier: Apache-2.0 */
/* A queue a peer that has something waiting, and these in a queue. */
#include "daemon/inbox.h"

#include <stdint.h>
#include <string.h>

#include "base/mem.h"

enum { LISTS = 256 };

typedef struct waiting {
    struct waiting *next;
    zsocket_message frame;
} waiting;

typedef struct queue {
    struct queue *next;      /* whose turn comes after its */
    struct queue *next_same; /* of the peers of one list */
    waiting *first, *last;   /* at least one */
} queue;

struct inbox {
    size_t max_messages, max_bytes;
    size_t n, bytes;
    queue *first, *last;
    queue *list[LISTS];
};

status
inbox_new(inbox **out, size_t max_messages, size_t max_bytes)
{
    status st;

    TRY(mem_new(out, 1, sizeof(**out)));
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

/* FNV-1a: peers' names are mostly numbers that follow each other. */
static queue **
list_of(inbox *b, const zsocket_peer *peer)
{
    uint32_t h = UINT32_C(0x811c9dc5);

    for (size_t i = 0; i < peer->len; i++)
        h = (h ^ peer->id[i]) * UINT32_C(0x01000193);
    return &b->list[(h ^ h >> 16) % LISTS];
}

static bool
is_of(const queue *q, const zsocket_peer *peer)
{
    const zsocket_peer *of = &q->first->frame.peer;

    return of->len == peer->len && memcmp(of->id, peer->id, peer->len) == 0;
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
new_queue(inbox *b, queue **list, waiting *w)
{
    queue *q;
    status st;

    TRY(mem_new(&q, 1, sizeof(*q)));
    q->first = q->last = w;
    q->next_same = *list;
    *list = q;
    to_the_end(b, q);
fail:
    return st;
}

status
inbox_put(inbox *b, zsocket_message *frame)
{
    queue **list = list_of(b, &frame->peer);
    queue *q = *list;
    waiting *w = NULL;
    status st;

    while (q && !is_of(q, &frame->peer))
        q = q->next_same;
    TRY(mem_new(&w, 1, sizeof(*w)));
    w->frame = *frame;
    if (q)
        q->last = q->last->next = w;
    else
        TRY(new_queue(b, list, w));
    b->n++;
    b->bytes += cost(w);
    *frame = (zsocket_message){.raw = NULL};
    return ST_OK;
fail:
    mem_free(w);
    return st;
}

static void
drop_queue(inbox *b, queue *q, const zsocket_peer *peer)
{
    queue **at = list_of(b, peer);

    while (*at != q)
        at = &(*at)->next_same;
    *at = q->next_same;
    mem_free(q);
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
    if (q->first)
        to_the_end(b, q);
    else
        drop_queue(b, q, &w->frame.peer);
    b->n--;
    b->bytes -= cost(w);
    *out = w->frame;
    mem_free(w);
    return true;
}
