/* SPDX-License-Identifier: Apache-2.0 */
/* Causal attention, block by block with a running softmax (Dao et al. 2022,
 * arXiv:2205.14135). */
#include <math.h>
#include <string.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/product.h"
#include "kernels/cpu/simd.h"
#include "kernels/cpu/vexp.h"

/* An item is one head and up to QUERIES rows; it walks over the keys that its
 * rows see in blocks of KEYS, those of the cell first, then the window's.
 * Scores of a block, 144 KiB, stay in the second cache until the values have
 * been added; more rows would push them out, fewer lay keys out too often. */
enum { QUERIES = 96, KEYS = 384, VECTOR = 16 };

/* Keys with their values, of which each row sees one run. */
typedef struct source {
    const float *k, *v; /* first row */
    size_t ld_k, ld_v;
    bool is_window;
} source;

typedef struct part {
    const float *q; /* first query row */
    float *out;
    size_t ld_q, ld_out;
    size_t n_query, d_head;
    size_t late;      /* the first query that is wanted */
    size_t past;      /* index of the first query: keys before it */
    size_t first_mem; /* the first query that is a memory token, or more */
    size_t n_key;     /* of the cell, with those in the cache */
    size_t n_window;  /* rows of the segment before; 0: none */
    bool slides;      /* with a window: old keys of the cell fall out */
    const kernel_attention_args *a;
    float *score; /* [n_query, KEYS] */
    const cpu_item *item;
    float *top; /* [n_query] largest score so far */
    float *sum; /* [n_query] of exp(score - top) so far; 0: no key yet */
} part;

static uint32_t
count(const device_op *op, const kernel_cell *cell)
{
    return (uint32_t)op->u.attention.n_head *
           cpu_ceil_div(cell->n_row, QUERIES);
}

/* Which rows of the window query i sees. */
static cpu_range
sees_window(const part *t, size_t i)
{
    size_t p = t->past + i, token;

    if (p < t->a->n_sink)
        return (cpu_range){0, 0};
    if (i >= t->first_mem)
        return (cpu_range){0, t->n_window};
    token = p - t->a->n_sink;
    return (cpu_range){token, token < t->n_window ? t->n_window - token : 0};
}

/* Which keys of the cell query i sees. */
static cpu_range
sees_own(const part *t, size_t i)
{
    size_t p = t->past + i;
    size_t reach = t->n_window + t->a->n_sink;
    size_t first = 0;

    if (i >= t->first_mem && t->a->open_mem)
        return (cpu_range){0, t->n_key};
    if (t->a->span > 0 && p + 1 > t->a->span)
        first = p + 1 - t->a->span;
    if (t->slides && i < t->first_mem && p > reach && p - reach > first)
        first = p - reach;
    return (cpu_range){first, p + 1 - first};
}

/* What query i sees of the n_key keys from k0 on, counted from k0. */
static cpu_range
sees(const part *t, const source *s, size_t i, cpu_range keys)
{
    cpu_range all = s->is_window ? sees_window(t, i) : sees_own(t, i);
    size_t first = all.first > keys.first ? all.first : keys.first;
    size_t end = all.first + all.n;

    end = end < keys.first + keys.n ? end : keys.first + keys.n;
    return (cpu_range){first - keys.first, end > first ? end - first : 0};
}

/* score := exp(score - top) for the scores that the query sees, 0 for the
 * rest of the block; gives their sum and the new top.  What is below e^-80 of
 * the top is 0, which also keeps tiny numbers out of the product behind.  The
 * loops run over whole vectors: a rest done one by one would cost as much. */
SIMD_INLINE float
weigh(float *restrict score, cpu_range seen, size_t width, float *top)
{
    float largest = *top;
    float sum = 0.0F;
    size_t from = seen.first / VECTOR * VECTOR;
    size_t end = seen.first + seen.n;
    size_t whole = (end + VECTOR - 1) / VECTOR * VECTOR;

    for (size_t i = from; i < seen.first; i++)
        score[i] = -INFINITY;
    for (size_t i = end; i < whole; i++)
        score[i] = -INFINITY;
#pragma omp simd reduction(max : largest)
    for (size_t i = from; i < whole; i++)
        largest = score[i] > largest ? score[i] : largest;
#pragma omp simd reduction(+ : sum)
    for (size_t i = from; i < whole; i++) {
        float s = score[i] - largest;
        float e = s < -80.0F ? 0.0F : vexp(s);

        score[i] = e;
        sum += e;
    }
    for (size_t i = 0; i < from; i++)
        score[i] = 0.0F;
    for (size_t i = whole; i < width; i++)
        score[i] = 0.0F;
    *top = largest;
    return sum;
}

