/* SPDX-License-Identifier: Apache-2.0 */
/* The client protocol: whatever is understood can be said again, and means the
 * same then. */
#include "proto/client_message.h"

#include <string.h>

#include "base/mem.h"
#include "tests/fuzz/fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    client_message m = {0}, again = {0};
    uint8_t *wire = NULL, *wire_again = NULL;
    size_t len = 0, len_again = 0;
    uint64_t request = 0;

    if (client_message_decode(&m, &request, data, size) != ST_OK)
        return 0;
    CHECK(m.request == request);
    CHECK(client_message_encode(&wire, &len, &m) == ST_OK);
    CHECK(client_message_decode(&again, &request, wire, len) == ST_OK);
    CHECK(again.kind == m.kind && again.request == m.request);
    CHECK(client_message_encode(&wire_again, &len_again, &again) == ST_OK);
    CHECK(len == len_again && memcmp(wire, wire_again, len) == 0);
    mem_free(wire);
    mem_free(wire_again);
    client_message_fini(&m);
    client_message_fini(&again);
    return 0;
}
