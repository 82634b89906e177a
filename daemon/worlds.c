/* SPDX-License-Identifier: Apache-2.0 */
/* World messages between socket and core. */
#include "daemon/worlds.h"

#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"

enum {
    MAX_A_TURN = 64,            /* messages */
    MAX_BYTES_A_TURN = 4 << 20, /* a turn copies them once */
    MAX_WAITING = 64 << 20      /* bytes that wait for a slow world */
};

struct worlds {
    zsocket *socket;
    loop *l;
    outbox *out;
    worlds_fn *fn;
    void *ctx;
};

/* A world of another protocol version is told so; what else is malformed is
 * nothing that an answer could mend. */
static void
refuse(worlds *w, const zsocket_peer *world, status st)
{
    world_message m = {.kind = WORLD_REFUSE};
    char code[32];
    char text[512];

    (void)snprintf(code, sizeof(code), "%s", status_name(st));
    (void)snprintf(text, sizeof(text), "%s", status_text());
    log_warn("a world's message is refused: %s", text);
    if (st != ST_UNSUPPORTED)
        return;
    m.u.failed.code = code;
    m.u.failed.text = text;
    worlds_tell(w, world, &m);
}

static void
handle(worlds *w, zsocket_message *frame)
{
    world_message m = {0};
    status st = world_message_decode(&m, frame->control, frame->control_len);

    if (st == ST_OK)
        w->fn(w->ctx, &frame->peer, &m, &frame->raw, frame->raw_len);
    else
        refuse(w, &frame->peer, st);
    world_message_fini(&m);
}

static void
readable(void *ctx, zsocket *s)
{
    worlds *w = ctx;
    size_t bytes = 0;

    for (int n = 0; n < MAX_A_TURN && bytes < MAX_BYTES_A_TURN; n++) {
        zsocket_message frame = {0};
        status st = zsocket_recv(s, &frame, 0);

        if (st == ST_WIRE)
            continue; /* another shape of message: dropped */
        if (st != ST_OK)
            return;
        bytes += frame.control_len + frame.raw_len;
        handle(w, &frame);
        zsocket_message_fini(&frame);
    }
}

status
worlds_open(worlds **out, zcontext *z, loop *l, const char *endpoint,
            bool allow_local_users)
{
    worlds *w = NULL;
    status st;

    TRY(mem_new(&w, 1, sizeof(*w)));
    w->l = l;
    TRY(zsocket_router(&w->socket, z, endpoint, allow_local_users,
                       WORLD_MAX_PART));
    TRY(outbox_new(&w->out, w->socket, l, MAX_WAITING));
    *out = w;
    return ST_OK;
fail:
    worlds_close(w, 0);
    return st;
}

void
worlds_close(worlds *w, int timeout_ms)
{
    if (!w)
        return;
    outbox_free(w->out);
    if (w->socket) {
        loop_remove_socket(w->l, w->socket);
        zsocket_flush_close(w->socket, timeout_ms);
    }
    mem_free(w);
}

status
worlds_listen(worlds *w, worlds_fn *fn, void *ctx)
{
    w->fn = fn;
    w->ctx = ctx;
    return loop_add_socket(w->l, w->socket, readable, w);
}

const char *
worlds_endpoint(const worlds *w)
{
    return zsocket_endpoint(w->socket);
}

outbox *
worlds_outbox(worlds *w)
{
    return w->out;
}

void
worlds_tell(worlds *w, const zsocket_peer *world, const world_message *m)
{
    uint8_t *data = NULL;
    size_t len = 0;

    if (world_message_encode(&data, &len, m) != ST_OK) {
        log_error("a message to a world cannot be made: %s", status_text());
        return;
    }
    outbox_send(w->out, world, data, len, NULL, 0);
    mem_free(data);
}

bool
worlds_take_gone(worlds *w, zsocket_peer *world, const char **why)
{
    return outbox_take_gone(w->out, world, why);
}
