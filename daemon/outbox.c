/* SPDX-License-Identifier: Apache-2.0 */
/* Messages that found their peer's queue full wait here and are tried again by
 * a timer, which runs only while there are any. */
#include "daemon/outbox.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/table.h"

enum { RETRY_MS = 2, MAX_GONE = 64, MAX_A_TURN = 64 };

typedef struct waiting {
    struct waiting *next;
    uint8_t *control, *raw;
    size_t control_len, raw_len;
} waiting;

typedef struct queue {
    table_link link; /* by its peer */
    size_t place;    /* in outbox.queue */
    zsocket_peer peer;
    waiting *first, *last;
    size_t bytes;
    uint64_t since_ns; /* it has taken nothing */
} queue;

typedef struct leaver {
    zsocket_peer peer;
    const char *why;
} leaver;

struct outbox {
    zsocket *socket;
    loop *l;
    size_t max_bytes;
    uint64_t max_ns;
    queue **queue;
    size_t n_queue;
    table by_peer;
    leaver gone[MAX_GONE];
    size_t n_gone;
    int timer;
    bool timing;
    outbox_drained_fn *fn;
    void *ctx;
};

status
outbox_new(outbox **out, zsocket *s, loop *l, size_t max_bytes, uint32_t max_ms)
{
    outbox *o = NULL;
    status st;

    TRY(mem_new(&o, 1, sizeof(*o)));
    table_init(&o->by_peer);
    o->socket = s;
    o->l = l;
    o->max_bytes = max_bytes;
    o->max_ns = max_ms ? (uint64_t)max_ms * 1000000 : UINT64_MAX;
    *out = o;
fail:
    return st;
}

void
outbox_on_drained(outbox *o, outbox_drained_fn *fn, void *ctx)
{
    o->fn = fn;
    o->ctx = ctx;
}

static void
waiting_free(waiting *w)
{
    mem_free(w->control);
    mem_free(w->raw);
    mem_free(w);
}

static void
drop_queue(outbox *o, queue *q)
{
    while (q->first) {
        waiting *next = q->first->next;

        waiting_free(q->first);
        q->first = next;
    }
    table_take(&o->by_peer, &q->link);
    o->queue[q->place] = o->queue[--o->n_queue];
    o->queue[q->place]->place = q->place;
    mem_free(q);
}

void
outbox_free(outbox *o)
{
    if (!o)
        return;
    while (o->n_queue > 0)
        drop_queue(o, o->queue[0]);
    if (o->timing)
        loop_remove_timer(o->l, o->timer);
    table_fini(&o->by_peer);
    mem_free(o->queue);
    mem_free(o);
}

static uint64_t
hash_of(const outbox *o, const zsocket_peer *peer)
{
    return table_hash(&o->by_peer, peer->id, peer->len);
}

static queue *
find(const outbox *o, const zsocket_peer *peer)
{
    table_link *l = table_find(&o->by_peer, hash_of(o, peer));

    for (; l; l = table_next(l)) {
        queue *q = TABLE_OF(queue, link, l);

        if (q->peer.len == peer->len &&
            memcmp(q->peer.id, peer->id, peer->len) == 0)
            return q;
    }
    return NULL;
}

/* Beyond the list's end a leaver is noticed again at the next message. */
static void
gone(outbox *o, const zsocket_peer *peer, const char *why)
{
    queue *q = find(o, peer);

    if (q)
        drop_queue(o, q);
    for (size_t i = 0; i < o->n_gone; i++)
        if (o->gone[i].peer.len == peer->len &&
            memcmp(o->gone[i].peer.id, peer->id, peer->len) == 0)
            return;
    if (o->n_gone < MAX_GONE)
        o->gone[o->n_gone++] = (leaver){.peer = *peer, .why = why};
}

/* What it was sent is in buffers on the way, which go with the connection. */
static void
hang_up(outbox *o, const zsocket_peer *peer)
{
    if (zsocket_hang_up(o->socket, peer))
        log_warn("a peer that does not take its messages is hung up on");
    gone(o, peer, "it does not take its messages");
}

/* ------------------------------------------------------------- trying again
 * --- */

/* With what the allocator and the list add: many small messages count too. */
static size_t
cost(const waiting *w)
{
    return w->control_len + w->raw_len + sizeof(*w) + 64;
}

/* ST_TIMEOUT: not yet. */
static status
send_first(outbox *o, queue *q)
{
    waiting *w = q->first;
    status st = zsocket_send(o->socket, &q->peer, w->control, w->control_len,
                             w->raw, w->raw_len);

    if (st != ST_OK)
        return st;
    q->first = w->next;
    if (!q->first)
        q->last = NULL;
    q->bytes -= cost(w);
    q->since_ns = clock_ns();
    waiting_free(w);
    return ST_OK;
}