SIMD_INLINE void
scale(float *x, size_t n, float factor)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        x[i] *= factor;
}

/* The softmax's step over one block of scores, for some queries. */
SIMD_CLONES static void
weigh_block(const part *t, const source *s, cpu_range rows, cpu_range keys)
{
    for (size_t i = rows.first; i < rows.first + rows.n; i++) {
        cpu_range seen = sees(t, s, i, keys);
        float *score = t->score + i * KEYS;
        float before = t->top[i];
        float sum;

        if (seen.n == 0) {
            memset(score, 0, keys.n * sizeof(*score));
            continue;
        }
        sum = weigh(score, seen, keys.n, &t->top[i]);
        if (t->sum[i] != 0.0F) {
            float kept = vexp(before - t->top[i]);

            scale(t->out + i * t->ld_out, t->d_head, kept);
            sum += t->sum[i] * kept;
        }
        t->sum[i] = sum;
    }
}

SIMD_CLONES static void
divide_block(const part *t)
{
    for (size_t i = t->late; i < t->n_query; i++)
        scale(t->out + i * t->ld_out, t->d_head, 1.0F / t->sum[i]);
}

/* Queries from the first to the last that see some of the keys. */
static cpu_range
seeing(const part *t, const source *s, cpu_range keys)
{
    size_t first = 0, end = t->n_query;

    while (first < end && sees(t, s, first, keys).n == 0)
        first++;
    while (end > first && sees(t, s, end - 1, keys).n == 0)
        end--;
    return (cpu_range){first, end - first};
}

/* Those of some queries that are wanted. */
static cpu_range
wanted(const part *t, cpu_range rows)
{
    size_t end = rows.first + rows.n;
    size_t first = rows.first > t->late ? rows.first : t->late;

    return (cpu_range){first, end > first ? end - first : 0};
}

/* Whether the values may simply be put to `out`: no row has any yet.  Where
 * some have, the others begin at zero. */
static bool
begin(const part *t, cpu_range rows)
{
    size_t n_new = 0;

    for (size_t i = rows.first; i < rows.first + rows.n; i++)
        n_new += t->sum[i] == 0.0F ? 1 : 0;
    if (n_new == rows.n)
        return true;
    for (size_t i = rows.first; n_new > 0 && i < rows.first + rows.n; i++)
        if (t->sum[i] == 0.0F)
            memset(t->out + i * t->ld_out, 0, t->d_head * sizeof(float));
    return false;
}

/* Scores of some keys for those of the queries `all` that are wanted, and what
 * they add to `out`.  Where the diagonal crosses the block, only what lies
 * below is computed.  Blocks of keys, and how sums are taken, are those of a
 * part whose queries are all wanted. */
static void
key_block(const part *t, const source *s, cpu_range all, cpu_range keys)
{
    cpu_range rows = wanted(t, all);
    size_t first = rows.first;
    size_t diag = t->past + first - keys.first;
    bool open = t->a->open_mem && first + rows.n > t->first_mem;
    product scores = {.m = rows.n,
                      .n = keys.n,
                      .k = t->d_head,
                      .a = t->q + first * t->ld_q,
                      .lda = t->ld_q,
                      .b = s->k + keys.first * s->ld_k,
                      .ldb = s->ld_k,
                      .b_t = true,
                      .c = t->score + first * KEYS,
                      .ldc = KEYS,
                      .alpha = t->a->scale,
                      .tall = all.n > PRODUCT_FEW};
    product values = {.m = rows.n,
                      .n = t->d_head,
                      .k = keys.n,
                      .a = t->score + first * KEYS,
                      .lda = KEYS,
                      .b = s->v + keys.first * s->ld_v,
                      .ldb = s->ld_v,
                      .c = t->out + first * t->ld_out,
                      .ldc = t->ld_out,
                      .alpha = 1.0F,
                      .accumulate = !begin(t, rows)};

    if (!s->is_window && !open && diag + 1 < keys.n) {
        scores.part = PRODUCT_LOWER_C;
        values.part = PRODUCT_LOWER_A;
        scores.diag = values.diag = diag;
    }
    product_run(&scores, t->item->panels);
    weigh_block(t, s, rows, keys);
    product_run(&values, t->item->panels);
}

