/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of a document: a header and the states of all layers.
 *
 *   0   8  magic "LWSNAP\0\1"
 *   8   4  version, 2                      (all numbers little-endian)
 *  12   4  n_layer
 *  16   8  bytes of the payload
 *  24   8  segments written
 *  32  32  fingerprint of the model
 *  64  32  BLAKE2b-256 of header bytes 0 .. 63 and the payload
 *  96      payload: the states of layer 0 .. n_layer - 1 behind each other, as
 *          the model's memory lays them out (model/memory.h)
 *
 * A snapshot is hostile until snapshot_check() has passed. */
#ifndef PROTO_SNAPSHOT_H
#define PROTO_SNAPSHOT_H

#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/status.h"

enum { SNAPSHOT_HEADER = 96 };

typedef struct snapshot_info {
    uint32_t n_layer;
    uint64_t state_bytes; /* of all layers */
    uint64_t n_segment;
    uint8_t fingerprint[32];
} snapshot_info;

/* Header and payload bytes; ST_LIMIT on overflow. */
status snapshot_bytes(size_t *out, uint64_t state_bytes) MUST_USE;
/* Fills the header of data[len], whose payload is in place. */
status snapshot_seal(uint8_t *data, size_t len,
                     const snapshot_info *info) MUST_USE;
/* Checks magic, version, length, hash and that every float is finite; of 16-bit
 * numbers, every other one. */
status snapshot_check(snapshot_info *out, const uint8_t *data,
                      size_t len) MUST_USE;

/* The same of one that comes in pieces. */
typedef struct snapshot_scan {
    snapshot_info info; /* believed when snapshot_scan_end() has passed */
    float *norm;        /* NULL, or where the Euclidean norm of each layer's
                           state goes: F32, the same number of them a layer,
                           which is not 0 */
    uint8_t expected[32];
    hash sum;
    uint64_t n;    /* numbers that were looked at */
    uint64_t wild; /* the first that is not finite; UINT64_MAX: none */
    uint64_t bytes;
    double square; /* of the layer that is looked at */
} snapshot_scan;
/* The header of one that has `len` bytes in all; sets all but `norm`, which is
 * for the caller to set then, with room for info.n_layer. */
status snapshot_scan_begin(snapshot_scan *s,
                           const uint8_t head[SNAPSHOT_HEADER],
                           uint64_t len) MUST_USE;
/* The next bytes of the payload; all but the last ones a multiple of 4. */
void snapshot_scan_add(snapshot_scan *s, const uint8_t *data, size_t len);
status snapshot_scan_end(snapshot_scan *s) MUST_USE;

#endif
