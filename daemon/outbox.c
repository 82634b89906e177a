/* SPDX-License-Identifier: Apache-2.0 */
/* Messages that found their peer's queue full wait here and are tried again by
 * a timer, which runs only while there are any. */
#include "daemon/outbox.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

enum { RETRY_MS = 2, MAX_GONE = 64, MAX_A_TURN = 64 };

typedef struct waiting {
    struct waiting *next;
    uint8_t *control, *raw;
    size_t control_len, raw_len;
} waiting;

typedef struct queue {
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
    queue *queue;
    size_t n_queue;
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
drop_queue(outbox *o, size_t i)
{
    while (o->queue[i].first) {
        waiting *next = o->queue[i].first->next;

        waiting_free(o->queue[i].first);
        o->queue[i].first = next;
    }
    o->queue[i] = o->queue[--o->n_queue];
}

void
outbox_free(outbox *o)
{
    if (!o)
        return;
    while (o->n_queue > 0)
        drop_queue(o, 0);
    if (o->timing)
        loop_remove_timer(o->l, o->timer);
    mem_free(o->queue);
    mem_free(o);
}

static queue *
find(const outbox *o, const zsocket_peer *peer)
{
    for (size_t i = 0; i < o->n_queue; i++)
        if (o->queue[i].peer.len == peer->len &&
            memcmp(o->queue[i].peer.id, peer->id, peer->len) == 0)
            return &o->queue[i];
    return NULL;
}

/* Beyond the list's end a leaver is noticed again at the next message. */
static void
gone(outbox *o, const zsocket_peer *peer, const char *why)
{
    queue *q = find(o, peer);

    if (q)
        drop_queue(o, (size_t)(q - o->queue));
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

/* True: the queue is no more. */
static bool
retry_queue(outbox *o, size_t i)
{
    zsocket_peer peer = o->queue[i].peer;
    status st = ST_OK;

    for (int n = 0; n < MAX_A_TURN && st == ST_OK && o->queue[i].first; n++)
        st = send_first(o, &o->queue[i]);
    if (st == ST_OK && !o->queue[i].first) {
        drop_queue(o, i);
        if (o->fn)
            o->fn(o->ctx, &peer);
        return true;
    }
    if (st == ST_TIMEOUT && clock_ns() - o->queue[i].since_ns > o->max_ns)
        hang_up(o, &peer);
    else if (st != ST_OK && st != ST_TIMEOUT)
        gone(o, &peer, "it left");
    else
        return false;
    return true;
}

static void
retry(void *ctx)
{
    outbox *o = ctx;

    for (size_t i = o->n_queue; i > 0; i--)
        if (i <= o->n_queue)
            (void)retry_queue(o, i - 1);
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
    status st;

    TRY(start_timer(o));
    TRY(mem_resize(&o->queue, o->n_queue + 1, sizeof(*o->queue)));
    o->queue[o->n_queue] = (queue){.peer = *peer, .since_ns = clock_ns()};
    *out = &o->queue[o->n_queue++];
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
