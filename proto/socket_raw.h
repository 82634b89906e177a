/* SPDX-License-Identifier: Apache-2.0 */
/* What proto/ itself sees of a socket. */
#ifndef PROTO_SOCKET_RAW_H
#define PROTO_SOCKET_RAW_H

#include "proto/socket.h"

/* The ZeroMQ socket inside. */
void *zsocket_raw(zsocket *s);
void *zcontext_raw(zcontext *z);
/* What ZAP calls a domain. */
const char *zsocket_domain_name(zsocket_domain domain);

#endif
