/* SPDX-License-Identifier: Apache-2.0 */
/* The table of merges, and the merging of one word through a heap.
 *
 * An entry of the heap may be stale, because a neighbour has merged since it
 * was pushed.  It is recognised when it is popped: the pair that stands at its
 * place now has another rank, or none. */
#include "model/bpe.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "model/unicode.h"

#define NOWHERE UINT32_MAX

enum {
    KEEP_SYMBOLS = 1 << 20, /* working memory that outlives a word */
    MEMO_SLOTS = 1 << 14,   /* a MiB in all */
    MEMO_BYTES = 22,
    MEMO_IDS = 10
};

/* One slot a hash value: a newer word takes the place of an older one. */
struct bpe_memo {
    int32_t id[MEMO_IDS];
    uint8_t n_id; /* 0: empty */
    uint8_t len;
    char word[MEMO_BYTES];
};

/* ------------------------------------------------------------- merges --- */

/* "<0xNN>" is the byte's token beside characters. */
static int32_t
find_byte(const bpe *b, int byte)
{
    char name[8];
    char alone = (char)byte;

    if (!b->set.chars)
        return vocab_find(b->vocab, &alone, 1);
    (void)snprintf(name, sizeof(name), "<0x%02X>", (unsigned)byte);
    return vocab_find(b->vocab, name, 6);
}

static status
find_units(bpe *b)
{
    for (int i = 0; i < 256; i++) {
        b->byte_id[i] = find_byte(b, i);
        if (b->byte_id[i] < 0 && b->set.fallback)
            return status_fail(ST_ARG, "the vocabulary lacks byte 0x%02x", i);
    }
    for (uint32_t i = 0; i < b->vocab->n_token; i++)
        if (b->vocab->token[i].indexed && b->longest < b->vocab->token[i].len)
            b->longest = b->vocab->token[i].len;
    for (int i = 0; i < 128; i++) {
        char c = (char)i;

        b->ascii_id[i] = vocab_find(b->vocab, &c, 1);
    }
    return ST_OK;
}

status
bpe_init(bpe *b, const vocab *v, const bpe_setup *set)
{
    size_t n_slot = 16;
    status st;

    memset(b, 0, sizeof(*b));
    b->vocab = v;
    b->set = *set;
    TRY(find_units(b));
    while (n_slot < 2 * set->n_merge)
        n_slot *= 2;
    TRY(mem_new(&b->merge, n_slot, sizeof(*b->merge)));
    for (size_t i = 0; i < n_slot; i++)
        b->merge[i].pair = BPE_FREE;
    b->merge_mask = n_slot - 1;
    TRY(seam_init(&b->seam, set->chars ? set->n_merge : 0, v->seed));

fail:
    return st;
}

void
bpe_fini(bpe *b)
{
    seam_fini(&b->seam);
    mem_free(b->merge);
    memset(b, 0, sizeof(*b));
}

