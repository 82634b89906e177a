/* SPDX-License-Identifier: Apache-2.0 */
/* A listening socket on the loop. */
#include "daemon/port.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"

enum { SWEEP_MS = 1000, ENDLESS_MS = 50 };

/* What comes in is looked at before it waits: some of it must not. */
static status
take_one(port *p)
{
    status st = ST_OK;

    if (!p->has_frame)
        TRY(zsocket_recv(p->socket, &p->frame, 0));
    p->has_frame = true;
    if (!p->at_once || !p->at_once(p->ctx, &p->frame))
        TRY(inbox_put(p->in, &p->frame));
    zsocket_message_fini(&p->frame);
    p->has_frame = false;
fail:
    return st;
}

/* False: there was no memory for one that is here; it waits. */
static bool
take_in(port *p)
{
    for (int n = 0; n < p->limits->take_messages && inbox_has_room(p->in);
         n++) {
        status st = take_one(p);

        if (st == ST_NOMEM)
            return false;
        if (st != ST_OK && st != ST_WIRE) /* another shape: dropped */
            break;
    }
    return true;
}

static bool
readable(void *ctx, zsocket *s)
{
    port *p = ctx;
    uint64_t start = clock_ns();
    size_t bytes = 0;
    zsocket_message frame;
    bool all = take_in(p);

    (void)s;
    for (int n = 0;
         n < p->limits->turn_messages && bytes < p->limits->turn_bytes &&
         clock_ns() - start < PORT_TURN_NS && inbox_take(p->in, &frame);
         n++) {
        bytes += frame.control_len + frame.raw_len;
        p->fn(p->ctx, &frame);
        zsocket_message_fini(&frame);
    }
    return !all || !inbox_is_empty(p->in);
}

/* Whoever comes in has something to say. */
static void
sweep(void *ctx)
{
    const port *p = ctx;
    size_t n = zsocket_hang_up_silent(p->socket, p->limits->silent_ms);

    if (n > 0)
        log_warn("%zu connection%s without a message in %.0f s: hung up", n,
                 n == 1 ? "" : "s", (double)p->limits->silent_ms / 1e3);
}

static void
sweep_endless(void *ctx)
{
    const port *p = ctx;
    size_t n = zsocket_hang_up_endless(p->socket);

    if (n > 0)
        log_warn("%zu connection%s whose message had no end: hung up", n,
                 n == 1 ? "" : "s");
}

status
port_init(port *p, zcontext *z, loop *l, const char *endpoint,
          const zsocket_guard *guard, const port_limits *limits)
{
    status st;

    memset(p, 0, sizeof(*p));
    p->l = l;
    p->limits = limits;
    TRY(inbox_new(&p->in, limits->inbox_messages, limits->inbox_bytes));
    TRY(zsocket_router(&p->socket, z, endpoint, guard, limits->frame_bytes));
    TRY(outbox_new(&p->out, p->socket, l, limits->outbox_bytes,
                   limits->outbox_ms));
    return ST_OK;
fail:
    port_fini(p, 0);
    return st;
}

void
port_fini(port *p, int timeout_ms)
{
    if (p->timing)
        loop_remove_timer(p->l, p->timer);
    if (p->counting)
        loop_remove_timer(p->l, p->count_timer);
    outbox_free(p->out);
    inbox_free(p->in);
    zsocket_message_fini(&p->frame);
    if (p->socket != NULL) {
        loop_remove_socket(p->l, p->socket);
        zsocket_flush_close(p->socket, timeout_ms);
    }
    memset(p, 0, sizeof(*p));
}

status
port_listen(port *p, port_frame_fn *fn, port_at_once_fn *at_once, void *ctx)
{
    status st;

    p->fn = fn;
    p->at_once = at_once;
    p->ctx = ctx;
    TRY(loop_add_socket(p->l, p->socket, readable, p));
    TRY(loop_add_timer(p->l, SWEEP_MS, sweep, p, &p->timer));
    p->timing = true;
    if (!zsocket_counts(p->socket))
        return ST_OK;
    TRY(loop_add_timer(p->l, ENDLESS_MS, sweep_endless, p, &p->count_timer));
    p->counting = true;
fail:
    return st;
}
