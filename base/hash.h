/* SPDX-License-Identifier: Apache-2.0 */
/* BLAKE2b-256, and a short hash for tables.  The owner of libsodium; absent
 * from an engine-only build. */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

enum { HASH_BYTES = 32, HASH_SHORT_KEY = 16 };

typedef struct hash {
    _Alignas(64) unsigned char opaque[384];
} hash;

void hash_init(hash *h);
void hash_add(hash *h, const void *data, size_t len);
void hash_end(hash *h, uint8_t out[HASH_BYTES]);
void hash_of(uint8_t out[HASH_BYTES], const void *data, size_t len);
bool hash_is_zero(const uint8_t in[HASH_BYTES]); /* what stands for none */
/* 64 hex digits and NUL. */
void hash_hex(char out[2 * HASH_BYTES + 1], const uint8_t in[HASH_BYTES]);
/* SipHash-2-4: who does not know the key cannot make data that fall together.
 */
uint64_t hash_short(const uint8_t key[HASH_SHORT_KEY], const void *data,
                    size_t len);
/* Fills with unpredictable bytes of the system. */
void hash_random(void *out, size_t len);

#endif
