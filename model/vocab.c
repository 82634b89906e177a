/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens by id, and a hash table of those that merging can make. */
#include "model/vocab.h"

#include <string.h>

#include "base/hash.h"
#include "base/mem.h"

__extension__ typedef unsigned __int128 wide;

/* Both halves of the product: every bit of a and b reaches many of these. */
uint64_t
vocab_mix(uint64_t a, uint64_t b)
{
    wide product = (wide)a * b;

    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

uint64_t
vocab_hash(uint64_t seed, const char *bytes, size_t len)
{
    uint64_t mixed = seed ^ len;
    uint64_t part = 0;

    while (len >= sizeof(part)) {
        memcpy(&part, bytes, sizeof(part));
        mixed = vocab_mix(mixed ^ part, 0x9e3779b97f4a7c15u);
        bytes += sizeof(part);
        len -= sizeof(part);
    }
    part = 0;
    memcpy(&part, bytes, len);
    return vocab_mix(mixed ^ part, 0xd6e8feb86659fd93u);
}

status
vocab_init(vocab *v, uint32_t n_token, size_t n_byte)
{
    status st;

    memset(v, 0, sizeof(*v));
    ASSERT(n_token <= VOCAB_MAX && n_byte <= UINT32_MAX);
    TRY(mem_new(&v->token, n_token, sizeof(*v->token)));
    TRY(mem_new(&v->bytes, n_byte, 1));
    v->n_token = n_token;
    v->bytes_cap = n_byte;
    /* An odd seed is never zero, which the product would not leave. */
    hash_random(&v->seed, sizeof(v->seed));
    v->seed |= 1;
    return ST_OK;

fail:
    vocab_fini(v);
    return st;
}

void
vocab_fini(vocab *v)
{
    mem_free(v->slot);
    mem_free(v->bytes);
    mem_free(v->token);
    memset(v, 0, sizeof(*v));
}

status
vocab_put(vocab *v, int64_t id, vocab_kind kind, const char *bytes, size_t len)
{
    vocab_token *t;

    if (id < 0 || id >= v->n_token)
        return status_fail(ST_ARG, "token id %lld is out of range",
                           (long long)id);
    t = &v->token[id];
    if (t->kind == VOCAB_NONE) {
        ASSERT(len <= v->bytes_cap - v->bytes_len);
        t->at = (uint32_t)v->bytes_len;
        t->len = (uint32_t)len;
        memcpy(v->bytes + v->bytes_len, bytes, len);
        v->bytes_len += len;
        t->indexed = kind == VOCAB_PLAIN;
    } else if (t->len != len || memcmp(v->bytes + t->at, bytes, len) != 0) {
        return status_fail(ST_ARG, "token id %lld is given to two tokens",
                           (long long)id);
    }
    t->kind = kind;
    return ST_OK;
}

static bool
is_at(const vocab *v, int32_t id, const char *bytes, size_t len)
{
    const vocab_token *t = &v->token[id];

    return t->len == len && memcmp(v->bytes + t->at, bytes, len) == 0;
}

/* The slot that has the token, or the free one where it belongs. */
static size_t
slot_of(const vocab *v, const char *bytes, size_t len)
{
    size_t i = vocab_hash(v->seed, bytes, len) & v->slot_mask;

    while (v->slot[i] >= 0 && !is_at(v, v->slot[i], bytes, len))
        i = (i + 1) & v->slot_mask;
    return i;
}

status
vocab_index(vocab *v)
{
    size_t n_slot = 16;
    status st;

    TRY(mem_resize(&v->bytes, v->bytes_len, 1));
    v->bytes_cap = v->bytes_len;
    while (n_slot < 2 * (size_t)v->n_token)
        n_slot *= 2;
    TRY(mem_new(&v->slot, n_slot, sizeof(*v->slot)));
    memset(v->slot, 0xff, n_slot * sizeof(*v->slot));
    v->slot_mask = n_slot - 1;
    for (uint32_t id = 0; id < v->n_token; id++) {
        const vocab_token *t = &v->token[id];
        size_t i;

        if (!t->indexed)
            continue;
        i = slot_of(v, v->bytes + t->at, t->len);
        if (v->slot[i] >= 0)
            return status_fail(ST_ARG, "tokens %d and %u have the same bytes",
                               v->slot[i], id);
        v->slot[i] = (int32_t)id;
    }
    return ST_OK;

fail:
    return st;
}

int32_t
vocab_find(const vocab *v, const char *bytes, size_t len)
{
    return v->slot[slot_of(v, bytes, len)];
}
