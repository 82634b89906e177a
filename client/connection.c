/* SPDX-License-Identifier: Apache-2.0 */
/* Sends, receives and watches over the daemon's silence. */
#include "client/connection.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"

enum {
    DEFAULT_TIMEOUT_MS = 10000,
    /* A daemon that is being started may take a moment to listen. */
    LISTEN_MS = 1000,
    LISTEN_STEP_MS = 50,
    SLICE_MS = 100, /* between looks at config.interrupted */
    PING_MS = 1000  /* of silence */
};
static const uint64_t MS = 1000000;
static const double UPTIME_SLACK_S = 0.5; /* it is as old as the loop's turn */

bool
connection_interrupted(const connection *c)
{
    return !c->deaf && c->config.interrupted &&
           c->config.interrupted(c->config.ctx);
}

static status
wait_for_listener(const connection *c)
{
    uint64_t deadline = clock_ns() + LISTEN_MS * MS;
    status st = zsocket_probe(c->endpoint);

    while (st == ST_NOTFOUND && clock_ns() < deadline &&
           !connection_interrupted(c)) {
        clock_sleep_us(LISTEN_STEP_MS * 1000);
        st = zsocket_probe(c->endpoint);
    }
    if (st == ST_NOTFOUND)
        return status_fail(ST_STATE,
                           "no daemon listens at %s: start one with "
                           "'longwaved --model DIR --workers 1', or name "
                           "another endpoint with --connect",
                           c->endpoint);
    return st == ST_ARG ? st : ST_OK; /* the socket will tell the rest */
}

status
connection_open(connection *c, const client_config *config)
{
    status st;

    *c = (connection){.config = *config};
    if (c->config.timeout_ms == 0)
        c->config.timeout_ms = DEFAULT_TIMEOUT_MS;
    if (config->endpoint)
        TRY(mem_strdup(&c->endpoint, config->endpoint));
    else
        TRY(client_default_endpoint(&c->endpoint));
    TRY(wait_for_listener(c));
    TRY(zcontext_new(&c->z));
    TRY(zsocket_dealer(&c->socket, c->z, c->endpoint, config->key,
                       CLIENT_MAX_CHUNK));
    TRY(zsocket_count_cuts(c->socket, c->z));
    return ST_OK;
fail:
    connection_close(c);
    return st;
}

void
connection_close(connection *c)
{
    /* A cancellation may just have been sent. */
    if (c->socket)
        zsocket_flush_close(c->socket, SLICE_MS);
    zcontext_free(c->z);
    mem_free(c->endpoint);
    *c = (connection){.socket = NULL};
}

uint64_t
connection_begin(connection *c)
{
    c->heard_ns = c->begun_ns = clock_ns();
    c->cuts = c->ping_cuts = zsocket_cuts(c->socket);
    c->lost = false;
    c->epoch = 0;
    c->ping = 0;
    return ++c->last_request;
}

status
connection_try(connection *c, const client_message *m, const void *raw,
               size_t raw_len)
{
    uint8_t *data = NULL;
    size_t len;
    status st;

    TRY(client_message_encode(&data, &len, m));
    TRY(zsocket_send(c->socket, NULL, data, len, raw, raw_len));
fail:
    mem_free(data);
    return st;
}

static status
silent(const connection *c)
{
    return status_fail(ST_STATE, "the daemon at %s has not answered for %u s",
                       c->endpoint, (c->config.timeout_ms + 999) / 1000);
}

status
connection_send(connection *c, const client_message *m, const void *raw,
                size_t raw_len)
{
    uint64_t deadline = clock_ns() + c->config.timeout_ms * MS;
    status st = connection_try(c, m, raw, raw_len);

    while (st == ST_TIMEOUT && clock_ns() < deadline) {
        clock_sleep_us(1000);
        st = connection_try(c, m, raw, raw_len);
    }
    return st == ST_TIMEOUT ? silent(c) : st;
}

/* Asks for a sign of life long before the verdict, and again; at once when the
 * connection has gone, for the last ping may have gone with it. */
