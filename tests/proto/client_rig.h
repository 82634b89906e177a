/* SPDX-License-Identifier: Apache-2.0 */
/* A client message on its way to a peer. */
#ifndef TESTS_PROTO_CLIENT_RIG_H
#define TESTS_PROTO_CLIENT_RIG_H

#include "proto/client_message.h"

/* What a peer makes of the message; client_message_fini(). */
client_message client_rig_copy(const client_message *m);
/* It cannot be sent, and why. */
void client_rig_refuse(const client_message *m, status code);

#endif
