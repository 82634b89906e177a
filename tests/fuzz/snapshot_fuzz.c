/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots: bytes as they come, and bytes that are sealed first, so that the
 * hash does not keep the fuzzer from what is behind it. */
#include "proto/snapshot.h"

#include <string.h>

#include "tests/fuzz/fuzz.h"

static void
try_sealed(uint8_t *copy, size_t size)
{
    snapshot_info info = {
        .n_layer = copy[0] % 8u, .state_bytes = copy[1], .n_segment = copy[2]};
    snapshot_info back;
    size_t bytes;

    if (snapshot_bytes(&bytes, info.state_bytes) != ST_OK ||
        snapshot_seal(copy, size, &info) != ST_OK)
        return;
    CHECK(bytes == size);
    if (snapshot_check(&back, copy, size) != ST_OK)
        return; /* a float is no number */
    CHECK(back.n_layer == info.n_layer && back.n_segment == info.n_segment);
    copy[size - 1] ^= 1;
    CHECK(snapshot_check(&back, copy, size) != ST_OK);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    snapshot_info info;
    uint8_t *copy;

    if (snapshot_check(&info, data, size) == ST_OK)
        CHECK(size >= SNAPSHOT_HEADER);
    if (size <= SNAPSHOT_HEADER)
        return 0;
    copy = malloc(size);
    CHECK(copy);
    memcpy(copy, data, size);
    try_sealed(copy, size);
    free(copy);
    return 0;
}
