/* SPDX-License-Identifier: Apache-2.0 */
/* The world protocol: whatever is understood can be said again, and means the
 * same then. */
#include "proto/world_message.h"

#include <string.h>

#include "base/mem.h"
#include "tests/fuzz/fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    world_message m = {0}, again = {0};
    uint8_t *wire = NULL, *wire_again = NULL;
    size_t len = 0, len_again = 0;

    if (world_message_decode(&m, data, size) != ST_OK)
        return 0;
    CHECK(world_message_encode(&wire, &len, &m) == ST_OK);
    CHECK(world_message_decode(&again, wire, len) == ST_OK);
    CHECK(again.kind == m.kind && again.job == m.job);
    CHECK(world_message_encode(&wire_again, &len_again, &again) == ST_OK);
    CHECK(len == len_again && memcmp(wire, wire_again, len) == 0);
    mem_free(wire);
    mem_free(wire_again);
    world_message_fini(&m);
    world_message_fini(&again);
    return 0;
}
