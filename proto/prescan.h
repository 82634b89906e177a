/* SPDX-License-Identifier: Apache-2.0 */
/* The look at a message before protobuf-c decodes it.
 *
 * protobuf-c recurses as deep as its input says and allocates up to 57 bytes
 * for each byte of it, so what it may see is bounded here, in one pass without
 * memory.  The pass follows the message's descriptor: it knows which bytes are
 * messages, which are text and which are nobody's business.  Private to
 * proto/: generated types stay there. */
#ifndef PROTO_PRESCAN_H
#define PROTO_PRESCAN_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

struct ProtobufCMessage;
struct ProtobufCMessageDescriptor;

enum {
    PRESCAN_MAX_DEPTH = 8,
    PRESCAN_MAX_FIELD = 4096,       /* in all, at every depth */
    PRESCAN_MAX_LIST_FIELD = 65536, /* of a list of documents or jobs */
    PRESCAN_MAX_UNKNOWN = 64,
    /* Bytes of them in all.  A newer peer may add to a message; what is longer
     * is no addition, and whoever sent it hears that it was not understood. */
    PRESCAN_MAX_UNKNOWN_BYTES = 16 << 10,
    PRESCAN_BUDGET = 8 << 20, /* bytes that decoding may allocate */
    PRESCAN_N_VALUE = 6,
    PRESCAN_FIRST_BODY = 10 /* field numbers from here on are bodies */
};

/* What every version of a protocol agrees on. */
typedef struct prescan_envelope {
    uint64_t value[PRESCAN_N_VALUE]; /* of the varint fields 1, 2, ... */
    uint32_t body; /* number of the last body field, 0: none */
} prescan_envelope;

/* Reads the outermost fields and trusts nothing inside them.  ST_WIRE. */
status prescan_read_envelope(prescan_envelope *out, const uint8_t *data,
                             size_t len) MUST_USE;

/* ST_WIRE: no message of this type, a field that may be there once is there
 * twice, or two bodies; ST_ARG: a text is not UTF-8; ST_LIMIT: too deep, too
 * many fields, or too much that is not known. */
status prescan_check(const struct ProtobufCMessageDescriptor *type,
                     const uint8_t *data, size_t len,
                     size_t max_field) MUST_USE;

/* Checks, then decodes within PRESCAN_BUDGET.  Release with prescan_free(). */
status prescan_unpack(struct ProtobufCMessage **out,
                      const struct ProtobufCMessageDescriptor *type,
                      const uint8_t *data, size_t len,
                      size_t max_field) MUST_USE;
/* Bytes for sending, mem_free(); held to `max_len` and to what
 * prescan_check() lets pass. */
status prescan_pack(uint8_t **out, size_t *len,
                    const struct ProtobufCMessage *message, size_t max_len,
                    size_t max_field) MUST_USE;
void prescan_free(struct ProtobufCMessage *message); /* NULL is fine */

#endif
