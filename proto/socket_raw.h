/* SPDX-License-Identifier: Apache-2.0 */
/* What proto/ itself sees of a socket. */
#ifndef PROTO_SOCKET_RAW_H
#define PROTO_SOCKET_RAW_H

#include "proto/socket.h"

/* The ZeroMQ socket inside. */
void *zsocket_raw(zsocket *s);
void *zcontext_raw(zcontext *z);
/* Closes a socket that is watched, and its watch: no more events first, since
 * ZeroMQ's thread waits for ever for a watch that no longer hears, or loses the
 * memory of what it cannot tell.  Either may be NULL. */
void zsocket_close_watched(void *zmq, void *monitor);
/* What ZAP calls a domain. */
const char *zsocket_domain_name(zsocket_domain domain);

#endif
