/* SPDX-License-Identifier: Apache-2.0 */
/* What the monitor of a socket tells, and what is done with it. */
#include <string.h>

#include "base/clock.h"
#include "proto/socket_raw.h"
#include "proto/socket_state.h"

/* A number of two bytes, a value of four, and in a frame of its own the
 * endpoint. */
static void
hear_event(zsocket *s, const uint8_t *event)
{
    uint16_t kind;
    int32_t value;

    memcpy(&kind, event, sizeof(kind));
    memcpy(&value, event + sizeof(kind), sizeof(value));
    if (kind == ZMQ_EVENT_ACCEPTED) {
        links_come(&s->links, value, clock_ns());
    } else if (kind != ZMQ_EVENT_DISCONNECTED) {
        s->refused = s->refused || kind == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH;
        s->outside = true;
    } else if (s->router) {
        links_go(&s->links, value);
    } else {
        s->cuts += !s->outside;
        s->outside = false;
    }
}

static void
hear_events(zsocket *s)
{
    uint8_t event[6];
    char at[ENDPOINT_MAX];

    while (s->monitor && zmq_recv(s->monitor, event, sizeof(event),
                                  ZMQ_DONTWAIT) == sizeof(event)) {
        (void)zmq_recv(s->monitor, at, sizeof(at), ZMQ_DONTWAIT);
        hear_event(s, event);
    }
}

bool
zsocket_is_refused(zsocket *s)
{
    hear_events(s);
    return s->refused;
}

unsigned
zsocket_cuts(zsocket *s)
{
    hear_events(s);
    return s->cuts;
}

bool
zsocket_hang_up(zsocket *s, const zsocket_peer *peer)
{
    hear_events(s);
    return links_hang_up(&s->links, peer);
}

size_t
zsocket_hang_up_silent(zsocket *s, uint32_t max_ms)
{
    uint64_t now = clock_ns();
    uint64_t max = (uint64_t)max_ms * 1000000;

    hear_events(s);
    return now < max ? 0 : links_hang_up_silent(&s->links, now - max);
}

bool
zsocket_counts(const zsocket *s)
{
    return strncmp(s->endpoint, "tcp://", strlen("tcp://")) == 0;
}

size_t
zsocket_hang_up_endless(zsocket *s)
{
    hear_events(s);
    return links_hang_up_endless(&s->links, ZSOCKET_MAX_AHEAD);
}

/* That the connection came was told before its first message. */
void
zsocket_note_peer(zsocket *s, const zsocket_message *m, const zmq_msg_t *part)
{
    int fd = zmq_msg_get(part, ZMQ_SRCFD);

    if (fd < 0 || links_hear(&s->links, fd, &m->peer))
        return;
    hear_events(s);
    links_speak(&s->links, fd, &m->peer);
}

void
zsocket_close_watched(void *zmq, void *monitor)
{
    if (zmq && monitor)
        (void)zmq_socket_monitor(zmq, NULL, 0);
    if (monitor)
        (void)zmq_close(monitor);
    if (zmq)
        (void)zmq_close(zmq);
}
