/* SPDX-License-Identifier: Apache-2.0 */
/* The steps of world_message.c.  Private to proto/. */
#ifndef PROTO_WORLD_WIRE_H
#define PROTO_WORLD_WIRE_H

#include "proto/world_message.h"

status world_encode(uint8_t **out, size_t *len,
                    const world_message *m) MUST_USE;
/* Fills m->u of m->kind.  m is world_message_fini()'s, also on failure. */
status world_decode(world_message *m, const uint8_t *data, size_t len) MUST_USE;

#endif
