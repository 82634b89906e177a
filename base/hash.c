/* SPDX-License-Identifier: Apache-2.0 */
/* BLAKE2b-256, SipHash and random bytes: the owner of libsodium. */
#include "base/hash.h"

#include <sodium.h>

_Static_assert(sizeof(((hash *)0)->opaque) >= sizeof(crypto_generichash_state),
               "hash has room for libsodium's state");

static crypto_generichash_state *
state(hash *h)
{
    return (crypto_generichash_state *)(void *)h->opaque;
}

void
hash_init(hash *h)
{
    /* Picks the fastest implementation; cheap and thread-safe afterwards. */
    ASSERT(sodium_init() >= 0);
    ASSERT(crypto_generichash_init(state(h), NULL, 0, HASH_BYTES) == 0);
}

void
hash_add(hash *h, const void *data, size_t len)
{
    ASSERT(crypto_generichash_update(state(h), data, len) == 0);
}

void
hash_end(hash *h, uint8_t out[HASH_BYTES])
{
    ASSERT(crypto_generichash_final(state(h), out, HASH_BYTES) == 0);
}

void
hash_of(uint8_t out[HASH_BYTES], const void *data, size_t len)
{
    hash h;

    hash_init(&h);
    hash_add(&h, data, len);
    hash_end(&h, out);
}

bool
hash_is_zero(const uint8_t in[HASH_BYTES])
{
    return sodium_is_zero(in, HASH_BYTES);
}

void
hash_hex(char out[2 * HASH_BYTES + 1], const uint8_t in[HASH_BYTES])
{
    (void)sodium_bin2hex(out, 2 * HASH_BYTES + 1, in, HASH_BYTES);
}

uint64_t
hash_short(const uint8_t key[HASH_SHORT_KEY], const void *data, size_t len)
{
    uint64_t h;

    _Static_assert(sizeof(h) == crypto_shorthash_BYTES &&
                       HASH_SHORT_KEY == crypto_shorthash_KEYBYTES,
                   "libsodium's SipHash has these sizes");
    ASSERT(crypto_shorthash((unsigned char *)&h, data, len, key) == 0);
    return h;
}

void
hash_random(void *out, size_t len)
{
    ASSERT(sodium_init() >= 0);
    randombytes_buf(out, len);
}