static uint64_t
pair_of(int32_t left, int32_t right)
{
    return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

static bpe_merge *
slot_of(const bpe *b, int32_t left, int32_t right)
{
    uint64_t pair = pair_of(left, right);
    size_t i =
        vocab_mix(pair ^ b->vocab->seed, 0x9e3779b97f4a7c15u) & b->merge_mask;

    while (b->merge[i].pair != pair && b->merge[i].pair != BPE_FREE)
        i = (i + 1) & b->merge_mask;
    return &b->merge[i];
}

/* NULL: the two do not merge. */
static const bpe_merge *
find_merge(const bpe *b, int32_t left, int32_t right)
{
    const bpe_merge *m = slot_of(b, left, right);

    return m->pair != BPE_FREE ? m : NULL;
}

static bool
is_byte(const bpe *b, int32_t id)
{
    for (int i = 0; i < 256; i++)
        if (b->byte_id[i] == id)
            return true;
    return false;
}

/* A pair that comes twice keeps its later rank, as in the library that writes
 * these files. */
status
bpe_add(bpe *b, uint32_t rank, const char *word, size_t n_left, size_t n_right)
{
    int32_t left = vocab_find(b->vocab, word, n_left);
    int32_t right = vocab_find(b->vocab, word + n_left, n_right);
    int32_t id = vocab_find(b->vocab, word, n_left + n_right);

    if (left < 0 || right < 0 || id < 0)
        return status_fail(ST_ARG, "merge %u: a part or the whole is no token",
                           rank);
    if (b->vocab->token[id].kind == VOCAB_SPECIAL)
        return status_fail(ST_ARG, "merge %u makes a special token", rank);
    if (b->set.fallback && (is_byte(b, left) || is_byte(b, right)))
        return status_fail(ST_UNSUPPORTED, "merge %u of a byte's token", rank);
    *slot_of(b, left, right) = (bpe_merge){pair_of(left, right), rank, id};
    if (b->set.chars)
        seam_cross(&b->seam, unicode_before(word, n_left),
                   unicode_at(word + n_left, n_right, 0));
    return ST_OK;
}

/* ---------------------------------------------------------------- ids --- */

status
bpe_ids_add(bpe_ids *ids, const int32_t *id, size_t n)
{
    status st;

    if (n > ids->cap - ids->n) {
        size_t cap = 2 * ids->cap + n + 64;

        TRY(mem_resize(&ids->id, cap, sizeof(*ids->id)));
        ids->cap = cap;
    }
    memcpy(ids->id + ids->n, id, n * sizeof(*id));
    ids->n += n;
    return ST_OK;

fail:
    return st;
}

/* --------------------------------------------------------------- heap --- */

static void
sift_down(uint64_t *heap, size_t n, size_t i)
{
    uint64_t key = heap[i];

    for (size_t child = 2 * i + 1; child < n; child = 2 * i + 1) {
        if (child + 1 < n && heap[child + 1] < heap[child])
            child++;
        if (heap[child] >= key)
            break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = key;
}

static void
make_heap(bpe_scratch *s)
{
    for (size_t i = s->n_heap / 2; i-- > 0;)
        sift_down(s->heap, s->n_heap, i);
}

static uint64_t
heap_pop(bpe_scratch *s)
{
    uint64_t least = s->heap[0];

    s->heap[0] = s->heap[--s->n_heap];
    if (s->n_heap > 0)
        sift_down(s->heap, s->n_heap, 0);
    return least;
}

static status
heap_reserve(bpe_scratch *s, size_t n)
{
    size_t cap = s->heap_cap + s->heap_cap / 2;
    status st;

    if (n <= s->heap_cap)
        return ST_OK;
    cap = cap > n ? cap : n;
    TRY(mem_resize(&s->heap, cap, sizeof(*s->heap)));
    s->heap_cap = cap;
    return ST_OK;

fail:
    return st;
}

static void
heap_push(bpe_scratch *s, uint64_t key)
{
    size_t i = s->n_heap++;

    while (i > 0 && s->heap[(i - 1) / 2] > key) {
        s->heap[i] = s->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    s->heap[i] = key;
}

/* --------------------------------------------------------------- word --- */

/* The merge of the symbol at `left` and its right neighbour; NULL: none. */
static const bpe_merge *
merge_at(const bpe *b, const bpe_scratch *s, uint32_t left)
{
    uint32_t right = s->symbol[left].right;

    if (right == NOWHERE)
        return NULL;
    return find_merge(b, s->symbol[left].id, s->symbol[right].id);
}

static uint64_t
key_of(const bpe_merge *m, uint32_t left)
{
    return (uint64_t)m->rank << 32 | left;
}

/* The token of one character; -1: none.  One that is special is text here. */
static int32_t
char_id(const bpe *b, const char *c, size_t n)
{
    int32_t id =
        n == 1 ? b->ascii_id[(unsigned char)c[0]] : vocab_find(b->vocab, c, n);

    return id < 0 || b->vocab->token[id].kind == VOCAB_SPECIAL ? -1 : id;
}

/* What stands for something that is no token. */
static uint32_t
add_unknown(const bpe *b, bpe_scratch *s, uint32_t n, bool *unknown)
{
    bool fused = *unknown && b->set.fuse_unk;

    *unknown = true;
    if (b->set.unk < 0 || fused)
        return n;
    s->symbol[n].id = b->set.unk;
    return n + 1;
}

static uint32_t
add_bytes(const bpe *b, bpe_scratch *s, uint32_t n, const char *c, size_t len)
{
    for (size_t i = 0; i < len; i++)
        s->symbol[n++].id = b->byte_id[(unsigned char)c[i]];
    return n;
}

/* The symbols that a word starts as; their number. */
static uint32_t
split_word(const bpe *b, bpe_scratch *s, const char *word, size_t len)
{
    bool unknown = false;
    uint32_t n = 0;
    size_t width = 1;

    for (size_t at = 0; at < len; at += width) {
        int32_t id;

        if (b->set.chars) {
            (void)utf8_next(word + at, len - at, &width);
            id = char_id(b, word + at, width);
        } else {
            id = b->byte_id[(unsigned char)word[at]];
        }
        if (id < 0 && !b->set.fallback) {
            n = add_unknown(b, s, n, &unknown);
            continue;
        }
        if (id < 0)
            n = add_bytes(b, s, n, word + at, width);
        else
            s->symbol[n++].id = id;
        unknown = false;
    }
    return n;
}

static status
start_word(const bpe *b, bpe_scratch *s, const char *word, size_t len)
{
    uint32_t n;
    status st;

    if (len > s->symbol_cap) {
        TRY(mem_resize(&s->symbol, len + 64, sizeof(*s->symbol)));
        s->symbol_cap = len + 64;
    }
    TRY(heap_reserve(s, len));
    n = split_word(b, s, word, len);
    for (uint32_t i = 0; i < n; i++) {
        s->symbol[i].left = i > 0 ? i - 1 : NOWHERE;
        s->symbol[i].right = i + 1 < n ? i + 1 : NOWHERE;
    }
    s->n_symbol = n;
    s->n_heap = 0;
    for (uint32_t i = 0; i + 1 < n; i++) {
        const bpe_merge *m = merge_at(b, s, i);

        if (m != NULL)
            s->heap[s->n_heap++] = key_of(m, i);
    }
    make_heap(s);
    return ST_OK;

fail:
    return st;
}

static void
join(bpe_scratch *s, uint32_t left, int32_t id)
{
    uint32_t right = s->symbol[left].right;
    uint32_t after = s->symbol[right].right;

    s->symbol[left].id = id;
    s->symbol[left].right = after;
    if (after != NOWHERE)
        s->symbol[after].left = left;
    s->symbol[right].id = -1;
}

static void
push_pair(const bpe *b, bpe_scratch *s, uint32_t left)
{
    const bpe_merge *m = left != NOWHERE ? merge_at(b, s, left) : NULL;

    if (m != NULL)
        heap_push(s, key_of(m, left));
}

static status
merge_word(const bpe *b, bpe_scratch *s)
{
    status st;

    while (s->n_heap > 0) {
        uint64_t key = heap_pop(s);
        uint32_t at = (uint32_t)key;
        const bpe_merge *m;

        if (s->symbol[at].id < 0)
            continue;
        m = merge_at(b, s, at);
        if (m == NULL || key_of(m, at) != key)
            continue;
        join(s, at, m->id);
        TRY(heap_reserve(s, s->n_heap + 2));
        push_pair(b, s, s->symbol[at].left);
        push_pair(b, s, at);
    }
    return ST_OK;

fail:
    return st;
}

/* A giant word must not leave its memory behind. */
static void
trim(bpe_scratch *s)
{
    if (s->symbol_cap <= KEEP_SYMBOLS)
        return;
    mem_free(s->symbol);
    mem_free(s->heap);
    s->symbol = NULL;
    s->heap = NULL;
    s->symbol_cap = 0;
    s->heap_cap = 0;
}

static bpe_memo *
memo_of(const bpe *b, const bpe_scratch *s, const char *word, size_t len)
{
    if (len > MEMO_BYTES)
        return NULL;
    return &s->memo[vocab_hash(b->vocab->seed, word, len) & (MEMO_SLOTS - 1)];
}

static void
remember(bpe_memo *memo, const char *word, size_t len, const bpe_ids *ids,
         size_t first)
{
    size_t n_id = ids->n - first;

    if (memo == NULL || n_id > MEMO_IDS || n_id == 0)
        return;
    memcpy(memo->id, ids->id + first, n_id * sizeof(*ids->id));
    memcpy(memo->word, word, len);
    memo->n_id = (uint8_t)n_id;
    memo->len = (uint8_t)len;
}

status
bpe_merged(const bpe *b, bpe_scratch *s, const char *word, size_t len,
           bpe_ids *out)
{
    status st;

    TRY(start_word(b, s, word, len));
    TRY(merge_word(b, s));
    /* The first symbol is never merged into another: it starts the chain. */
    for (uint32_t i = s->n_symbol > 0 ? 0 : NOWHERE; i != NOWHERE;
         i = s->symbol[i].right)
        TRY(bpe_ids_add(out, &s->symbol[i].id, 1));

fail:
    trim(s);
    return st;
}

status
bpe_word(const bpe *b, bpe_scratch *s, const char *word, size_t len,
         bpe_ids *out)
{
    bpe_memo *memo = memo_of(b, s, word, len);
    size_t first = out->n;
    status st;

    if (memo != NULL && memo->n_id > 0 && memo->len == len &&
        memcmp(memo->word, word, len) == 0)
        return bpe_ids_add(out, memo->id, memo->n_id);
    if (b->set.ignore_merges) {
        int32_t id = vocab_find(b->vocab, word, len);

        if (id >= 0 && b->vocab->token[id].kind != VOCAB_SPECIAL)
            return bpe_ids_add(out, &id, 1);
    }
    TRY(bpe_merged(b, s, word, len, out));
    remember(memo, word, len, out, first);

fail:
    return st;
}

void
bpe_part(const bpe *b, const char *text, size_t len, size_t at, size_t *end)
{
    uint32_t before = 0;
    size_t width;

    /* Unknown neighbours may have to become one. */
    if (!b->set.fallback) {
        *end = len;
        return;
    }
    for (size_t i = at; i < len; i += width) {
        uint32_t c;

        (void)utf8_next(text + i, len - i, &width);
        c = utf8_value(text + i, width);
        if (i > at && !seam_is_crossed(&b->seam, before, c)) {
            *end = i;
            return;
        }
        before = c;
    }
    *end = len;
}

status
bpe_scratch_init(bpe_scratch *s)
{
    status st;

    memset(s, 0, sizeof(*s));
    TRY(mem_new(&s->memo, MEMO_SLOTS, sizeof(*s->memo)));
    return ST_OK;

fail:
    return st;
}

void
bpe_scratch_fini(bpe_scratch *s)
{
    mem_free(s->memo);
    mem_free(s->heap);
    mem_free(s->symbol);
    memset(s, 0, sizeof(*s));
}