/* All keys of a source that some query sees, block by block. */
static void
attend(const part *t, const source *s, size_t n_key)
{
    size_t k0 = n_key;

    for (size_t i = 0; i < t->n_query; i++) {
        cpu_range seen = sees(t, s, i, (cpu_range){0, n_key});

        if (seen.n > 0 && seen.first < k0)
            k0 = seen.first;
    }
    for (; k0 < n_key; k0 += KEYS) {
        cpu_range keys = {k0, n_key - k0 < KEYS ? n_key - k0 : KEYS};
        cpu_range rows = seeing(t, s, keys);

        if (wanted(t, rows).n > 0)
            key_block(t, s, rows, keys);
        cpu_progress(t->item);
    }
}

/* The keys of one head in a tensor. */
static source
source_of(const cpu_item *item, const kernel_view *k, const kernel_view *v,
          size_t at)
{
    return (source){.k = cpu_at(k, item, KERNEL_ROWS_ALL) + at,
                    .ld_k = k->ld,
                    .v = cpu_at(v, item, KERNEL_ROWS_ALL) + at,
                    .ld_v = v->ld};
}

static part
part_of(const cpu_item *item)
{
    const kernel_attention_args *a = &item->op->u.attention;
    const kernel_cell *cell = item->cell;
    size_t at = item->index % a->n_head * a->d_head;
    uint32_t n_part = cpu_ceil_div(cell->n_row, QUERIES);
    cpu_range rows = cpu_part(cell->n_row, n_part, item->index / a->n_head, 1);
    bool cached = a->k.by != KERNEL_BY_CELL;
    size_t past = (cached ? cell->n_past : 0) + rows.first;
    size_t first_mem = cell->n_row - cell->n_mem;
    part t = {
        .q = cpu_at(&a->q, item, KERNEL_ROWS_ALL) + rows.first * a->q.ld + at,
        .ld_q = a->q.ld,
        .out = cpu_at(&a->out, item, KERNEL_ROWS_ALL) + rows.first * a->out.ld +
               at,
        .ld_out = a->out.ld,
        .n_query = rows.n,
        .d_head = a->d_head,
        .late = cell->n_skip > rows.first ? cell->n_skip - rows.first : 0,
        .past = past,
        .first_mem = first_mem > rows.first ? first_mem - rows.first : 0,
        .n_window = a->window_k.buf != NULL ? cell->n_window : 0,
        .a = a,
        .score = item->work,
        .item = item,
        .top = item->work + QUERIES * KEYS,
        .sum = item->work + QUERIES * KEYS + QUERIES,
    };

    t.slides = cached && t.n_window > 0;
    t.n_key = past + rows.n;
    if (a->open_mem && t.first_mem < rows.n)
        t.n_key = past - rows.first + cell->n_row;
    return t;
}

static void
run(const cpu_item *item)
{
    const kernel_attention_args *a = &item->op->u.attention;
    size_t head = item->index % a->n_head;
    size_t at = head / (a->n_head / a->n_kv) * a->d_head;
    const part t = part_of(item);
    source s = source_of(item, &a->k, &a->v, at);

    if (t.late >= t.n_query)
        return;
    for (size_t i = 0; i < t.n_query; i++) {
        t.top[i] = -INFINITY;
        t.sum[i] = 0.0F;
    }
    attend(&t, &s, t.n_key);
    if (t.n_window > 0) {
        s = source_of(item, &a->window_k, &a->window_v, at);
        s.is_window = true;
        attend(&t, &s, t.n_window);
    }
    divide_block(&t);
}

const cpu_step cpu_attention = {count, run};
