/* SPDX-License-Identifier: Apache-2.0 */
/* Causal attention, block by block with a running softmax (Dao et al. 2022,
 * arXiv:2205.14135). */
#include <math.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/product.h"
#include "kernels/cpu/simd.h"
#include "kernels/cpu/vexp.h"

/* An item is one head and up to QUERIES rows; it walks over the keys that its
 * last row sees in blocks of KEYS. */
enum { QUERIES = 288, KEYS = 384, VECTOR = 16 };

typedef struct part {
    const float *q, *k, *v; /* first query row, first key row */
    float *out;
    size_t ld_q, ld_k, ld_v, ld_out;
    size_t n_query, d_head;
    size_t past;  /* the first query sees keys 0 .. past */
    float scale;  /* of scores */
    float *score; /* [n_query, KEYS] */
    const cpu_item *item;
    float *top; /* [n_query] largest score so far */
    float *sum; /* [n_query] of exp(score - top) so far */
} part;

static uint32_t
count(const device_op *op, const kernel_cell *cell)
{
    return (uint32_t)op->u.attention.n_head *
           cpu_ceil_div(cell->n_row, QUERIES);
}

/* score := exp(score - top) for the n scores that the query sees, 0 for the
 * rest of the block; gives their sum and the new top.  What is below e^-80 of
 * the top is 0, which also keeps tiny numbers out of the product behind.  The
 * loops run over whole vectors: a rest done one by one would cost as much. */
SIMD_INLINE float
weigh(float *restrict score, size_t n, size_t width, float *top)
{
    float largest = *top;
    float sum = 0.0F;
    size_t whole = (n + VECTOR - 1) / VECTOR * VECTOR;

    for (size_t i = n; i < whole; i++)
        score[i] = -INFINITY;
#pragma omp simd reduction(max : largest)
    for (size_t i = 0; i < whole; i++)
        largest = score[i] > largest ? score[i] : largest;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < whole; i++) {
        float s = score[i] - largest;
        float e = s < -80.0F ? 0.0F : vexp(s);

        score[i] = e;
        sum += e;
    }
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

/* Queries that see nothing from key k0 on: the first ones. */
SIMD_INLINE size_t
blind_rows(const part *t, size_t k0)
{
    return k0 > t->past ? k0 - t->past : 0;
}

/* The softmax's step over one block of scores, for all queries. */
SIMD_CLONES static void
weigh_block(const part *t, size_t k0, size_t n_key)
{
    for (size_t i = blind_rows(t, k0); i < t->n_query; i++) {
        size_t seen = t->past + i + 1 - k0; /* keys from k0 on */
        size_t n = seen < n_key ? seen : n_key;
        float before = t->top[i];
        float sum = weigh(t->score + i * KEYS, n, n_key, &t->top[i]);

        if (k0 > 0) {
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
    for (size_t i = 0; i < t->n_query; i++)
        scale(t->out + i * t->ld_out, t->d_head, 1.0F / t->sum[i]);
}

/* Scores of the keys k0 .. k0 + n_key - 1, and what they add to `out`.  Where
 * the diagonal crosses the block, only what lies below is computed. */
static void
key_block(const part *t, size_t k0, size_t n_key)
{
    size_t first = blind_rows(t, k0);
    size_t diag = t->past + first - k0;
    product scores = {.m = t->n_query - first,
                      .n = n_key,
                      .k = t->d_head,
                      .a = t->q + first * t->ld_q,
                      .lda = t->ld_q,
                      .b = t->k + k0 * t->ld_k,
                      .ldb = t->ld_k,
                      .b_t = true,
                      .c = t->score + first * KEYS,
                      .ldc = KEYS,
                      .alpha = t->scale};
    product values = {.m = t->n_query - first,
                      .n = t->d_head,
                      .k = n_key,
                      .a = t->score + first * KEYS,
                      .lda = KEYS,
                      .b = t->v + k0 * t->ld_v,
                      .ldb = t->ld_v,
                      .c = t->out + first * t->ld_out,
                      .ldc = t->ld_out,
                      .alpha = 1.0F,
                      .accumulate = k0 > 0};

    if (diag + 1 < n_key) {
        scores.part = PRODUCT_LOWER_C;
        values.part = PRODUCT_LOWER_A;
        scores.diag = values.diag = diag;
    }
    product_run(&scores, t->item->panels);
    weigh_block(t, k0, n_key);
    product_run(&values, t->item->panels);
}

static void
attend(const part *t)
{
    size_t n_key = t->past + t->n_query;

    for (size_t i = 0; i < t->n_query; i++)
        t->top[i] = -INFINITY;
    for (size_t k0 = 0; k0 < n_key; k0 += KEYS) {
        key_block(t, k0, n_key - k0 < KEYS ? n_key - k0 : KEYS);
        cpu_progress(t->item);
    }
    divide_block(t);
}

static void
run(const cpu_item *item)
{
    const kernel_attention_args *a = &item->op->u.attention;
    size_t head = item->index % a->n_head;
    uint32_t n_part = cpu_ceil_div(item->cell->n_row, QUERIES);
    cpu_range rows =
        cpu_part(item->cell->n_row, n_part, item->index / a->n_head, 1);
    size_t past = a->k.by == KERNEL_BY_CELL ? 0 : item->cell->n_past;
    size_t at = head * a->d_head;
    size_t at_kv = head / (a->n_head / a->n_kv) * a->d_head;
    const part t = {
        .q = cpu_at(&a->q, item, KERNEL_ROWS_ALL) + rows.first * a->q.ld + at,
        .ld_q = a->q.ld,
        .k = cpu_at(&a->k, item, KERNEL_ROWS_ALL) + at_kv,
        .ld_k = a->k.ld,
        .v = cpu_at(&a->v, item, KERNEL_ROWS_ALL) + at_kv,
        .ld_v = a->v.ld,
        .out = cpu_at(&a->out, item, KERNEL_ROWS_ALL) + rows.first * a->out.ld +
               at,
        .ld_out = a->out.ld,
        .n_query = rows.n,
        .d_head = a->d_head,
        .past = past + rows.first,
        .scale = a->scale,
        .score = item->work,
        .item = item,
        .top = item->work + QUERIES * KEYS,
        .sum = item->work + QUERIES * KEYS + QUERIES,
    };

    attend(&t);
}

const cpu_step cpu_attention = {count, run};
