/* SPDX-License-Identifier: Apache-2.0 */
/* Messages through a socket: a control frame and at most one raw frame. */
#include <string.h>

#include <zmq.h>

#include "base/clock.h"
#include "base/mem.h"
#include "proto/socket_state.h"

void
zsocket_message_fini(zsocket_message *m)
{
    if (!m)
        return;
    mem_free(m->control);
    mem_free(m->raw);
    *m = (zsocket_message){.raw = NULL};
}

void
zsocket_drop_parts(zsocket *s)
{
    for (int i = 0; i < s->n_part && i < s->router + 2; i++)
        (void)zmq_msg_close(&s->part[i]);
    s->n_part = 0;
}

static status
frame(zmq_msg_t *out, const void *data, size_t len)
{
    if (zmq_msg_init_size(out, len) != 0)
        return zsocket_status("a message");
    if (len > 0)
        memcpy(zmq_msg_data(out), data, len);
    return ST_OK;
}

/* Only the first frame can fail for reasons of the peer; the others then
 * belong to the same message and are always taken. */
static status
send_frames(zsocket *s, zmq_msg_t *part, int n)
{
    for (int i = 0; i < n; i++) {
        int flags = ZMQ_DONTWAIT | (i + 1 < n ? ZMQ_SNDMORE : 0);
        int done;

        do
            done = zmq_msg_send(&part[i], s->zmq, flags);
        while (done < 0 && zmq_errno() == EINTR);
        if (done >= 0)
            continue;
        if (zmq_errno() == EAGAIN)
            return status_fail(ST_TIMEOUT, "the peer's queue is full");
        if (zmq_errno() == EHOSTUNREACH)
            return status_fail(ST_NOTFOUND, "the peer is gone");
        return zsocket_status("a message is not sent");
    }
    return ST_OK;
}

status
zsocket_send(zsocket *s, const zsocket_peer *peer, const void *control,
             size_t control_len, const void *raw, size_t raw_len)
{
    zmq_msg_t part[3];
    int n = 0;
    status st;

    if (s->router) {
        TRY(frame(&part[n], peer->id, peer->len));
        n++;
    }
    TRY(frame(&part[n], control, control_len));
    n++;
    if (raw) {
        TRY(frame(&part[n], raw, raw_len));
        n++;
    }
    TRY(send_frames(s, part, n));
fail:
    for (int i = 0; i < n; i++)
        (void)zmq_msg_close(&part[i]); /* sent ones are empty by now */
    return st;
}

/* All frames of the next message; those beyond `max` are dropped but counted.
 * ST_TIMEOUT: there is no message. */
static status
receive_frames(zsocket *s, zmq_msg_t *part, int max, int *n)
{
    int count = 0;
    bool more = true;
    status st = ST_OK;

    while (more) {
        zmq_msg_t extra, *to = count < max ? &part[count] : &extra;
        int got;

        (void)zmq_msg_init(to);
        do
            got = zmq_msg_recv(to, s->zmq, ZMQ_DONTWAIT);
        while (got < 0 && zmq_errno() == EINTR);
        if (got < 0) {
            st = zmq_errno() == EAGAIN
                     ? status_fail(ST_TIMEOUT, "no message came")
                     : zsocket_status("no message");
            (void)zmq_msg_close(to);
            break;
        }
        more = zmq_msg_more(to);
        if (to == &extra)
            (void)zmq_msg_close(to);
        count++;
    }
    *n = count;
    return st;
}

static status
copy(uint8_t **out, size_t *len, zmq_msg_t *part)
{
    size_t n = zmq_msg_size(part);
    status st = mem_new(out, n, 1);

    if (st != ST_OK)
        return st;
    memcpy(*out, zmq_msg_data(part), n);
    *len = n;
    return ST_OK;
}

/* A guarded socket hears nobody whose key it does not know. */
static status
take_user(zsocket_message *m, zmq_msg_t *part)
{
    const char *user = zmq_msg_gets(part, "User-Id");

    if (!user || strnlen(user, KEYFILE_SIZE) != KEYFILE_SIZE - 1)
        return status_fail(ST_WIRE, "a message has no user");
    memcpy(m->user, user, KEYFILE_SIZE);
    return ST_OK;
}

static status
take(zsocket *s, zsocket_message *m, zmq_msg_t *part, int n)
{
    bool router = s->router;
    status st;

    if (n < router + 1 || n > router + 2 ||
        (router && zmq_msg_size(part) > ZSOCKET_MAX_PEER))
        return status_fail(ST_WIRE,
                           "a message has %d frames, or a peer's name is too "
                           "long",
                           n);
    if (router) {
        m->peer.len = (uint8_t)zmq_msg_size(part);
        memcpy(m->peer.id, zmq_msg_data(part), m->peer.len);
        zsocket_note_peer(s, m, &part[1]);
    }
    if (s->guarded)
        TRY(take_user(m, &part[router]));
    TRY(copy(&m->control, &m->control_len, &part[router]));
    if (n > router + 1)
        TRY(copy(&m->raw, &m->raw_len, &part[router + 1]));
    return ST_OK;
fail:
    zsocket_message_fini(m);
    return st;
}

static status
receive(zsocket *s, zsocket_message *out)
{
    zsocket_message m = {.raw = NULL};
    status st = ST_OK;

    bool here = s->n_part > 0;

    if (!here)
        st = receive_frames(s, s->part, s->router + 2, &s->n_part);
    here |= st == ST_OK;
    if (st == ST_OK)
        st = take(s, &m, s->part, s->n_part);
    if (st == ST_OK)
        *out = m;
    if (!here || st != ST_NOMEM)
        zsocket_drop_parts(s);
    return st;
}

/* Milliseconds until `deadline_ns`, rounded up; -1 for ever. */
static long
remaining(uint64_t deadline_ns)
{
    uint64_t now = clock_ns();

    if (deadline_ns == UINT64_MAX)
        return -1;
    return now >= deadline_ns ? 0
                              : (long)((deadline_ns - now + 999999) / 1000000);
}

status
zsocket_recv(zsocket *s, zsocket_message *out, int timeout_ms)
{
    uint64_t deadline = timeout_ms < 0
                            ? UINT64_MAX
                            : clock_ns() + (uint64_t)timeout_ms * 1000000;
    status st = receive(s, out);

    while (st == ST_TIMEOUT && timeout_ms != 0 && remaining(deadline) != 0) {
        zmq_pollitem_t item = {.socket = s->zmq, .events = ZMQ_POLLIN};

        if (zmq_poll(&item, 1, remaining(deadline)) < 0 && zmq_errno() != EINTR)
            return zsocket_status("waiting for a message");
        st = receive(s, out);
    }
    return st;
}
