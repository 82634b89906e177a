/* SPDX-License-Identifier: Apache-2.0 */
/* Walks protobuf wire bytes against a descriptor, with limits. */
#include "proto/prescan.h"

#include <stdbool.h>

#include <protobuf-c/protobuf-c.h>

#include "base/mem.h"
#include "proto/wiretext.h"

/* The part of the input that is being walked. */
typedef struct cursor {
    const uint8_t *at, *end;
} cursor;

typedef struct field {
    uint32_t number;
    ProtobufCWireType wire;
    uint64_t varint;     /* VARINT */
    const uint8_t *data; /* LENGTH_PREFIXED */
    size_t len;
} field;

typedef struct scan {
    size_t n_field, max_field, n_unknown, unknown_bytes;
} scan;

static status
malformed(void)
{
    return status_fail(ST_WIRE, "the message is malformed or cut off");
}

static bool
varint(cursor *c, uint64_t *out)
{
    uint64_t value = 0;

    for (unsigned shift = 0; shift < 64 && c->at < c->end; shift += 7) {
        uint8_t byte = *c->at++;

        if (shift == 63 && byte > 1)
            return false;
        value |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80) {
            *out = value;
            return true;
        }
    }
    return false;
}

static bool
skip(cursor *c, size_t n)
{
    if ((size_t)(c->end - c->at) < n)
        return false;
    c->at += n;
    return true;
}

/* Groups, the two wire types left over, are gone from proto3 and refused. */
static bool
next(cursor *c, field *f)
{
    uint64_t tag, n;

    if (!varint(c, &tag) || tag > UINT32_MAX || tag >> 3 == 0)
        return false;
    f->number = (uint32_t)(tag >> 3);
    switch (tag & 7) {
    case PROTOBUF_C_WIRE_TYPE_VARINT:
        f->wire = PROTOBUF_C_WIRE_TYPE_VARINT;
        return varint(c, &f->varint);
    case PROTOBUF_C_WIRE_TYPE_64BIT:
        f->wire = PROTOBUF_C_WIRE_TYPE_64BIT;
        return skip(c, 8);
    case PROTOBUF_C_WIRE_TYPE_32BIT:
        f->wire = PROTOBUF_C_WIRE_TYPE_32BIT;
        return skip(c, 4);
    case PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED:
        f->wire = PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED;
        if (!varint(c, &n) || n > (size_t)(c->end - c->at))
            return false;
        f->data = c->at;
        f->len = (size_t)n;
        c->at += n;
        return true;
    default:
        return false;
    }
}

status
prescan_read_envelope(prescan_envelope *out, const uint8_t *data, size_t len)
{
    prescan_envelope e = {.body = 0};
    cursor c = {data, data + len};
    field f;

    while (c.at < c.end) {
        if (!next(&c, &f))
            return malformed();
        if (f.number <= PRESCAN_N_VALUE &&
            f.wire == PROTOBUF_C_WIRE_TYPE_VARINT)
            e.value[f.number - 1] = f.varint;
        if (f.number >= PRESCAN_FIRST_BODY)
            e.body = f.number;
    }
    *out = e;
    return ST_OK;
}

static ProtobufCWireType
wire_of(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
        return PROTOBUF_C_WIRE_TYPE_32BIT;
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return PROTOBUF_C_WIRE_TYPE_64BIT;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        return PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED;
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_BOOL:
    case PROTOBUF_C_TYPE_ENUM:
        break;
    }
    return PROTOBUF_C_WIRE_TYPE_VARINT;
}

/* A repeated number may also come packed, all in one field. */
static status
check_field(const ProtobufCMessageDescriptor *type,
            const ProtobufCFieldDescriptor *d, const field *f)
{
    ProtobufCWireType wire = wire_of(d->type);
    bool packed = d->label == PROTOBUF_C_LABEL_REPEATED &&
                  f->wire == PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED;

    if (f->wire != wire && !packed)
        return status_fail(ST_WIRE, "field '%s' of %s has another type",
                           d->name, type->short_name);
    if (d->type == PROTOBUF_C_TYPE_STRING &&
        !wiretext_is_utf8((const char *)f->data, f->len))
        return status_fail(ST_ARG, "field '%s' of %s is not UTF-8", d->name,
                           type->short_name);
    return ST_OK;
}

/* protobuf-c would merge a message that comes twice, and drop one body of
 * two; no encoder sends either, so both are refused.  No message of ours has
 * more fields than bits here, which a test checks. */