/* Which may be no more afterwards. */
static void
retry_queue(outbox *o, queue *q)
{
    zsocket_peer peer = q->peer;
    status st = ST_OK;

    for (int n = 0; n < MAX_A_TURN && st == ST_OK && q->first; n++)
        st = send_first(o, q);
    if (st == ST_OK && !q->first) {
        drop_queue(o, q);
        if (o->fn)
            o->fn(o->ctx, &peer);
    } else if (st == ST_TIMEOUT) {
        if (clock_ns() - q->since_ns > o->max_ns)
            hang_up(o, &peer);
    } else if (st != ST_OK) {
        gone(o, &peer, "it left");
    }
}

static void
retry(void *ctx)
{
    outbox *o = ctx;

    for (size_t i = o->n_queue; i > 0; i--)
        if (i <= o->n_queue)
            retry_queue(o, o->queue[i - 1]);
    if (o->n_queue == 0) {
        loop_remove_timer(o->l, o->timer);
        o->timing = false;
    }
}

static status
start_timer(outbox *o)
{
    status st = ST_OK;

    if (o->timing)
        return ST_OK;
    TRY(loop_add_timer(o->l, RETRY_MS, retry, o, &o->timer));
    o->timing = true;
fail:
    return st;
}

/* ------------------------------------------------------------------ sending
 * --- */

static status
copy(uint8_t **out, const void *data, size_t len)
{
    status st;

    TRY(mem_new(out, len, 1));
    memcpy(*out, data, len);
fail:
    return st;
}

static status
new_queue(outbox *o, queue **out, const zsocket_peer *peer)
{
    queue *q = NULL;
    status st;

    TRY(start_timer(o));
    TRY(mem_resize(&o->queue, o->n_queue + 1, sizeof(*o->queue)));
    TRY(mem_new(&q, 1, sizeof(*q)));
    q->peer = *peer;
    q->since_ns = clock_ns();
    q->place = o->n_queue;
    o->queue[o->n_queue++] = q;
    table_put(&o->by_peer, &q->link, hash_of(o, peer));
    *out = q;
fail:
    return st;
}

static status
enqueue(outbox *o, const zsocket_peer *peer, const waiting *frames)
{
    queue *q = find(o, peer);
    size_t bytes = cost(frames);
    waiting *w = NULL;
    status st;

    if (!q)
        TRY(new_queue(o, &q, peer));
    if (bytes > o->max_bytes - q->bytes)
        return status_fail(ST_LIMIT, "a peer takes no messages");
    TRY(mem_new(&w, 1, sizeof(*w)));
    w->control_len = frames->control_len;
    w->raw_len = frames->raw_len;
    TRY(copy(&w->control, frames->control, frames->control_len));
    if (frames->raw)
        TRY(copy(&w->raw, frames->raw, frames->raw_len));
    if (q->last)
        q->last->next = w;
    else
        q->first = w;
    q->last = w;
    q->bytes += bytes;
    return ST_OK;
fail:
    if (w)
        waiting_free(w);
    return st;
}

void
outbox_send(outbox *o, const zsocket_peer *peer, const void *control,
            size_t control_len, const void *raw, size_t raw_len)
{
    waiting frames = {.control = (uint8_t *)(uintptr_t)control,
                      .control_len = control_len,
                      .raw = (uint8_t *)(uintptr_t)raw,
                      .raw_len = raw_len};
    status st = ST_TIMEOUT;

    if (!find(o, peer))
        st = zsocket_send(o->socket, peer, control, control_len, raw, raw_len);
    if (st == ST_TIMEOUT)
        st = enqueue(o, peer, &frames);
    if (st == ST_LIMIT || st == ST_NOMEM)
        hang_up(o, peer);
    else if (st != ST_OK)
        gone(o, peer, "it left");
}

bool
outbox_is_empty(const outbox *o, const zsocket_peer *peer)
{
    return !find(o, peer);
}

void
outbox_give_up(outbox *o, const zsocket_peer *peer, const char *why)
{
    gone(o, peer, why);
}

bool
outbox_take_gone(outbox *o, zsocket_peer *peer, const char **why)
{
    if (o->n_gone == 0)
        return false;
    o->n_gone--;
    *peer = o->gone[o->n_gone].peer;
    *why = o->gone[o->n_gone].why;
    return true;
}
