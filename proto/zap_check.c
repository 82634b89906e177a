/* SPDX-License-Identifier: Apache-2.0 */
/* A stranger at our own door, who must be turned away. */
#include "proto/zap.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <zmq.h>

#include "base/clock.h"
#include "proto/endpoint.h"
#include "proto/socket_raw.h"

enum { PATIENCE_MS = 5000, EVENT_BYTES = 6 };

/* An endpoint that is bound to every address is reached at loopback. */
static void
reach(char out[ENDPOINT_MAX], const char *bound)
{
    static const struct {
        const char *any, *loopback;
    } host[] = {{"tcp://0.0.0.0:", "tcp://127.0.0.1:"},
                {"tcp://[::]:", "tcp://[::1]:"}};

    (void)snprintf(out, ENDPOINT_MAX, "%s", bound);
    for (size_t i = 0; i < sizeof(host) / sizeof(*host); i++) {
        size_t len = strlen(host[i].any);

        if (strncmp(bound, host[i].any, len) == 0)
            (void)snprintf(out, ENDPOINT_MAX, "%s%s", host[i].loopback,
                           bound + len);
    }
}

/* The next event, 0 when none comes by the deadline. */
static unsigned
next_event(void *monitor, uint64_t deadline_ns)
{
    uint64_t now = clock_ns();
    long ms = now < deadline_ns ? (long)((deadline_ns - now) / 1000000) : 0;
    zmq_pollitem_t item = {.socket = monitor, .events = ZMQ_POLLIN};
    char data[EVENT_BYTES], address[ENDPOINT_MAX];
    uint16_t event;

    if (zmq_poll(&item, 1, ms) <= 0 ||
        zmq_recv(monitor, data, sizeof(data), 0) != EVENT_BYTES ||
        zmq_recv(monitor, address, sizeof(address), 0) < 0)
        return 0;
    memcpy(&event, data, sizeof(event));
    return event;
}

/* ZMQ_EVENT_HANDSHAKE_FAILED_AUTH is the doorkeeper's "400". */
static status
expect_refusal(void *monitor, const char *bound)
{
    uint64_t deadline = clock_ns() + (uint64_t)PATIENCE_MS * 1000000;
    unsigned event;

    do {
        event = next_event(monitor, deadline);
        if (event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH)
            return ST_OK;
        if (event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED)
            return status_fail(ST_DENIED, "%s lets a key in that is on no list",
                               bound);
    } while (event);
    return status_fail(ST_DENIED,
                       "%s did not refuse a key that is on no list in %d s",
                       bound, PATIENCE_MS / 1000);
}

static bool
set_key(void *socket, int option, const char *key)
{
    return zmq_setsockopt(socket, option, key, KEYFILE_SIZE) == 0;
}

/* A socket that is watched from before it connects: what happens to it cannot
 * be missed. */
static status
knock(void *socket, void *monitor, const char *at, const keyfile *k)
{
    const int linger = 0;
    char name[64]; /* of its own: the last one's may still be closing */

    (void)snprintf(name, sizeof(name), "inproc://%s", k->public_key);
    if (!socket || !monitor ||
        zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof(linger)) != 0 ||
        zmq_setsockopt(monitor, ZMQ_LINGER, &linger, sizeof(linger)) != 0 ||
        !set_key(socket, ZMQ_CURVE_SERVERKEY, k->server_key) ||
        !set_key(socket, ZMQ_CURVE_PUBLICKEY, k->public_key) ||
        !set_key(socket, ZMQ_CURVE_SECRETKEY, k->secret_key) ||
        zmq_socket_monitor(socket, name,
                           ZMQ_EVENT_HANDSHAKE_FAILED_AUTH |
                               ZMQ_EVENT_HANDSHAKE_SUCCEEDED) != 0 ||
        zmq_connect(monitor, name) != 0 || zmq_connect(socket, at) != 0)
        return status_fail(ST_IO, "the door at %s cannot be tried: %s", at,
                           zmq_strerror(zmq_errno()));
    return ST_OK;
}

status
zap_check(zcontext *z, const char *bound, const char *server_key)
{
    keyfile stranger = {.server_key = ""};
    void *socket = zmq_socket(zcontext_raw(z), ZMQ_DEALER);
    void *monitor = zmq_socket(zcontext_raw(z), ZMQ_PAIR);
    char at[ENDPOINT_MAX];
    int ipv6 = strchr(bound, '[') != NULL;
    status st;

    reach(at, bound);
    TRY(keyfile_generate(&stranger));
    memcpy(stranger.server_key, server_key, KEYFILE_SIZE);
    if (socket)
        (void)zmq_setsockopt(socket, ZMQ_IPV6, &ipv6, sizeof(ipv6));
    TRY(knock(socket, monitor, at, &stranger));
    TRY(expect_refusal(monitor, bound));
fail:
    zsocket_close_watched(socket, monitor);
    keyfile_wipe(&stranger);
    return st;
}