static status
check_silence(connection *c)
{
    uint64_t now = clock_ns();
    uint64_t silence = now - c->heard_ns;
    uint64_t patience =
        c->config.timeout_ms / 2 < PING_MS ? c->config.timeout_ms / 2 : PING_MS;
    unsigned cuts = zsocket_cuts(c->socket);
    client_message m = {.kind = CLIENT_GET_STATUS};

    if (zsocket_is_refused(c->socket))
        return status_fail(ST_DENIED,
                           "the daemon at %s does not let the key "
                           "%s in",
                           c->endpoint, c->config.key->public_key);
    if (silence >= c->config.timeout_ms * MS)
        return silent(c);
    if (c->ping_cuts == cuts && (silence < patience * MS ||
                                 (c->ping && now - c->ping_ns < patience * MS)))
        return ST_OK;
    m.request = ++c->last_request;
    if (connection_try(c, &m, NULL, 0) == ST_OK) {
        c->ping = m.request;
        c->ping_ns = now;
        c->ping_cuts = cuts;
    }
    return ST_OK; /* if it was not sent, then the verdict follows */
}

/* Whether the daemon is another one than the call began with.  That ends the
 * connection too, but for who comes through a proxy: its own one stays. */
static bool
is_another(const connection *c, const client_message *m)
{
    double age = (double)(c->heard_ns - c->begun_ns) / 1e9;

    if (m->kind != CLIENT_STATUS)
        return false;
    if (c->epoch && m->u.status.epoch)
        return m->u.status.epoch != c->epoch;
    return m->u.status.uptime_seconds < age - UPTIME_SLACK_S;
}

static status
check_pong(connection *c, const client_message *m)
{
    c->ping = 0;
    if (c->ping_cuts == c->cuts && !is_another(c, m))
        return ST_OK;
    c->lost = true;
    return status_fail(ST_STATE,
                       "the daemon at %s was restarted or has hung up before "
                       "it answered: what was asked may have been done or not",
                       c->endpoint);
}

/* One message that is already here or comes within `ms`. */
static status
receive(connection *c, client_message *out, int ms)
{
    zsocket_message frames = {.control = NULL};
    uint64_t request;
    status st;

    TRY(zsocket_recv(c->socket, &frames, ms));
    TRY(client_message_decode(out, &request, frames.control,
                              frames.control_len));
    c->heard_ns = clock_ns();
fail:
    zsocket_message_fini(&frames);
    return st;
}

status
connection_receive(connection *c, client_message *out, uint32_t wait_ms)
{
    uint64_t deadline = clock_ns() + wait_ms * MS;
    client_message m;

    for (;;) {
        uint64_t now = clock_ns();
        uint64_t left = now < deadline ? (deadline - now) / MS + 1 : 0;
        status st = receive(c, &m, (int)(left < SLICE_MS ? left : SLICE_MS));

        if (st == ST_OK && (c->ping == 0 || m.request != c->ping)) {
            *out = m;
            return ST_OK;
        }
        if (st == ST_OK) {
            st = check_pong(c, &m);
            client_message_fini(&m);
            if (st != ST_OK)
                return st;
        } else if (st != ST_TIMEOUT) {
            return st;
        }
        if (connection_interrupted(c))
            return status_fail(ST_CANCELED, "interrupted");
        st = check_silence(c);
        if (st != ST_OK)
            return st;
        if (clock_ns() >= deadline)
            return status_fail(ST_TIMEOUT, "no message came");
    }
}

status
connection_refusal(const client_message *m)
{
    status st = ST_STATE;
    char later[64] = "";

    for (int i = ST_OK + 1; i < ST_COUNT; i++)
        if (strcmp(status_name((status)i), m->u.refused.code) == 0)
            st = (status)i;
    if (m->u.refused.retry_after_s > 0)
        snprintf(later, sizeof(later), " (try again in %u s)",
                 m->u.refused.retry_after_s);
    return status_fail(st, "%s%s", m->u.refused.text, later);
}
