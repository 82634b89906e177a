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
/* Euclidean norm of each layer's state of a checked snapshot whose payload is
 * F32, the same number of them a layer; norm[n_layer]. */
void snapshot_norms(float *norm, const uint8_t *data,
                    const snapshot_info *info);
/* Checks magic, version, length, hash and that every float is finite; of 16-bit
 * numbers, every other one. */
status snapshot_check(snapshot_info *out, const uint8_t *data,
                      size_t len) MUST_USE;

#endif
