/* SPDX-License-Identifier: Apache-2.0 */
/* Byte-pair merging of one word (Sennrich et al. 2016, arXiv:1508.07909).
 *
 * A word starts as one token a byte, or one a character.  Of all neighbours
 * that a merge names, the pair of lowest rank, leftmost among equals, becomes
 * one token, until no neighbours are named.  Internal to the tokenizer. */
#ifndef MODEL_BPE_H
#define MODEL_BPE_H

#include "model/seam.h"
#include "model/vocab.h"

typedef struct bpe_merge {
    uint64_t pair; /* left id << 32 | right id; BPE_FREE: unused */
    uint32_t rank;
    int32_t id; /* what the two become */
} bpe_merge;

#define BPE_FREE UINT64_MAX

typedef struct bpe_setup {
    bool chars;         /* a word starts as characters, else as bytes */
    bool fallback;      /* a character that is no token is its bytes' tokens */
    bool fuse_unk;      /* unknown neighbours are one unknown token */
    bool ignore_merges; /* a word that is a token is that token */
    int32_t unk;        /* token of what is none; -1: it is left out */
    size_t n_merge;     /* at most */
} bpe_setup;

/* Read only once it is filled. */
typedef struct bpe {
    const vocab *vocab;
    bpe_setup set;
    int32_t byte_id[256]; /* -1: none */
    int32_t ascii_id[128];
    uint32_t longest; /* bytes of any token of the vocabulary */
    bpe_merge *merge; /* hash table */
    size_t merge_mask;
    seam seam; /* of characters, with `chars` */
} bpe;

/* Borrows `v`, which is indexed.  ST_ARG: a byte's own token is missing that
 * `fallback` needs. */
status bpe_init(bpe *b, const vocab *v, const bpe_setup *set) MUST_USE;
void bpe_fini(bpe *b); /* zeroed is fine */

/* The merge of word[0..n_left) and the n_right bytes behind.  ST_ARG: a part
 * or the whole is no token, or the whole is a special one, which text alone
 * must not make. */
status bpe_add(bpe *b, uint32_t rank, const char *word, size_t n_left,
               size_t n_right) MUST_USE;

/* ids that grow */
typedef struct bpe_ids {
    int32_t *id;
    size_t n, cap;
} bpe_ids;
status bpe_ids_add(bpe_ids *ids, const int32_t *id, size_t n) MUST_USE;

/* Working memory of one thread: grows with the longest word, and remembers
 * short words. */
typedef struct bpe_symbol {
    int32_t id; /* -1: merged into its left neighbour */
    uint32_t left, right;
} bpe_symbol;

typedef struct bpe_memo bpe_memo;

typedef struct bpe_scratch {
    bpe_symbol *symbol;
    uint32_t n_symbol; /* that the last word started as */
    size_t symbol_cap;
    uint64_t *heap; /* rank << 32 | place of the left symbol, least first */
    size_t n_heap, heap_cap;
    bpe_memo *memo;
} bpe_scratch;

status bpe_scratch_init(bpe_scratch *s) MUST_USE;
void bpe_scratch_fini(bpe_scratch *s); /* zeroed is fine */

/* Adds the tokens of word[0..len), 0 < len < UINT32_MAX.
 * O(len log len) time. */
status bpe_word(const bpe *b, bpe_scratch *s, const char *word, size_t len,
                bpe_ids *out) MUST_USE;

/* The same, always by merging: no word is taken for a token as a whole. */
status bpe_merged(const bpe *b, bpe_scratch *s, const char *word, size_t len,
                  bpe_ids *out) MUST_USE;

/* Where no merge crosses between the characters of a word: a word may be
 * merged in parts that end there.  *end > at: the first such place behind
 * text[at], or len. */
void bpe_part(const bpe *b, const char *text, size_t len, size_t at,
              size_t *end);

#endif
