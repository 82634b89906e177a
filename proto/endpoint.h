/* SPDX-License-Identifier: Apache-2.0 */
/* Endpoints: which ones are allowed, and who holds the path of an ipc one.
 * Private to proto/. */
#ifndef PROTO_ENDPOINT_H
#define PROTO_ENDPOINT_H

#include <stdbool.h>

#include "base/status.h"

enum { ENDPOINT_MAX = 256 };

typedef struct endpoint {
    char text[ENDPOINT_MAX]; /* as ZeroMQ takes it */
    const char *path;        /* into text; NULL for tcp */
    bool ipv6;
    bool loopback; /* tcp that only this machine's users reach */
} endpoint;

typedef enum endpoint_use { ENDPOINT_BIND, ENDPOINT_CONNECT } endpoint_use;

/* ST_ARG: no endpoint.  Whether it needs keys is not looked at here.  `out`
 * must not be copied: path points into it.
 *   ipc:///PATH      no abstract name, no path of ZeroMQ's choice
 *   tcp://HOST:PORT  HOST is an IPv4 address, an IPv6 address in brackets or
 *                    "localhost"; to connect to, a host's name too; to bind,
 *                    '*' too, and port 0 or '*' for any */
status endpoint_parse(endpoint *out, const char *text,
                      endpoint_use use) MUST_USE;

/* ST_NOTFOUND: nobody listens at an ipc path; ST_OK for tcp, unseen. */
status endpoint_probe(const endpoint *e) MUST_USE;

/* Makes sure that nobody listens at an ipc path (ST_STATE), and that what lies
 * there is a socket if anything (ST_STATE).  *lock keeps a second daemon out
 * of the moment between this look and the bind; endpoint_release() it then. */
status endpoint_claim(int *lock, const endpoint *e) MUST_USE;
void endpoint_release(int lock);

#endif