static status
check_once(const ProtobufCMessageDescriptor *type,
           const ProtobufCFieldDescriptor *d, uint64_t *seen)
{
    uint64_t bit = UINT64_C(1) << (d - type->fields);

    if (d->label == PROTOBUF_C_LABEL_REPEATED)
        return ST_OK;
    if (d->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
        bit = UINT64_C(1) << 63;
    if (*seen & bit)
        return status_fail(ST_WIRE, "field '%s' of %s is there twice", d->name,
                           type->short_name);
    *seen |= bit;
    return ST_OK;
}

/* Nobody looks into it: what it holds, and how deep, is bounded by its size. */
static status
unknown(scan *s, const field *f)
{
    if (f->wire == PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED)
        s->unknown_bytes += f->len;
    if (++s->n_unknown > PRESCAN_MAX_UNKNOWN)
        return status_fail(ST_LIMIT, "the message has too many fields");
    if (s->unknown_bytes > PRESCAN_MAX_UNKNOWN_BYTES)
        return status_fail(ST_LIMIT, "the message has too much that is not "
                                     "known here");
    return ST_OK;
}

static status
message(scan *s, const ProtobufCMessageDescriptor *type, cursor c, int depth)
{
    uint64_t seen = 0;
    field f = {0};
    status st;

    if (depth > PRESCAN_MAX_DEPTH)
        return status_fail(ST_LIMIT, "the message is nested too deep");
    while (c.at < c.end) {
        const ProtobufCFieldDescriptor *d;

        if (!next(&c, &f))
            return malformed();
        d = protobuf_c_message_descriptor_get_field(type, f.number);
        if (++s->n_field > s->max_field)
            return status_fail(ST_LIMIT, "the message has too many fields");
        if (!d) {
            TRY(unknown(s, &f));
            continue;
        }
        TRY(check_field(type, d, &f));
        TRY(check_once(type, d, &seen));
        if (d->type == PROTOBUF_C_TYPE_MESSAGE) {
            cursor inner = {f.data, f.data + f.len};

            TRY(message(s, d->descriptor, inner, depth + 1));
        }
    }
    return ST_OK;
fail:
    return st;
}

status
prescan_check(const ProtobufCMessageDescriptor *type, const uint8_t *data,
              size_t len, size_t max_field)
{
    scan s = {.max_field = max_field};
    cursor c = {data, data + len};

    return message(&s, type, c, 1);
}

typedef struct budget {
    size_t left;
    bool exhausted;
} budget;

/* What is freed is not given back: the budget bounds the sum, which bounds the
 * peak.  16 bytes are what the heap adds to each piece. */
static void *
budget_alloc(void *data, size_t size)
{
    budget *b = data;
    void *p = NULL;

    if (size > PRESCAN_BUDGET || size + 16 > b->left ||
        mem_new(&p, 1, size) != ST_OK) {
        b->exhausted = true;
        return NULL;
    }
    b->left -= size + 16;
    return p;
}

static void
budget_free(void *data, void *p)
{
    (void)data;
    mem_free(p);
}

status
prescan_unpack(ProtobufCMessage **out, const ProtobufCMessageDescriptor *type,
               const uint8_t *data, size_t len, size_t max_field)
{
    budget b = {.left = PRESCAN_BUDGET};
    ProtobufCAllocator allocator = {budget_alloc, budget_free, &b};
    ProtobufCMessage *m;
    status st = prescan_check(type, data, len, max_field);

    if (st != ST_OK)
        return st;
    m = protobuf_c_message_unpack(type, &allocator, len, data);
    if (!m && b.exhausted)
        return status_fail(ST_LIMIT, "the message takes too much memory");
    if (!m)
        return malformed();
    *out = m;
    return ST_OK;
}

status
prescan_pack(uint8_t **out, size_t *len, const ProtobufCMessage *m,
             size_t max_len, size_t max_field)
{
    size_t n = protobuf_c_message_get_packed_size(m);
    uint8_t *data = NULL;
    status st;

    if (n > max_len)
        return status_fail(ST_LIMIT,
                           "a message of %zu bytes is over the limit of %zu", n,
                           max_len);
    TRY(mem_new(&data, n, 1));
    protobuf_c_message_pack(m, data);
    TRY(prescan_check(m->descriptor, data, n, max_field));
    *out = data;
    *len = n;
    return ST_OK;
fail:
    mem_free(data);
    return st;
}

void
prescan_free(ProtobufCMessage *m)
{
    ProtobufCAllocator allocator = {budget_alloc, budget_free, NULL};

    if (m)
        protobuf_c_message_free_unpacked(m, &allocator);
}
