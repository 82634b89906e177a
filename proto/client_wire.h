/* SPDX-License-Identifier: Apache-2.0 */
/* The steps of client_message.c: check of the values, values to bytes, bytes
 * to values.  Private to proto/. */
#ifndef PROTO_CLIENT_WIRE_H
#define PROTO_CLIENT_WIRE_H

#include "proto/client_message.h"

/* Lists may have more fields than other messages. */
size_t client_check_max_field(client_kind kind);
/* Ranges, lengths and names; the same before encoding and after decoding.
 * ST_ARG names the field. */
status client_check(const client_message *m) MUST_USE;

status client_encode(uint8_t **out, size_t *len,
                     const client_message *m) MUST_USE;
size_t client_encode_nomem(uint8_t out[CLIENT_NOMEM_BYTES], uint64_t request);
/* Fills m->u of m->kind.  m is client_message_fini()'s, also on failure. */
status client_decode(client_message *m, const uint8_t *data,
                     size_t len) MUST_USE;

#endif
