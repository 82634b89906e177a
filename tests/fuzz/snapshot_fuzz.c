/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots: bytes as they come, and bytes that are sealed first, so that the
 * hash does not keep the fuzzer from what is behind it. */
#include "proto/snapshot.h"

#include <stdbool.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"

/* In pieces: the same verdict, and norms within the layers that it has. */
static void
try_pieces(const uint8_t *data, size_t size, bool good)
{
    float norm[256];
    size_t piece = 4 * (1 + (size_t)data[0] % 8);
    snapshot_scan s;

    if (snapshot_scan_begin(&s, data, size) != ST_OK) {
        CHECK(!good);
        return;
    }
    if (s.info.n_layer > 0 && s.info.n_layer <= 256)
        s.norm = norm;
    for (size_t at = SNAPSHOT_HEADER; at < size; at += piece)
        snapshot_scan_add(&s, data + at, size - at < piece ? size - at : piece);
    CHECK((snapshot_scan_end(&s) == ST_OK) == good);
}

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
    try_pieces(copy, size, snapshot_check(&back, copy, size) == ST_OK);
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
    bool good = snapshot_check(&info, data, size) == ST_OK;

    if (size < SNAPSHOT_HEADER) {
        CHECK(!good);
        return 0;
    }
    try_pieces(data, size, good);
    if (size == SNAPSHOT_HEADER)
        return 0;
    copy = malloc(size);
    CHECK(copy);
    memcpy(copy, data, size);
    try_sealed(copy, size);
    free(copy);
    return 0;
}
