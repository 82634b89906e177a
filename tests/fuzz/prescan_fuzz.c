/* SPDX-License-Identifier: Apache-2.0 */
/* The pre-scan: what it lets pass the decoder takes, within the budget. */
#include "proto/prescan.h"

#include <protobuf-c/protobuf-c.h>

#include "client.pb-c.h"
#include "world.pb-c.h"

#include "tests/fuzz/fuzz.h"

static void
try_type(const ProtobufCMessageDescriptor *type, const uint8_t *data,
         size_t size)
{
    ProtobufCMessage *m = NULL;
    status checked = prescan_check(type, data, size, PRESCAN_MAX_FIELD);
    status unpacked = prescan_unpack(&m, type, data, size, PRESCAN_MAX_FIELD);

    CHECK(checked == ST_OK || unpacked == checked);
    CHECK(unpacked != ST_OK || m->descriptor == type);
    prescan_free(m);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    prescan_envelope envelope;

    if (prescan_read_envelope(&envelope, data, size) == ST_OK)
        CHECK(envelope.body == 0 || envelope.body >= PRESCAN_FIRST_BODY);
    try_type(&longwave__client__client_message__descriptor, data, size);
    try_type(&longwave__client__document_list__descriptor, data, size);
    try_type(&longwave__world__world_message__descriptor, data, size);
    return 0;
}
