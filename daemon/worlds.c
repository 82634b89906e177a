/* SPDX-License-Identifier: Apache-2.0 */
/* World messages between socket and core. */
#include "daemon/worlds.h"

#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"
#include "daemon/port.h"

static const port_limits limits = {.take_messages = 64,
                                   .turn_messages = 64,
                                   .turn_bytes = 4 << 20,
                                   .inbox_messages = 256,
                                   .inbox_bytes = 4 << 20,
                                   .frame_bytes = WORLD_MAX_PART,
                                   .outbox_bytes = 64 << 20,
                                   .silent_ms = 10000};

struct worlds {
    port port;
    const door *door;
    worlds_fn *fn;
    void *ctx;
};

/* A world of another protocol version is told so; what else is malformed, or
 * there was no memory for, is nothing that an answer could mend: what it told
 * is lost, and with it the world. */
static void
refuse(worlds *w, const zsocket_peer *world, status st)
{
    world_message m = {.kind = WORLD_REFUSE};
    char code[32];
    char text[512];

    (void)snprintf(code, sizeof(code), "%s", status_name(st));
    (void)snprintf(text, sizeof(text), "%s", status_text());
    log_warn("a world's message is refused: %s", text);
    if (st != ST_UNSUPPORTED) {
        outbox_give_up(w->port.out, world, "a message of it was lost");
        return;
    }
    m.u.failed.code = code;
    m.u.failed.text = text;
    worlds_tell(w, world, &m, NULL, 0);
}

static void
on_frame(void *ctx, zsocket_message *frame)
{
    worlds *w = ctx;
    world_message m = {0};
    status st;

    if (!(door_roles(w->door, frame->user) & ALLOWLIST_WORLD))
        return; /* its key was taken off the list: it is heard no more */
    st = world_message_decode(&m, frame->control, frame->control_len);

    if (st == ST_OK)
        w->fn(w->ctx, &frame->peer, &m, &frame->raw, frame->raw_len);
    else
        refuse(w, &frame->peer, st);
    world_message_fini(&m);
}

status
worlds_open(worlds **out, zcontext *z, loop *l, const char *endpoint,
            const door *d)
{
    worlds *w = NULL;
    status st;

    TRY(mem_new(&w, 1, sizeof(*w)));
    w->door = d;
    TRY(port_init(&w->port, z, l, endpoint, door_guard(d, ZSOCKET_WORLDS),
                  &limits));
    *out = w;
    return ST_OK;
fail:
    mem_free(w);
    return st;
}

void
worlds_close(worlds *w, int timeout_ms)
{
    if (!w)
        return;
    port_fini(&w->port, timeout_ms);
    mem_free(w);
}

status
worlds_listen(worlds *w, worlds_fn *fn, void *ctx)
{
    w->fn = fn;
    w->ctx = ctx;
    return port_listen(&w->port, on_frame, NULL, w);
}

const char *
worlds_endpoint(const worlds *w)
{
    return zsocket_endpoint(w->port.socket);
}

outbox *
worlds_outbox(worlds *w)
{
    return w->port.out;
}

void
worlds_tell(worlds *w, const zsocket_peer *world, const world_message *m,
            const void *raw, size_t raw_len)
{
    uint8_t *data = NULL;
    size_t len = 0;

    if (world_message_encode(&data, &len, m) != ST_OK) {
        log_error("a message to a world cannot be made: %s", status_text());
        outbox_give_up(w->port.out, world, "a message to it was lost");
        return;
    }
    outbox_send(w->port.out, world, data, len, raw, raw_len);
    mem_free(data);
}

bool
worlds_take_gone(worlds *w, zsocket_peer *world, const char **why)
{
    return outbox_take_gone(w->port.out, world, why);
}
