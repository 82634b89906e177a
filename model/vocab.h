/* SPDX-License-Identifier: Apache-2.0 */
/* The tokens of a tokenizer: bytes by id, and ids by bytes.
 *
 * Internal to the tokenizer.  Filled once, then read only. */
#ifndef MODEL_VOCAB_H
#define MODEL_VOCAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

enum { VOCAB_MAX = 1 << 20 }; /* ids */

typedef enum vocab_kind {
    VOCAB_NONE = 0, /* no such token */
    VOCAB_PLAIN,    /* made of bytes by merging */
    VOCAB_ODD,      /* listed with them, but no bytes make it */
    VOCAB_ADDED,    /* found as a whole in the text, part of answers */
    VOCAB_SPECIAL   /* the same, but no text: begin, end, roles, ... */
} vocab_kind;

typedef struct vocab_token {
    uint32_t at; /* in bytes */
    uint32_t len;
    vocab_kind kind;
    bool indexed; /* was put as VOCAB_PLAIN first */
} vocab_token;

typedef struct vocab {
    vocab_token *token; /* by id */
    uint32_t n_token;
    char *bytes;
    size_t bytes_len, bytes_cap;
    int32_t *slot; /* hash table of ids, -1: free */
    size_t slot_mask;
    uint64_t seed;
} vocab;

/* Room for ids below n_token <= VOCAB_MAX and `n_byte` bytes in all. */
status vocab_init(vocab *v, uint32_t n_token, size_t n_byte) MUST_USE;
void vocab_fini(vocab *v); /* zeroed is fine */

/* Defines a token, or changes the kind of one with the very same bytes (which
 * stays findable).  ST_ARG: the id has other bytes, or is out of range. */
status vocab_put(vocab *v, int64_t id, vocab_kind kind, const char *bytes,
                 size_t len) MUST_USE;

/* After the last vocab_put(): makes tokens that were put as plain findable.
 * ST_ARG: two of them have the same bytes. */
status vocab_index(vocab *v) MUST_USE;

/* Id of the findable token with these bytes; -1: none. */
int32_t vocab_find(const vocab *v, const char *bytes, size_t len);

/* 64 bits of hash.  The seed is secret and new for each tokenizer: a file
 * made to collide would otherwise make tables as slow as lists. */
uint64_t vocab_hash(uint64_t seed, const char *bytes, size_t len);
uint64_t vocab_mix(uint64_t a, uint64_t b);

#endif
