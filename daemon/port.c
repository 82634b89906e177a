/* SPDX-License-Identifier: Apache-2.0 */
/* A listening socket on the loop. */
#include "daemon/port.h"

#include <string.h>

static void
readable(void *ctx, zsocket *s)
{
    port *p = ctx;
    size_t bytes = 0;

    for (int n = 0;
         n < p->limits->turn_messages && bytes < p->limits->turn_bytes; n++) {
        zsocket_message frame = {0};
        status st = zsocket_recv(s, &frame, 0);

        if (st == ST_WIRE)
            continue; /* another shape of message: dropped */
        if (st != ST_OK)
            return;
        bytes += frame.control_len + frame.raw_len;
        p->fn(p->ctx, &frame);
        zsocket_message_fini(&frame);
    }
}

status
port_init(port *p, zcontext *z, loop *l, const char *endpoint,
          const zsocket_guard *guard, const port_limits *limits)
{
    status st;

    memset(p, 0, sizeof(*p));
    p->l = l;
    p->limits = limits;
    TRY(zsocket_router(&p->socket, z, endpoint, guard, limits->frame_bytes));
    TRY(outbox_new(&p->out, p->socket, l, limits->outbox_bytes));
    return ST_OK;
fail:
    port_fini(p, 0);
    return st;
}

void
port_fini(port *p, int timeout_ms)
{
    outbox_free(p->out);
    if (p->socket != NULL) {
        loop_remove_socket(p->l, p->socket);
        zsocket_flush_close(p->socket, timeout_ms);
    }
    memset(p, 0, sizeof(*p));
}

status
port_listen(port *p, port_frame_fn *fn, void *ctx)
{
    p->fn = fn;
    p->ctx = ctx;
    return loop_add_socket(p->l, p->socket, readable, p);
}
