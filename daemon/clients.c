/* SPDX-License-Identifier: Apache-2.0 */
/* Client messages between socket and core. */
#include "daemon/clients.h"

#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"
#include "daemon/port.h"

static const port_limits limits = {.take_messages = 64,
                                   .turn_messages = 16,
                                   .turn_bytes = 2 << 20,
                                   .inbox_messages = 4096,
                                   .inbox_bytes = 4 << 20,
                                   .frame_bytes = CLIENT_MAX_CHUNK,
                                   .outbox_bytes = 4 << 20,
                                   .outbox_ms = 10000,
                                   .silent_ms = 10000};

enum { SHORT = 64 }; /* bytes: a request that only has a number is shorter */

struct clients {
    port port;
    const door *door;
    clients_fn *fn;
    void *ctx;
};

static void
refuse(clients *c, const zsocket_peer *client, uint64_t request, status st)
{
    client_message m = {.kind = CLIENT_REFUSED, .request = request};
    char code[32];
    char text[512];

    (void)snprintf(code, sizeof(code), "%s", status_name(st));
    (void)snprintf(text, sizeof(text), "%s", status_text());
    m.u.refused.code = code;
    m.u.refused.text = text;
    clients_tell(c, client, &m);
}

/* The list may have changed since the key came in. */
static status
check_roles(unsigned roles)
{
    if (!(roles & (ALLOWLIST_CLIENT | ALLOWLIST_ADMIN)))
        return status_fail(ST_DENIED, "this key is not authorised");
    return ST_OK;
}

static void
hear(clients *c, zsocket_message *frame, const client_message *m)
{
    unsigned roles = door_roles(c->door, frame->user);
    clients_caller from = {.peer = &frame->peer,
                           .owner = *frame->user ? frame->user : DOOR_LOCAL,
                           .admin = (roles & ALLOWLIST_ADMIN) != 0};
    status st = check_roles(roles);

    if (st == ST_OK)
        c->fn(c->ctx, &from, m, &frame->raw, frame->raw_len);
    else
        refuse(c, &frame->peer, m->request, st);
}

static void
on_frame(void *ctx, zsocket_message *frame)
{
    clients *c = ctx;
    client_message m = {0};
    uint64_t request = 0;
    status st = client_message_decode_request(&m, &request, frame->control,
                                              frame->control_len);

    if (st == ST_OK)
        hear(c, frame, &m);
    else
        refuse(c, &frame->peer, request, st);
    client_message_fini(&m);
}

/* Whoever asks whether the daemon lives does not wait until it has heard
 * everybody else. */
static bool
answer_status(void *ctx, zsocket_message *frame)
{
    clients *c = ctx;
    client_message m = {0};
    uint64_t request;
    bool is_status = false;

    if (frame->control_len > SHORT || frame->raw ||
        client_message_decode(&m, &request, frame->control,
                              frame->control_len) != ST_OK)
        return false;
    is_status = m.kind == CLIENT_GET_STATUS;
    if (is_status)
        hear(c, frame, &m);
    client_message_fini(&m);
    return is_status;
}

status
clients_open(clients **out, zcontext *z, loop *l, const char *endpoint,
             const door *d)
{
    clients *c = NULL;
    status st;

    TRY(mem_new(&c, 1, sizeof(*c)));
    c->door = d;
    TRY(port_init(&c->port, z, l, endpoint, door_guard(d, ZSOCKET_CLIENTS),
                  &limits));
    *out = c;
    return ST_OK;
fail:
    mem_free(c);
    return st;
}

void
clients_close(clients *c, int timeout_ms)
{
    if (!c)
        return;
    port_fini(&c->port, timeout_ms);
    mem_free(c);
}

status
clients_listen(clients *c, clients_fn *fn, void *ctx)
{
    c->fn = fn;
    c->ctx = ctx;
    return port_listen(&c->port, on_frame, answer_status, c);
}

const char *
clients_endpoint(const clients *c)
{
    return zsocket_endpoint(c->port.socket);
}

/* An answer whose text is too long for one message is told without: the client
 * has had it token by token. */
static status
encode(uint8_t **out, size_t *len, const client_message *m)
{
    client_message less = *m;
    status st = client_message_encode(out, len, m);

    if (st != ST_LIMIT || m->kind != CLIENT_DONE)
        return st;
    less.u.done.text = NULL;
    less.u.done.text_len = 0;
    return client_message_encode(out, len, &less);
}

/* A request that nobody answers would keep its client waiting: the daemon lives
 * and says so.  Progress alone comes again. */
static void
tell_nomem(clients *c, const zsocket_peer *client, const client_message *m)
{
    uint8_t data[CLIENT_NOMEM_BYTES];
    size_t len;

    if (m->kind == CLIENT_PROGRESS)
        return;
    len = client_message_nomem(data, m->request);
    outbox_send(c->port.out, client, data, len, NULL, 0);
}

void
clients_tell(clients *c, const zsocket_peer *client, const client_message *m)
{
    uint8_t *data = NULL;
    size_t len = 0;
    status st = encode(&data, &len, m);

    if (st != ST_OK) {
        log_error("a reply cannot be made: %s", status_text());
        if (st == ST_NOMEM)
            tell_nomem(c, client, m);
        else if (m->kind != CLIENT_REFUSED)
            refuse(c, client, m->request, st); /* a list that is too long */
        return;
    }
    outbox_send(c->port.out, client, data, len, NULL, 0);
    mem_free(data);
}

bool
clients_take_gone(clients *c, zsocket_peer *client, const char **why)
{
    return outbox_take_gone(c->port.out, client, why);
}
