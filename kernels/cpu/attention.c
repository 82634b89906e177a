/* SPDX-License-Identifier: Apache-2.0 */
/* Causal attention, block by block with a running softmax (Dao et al. 2022,
 * arXiv:2205.14135). */
#include <math.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/product.h"
#include "kernels/cpu/simd.h"
#include "kernels/cpu/vexp.h"

/* An item is one head and QUERIES rows; it walks over the keys that its last
 * row sees in blocks of KEYS. */
enum { QUERIES = 64, KEYS = 512 };

typedef struct tile {
    const float *q, *k, *v; /* first query row, first key row */
    float *out;
    size_t ld_q, ld_k, ld_v, ld_out;
    size_t n_query, d_head;
    size_t past;  /* the first query sees keys 0 .. past */
    float *score; /* [n_query, KEYS] */
    float *panel;
    float *top; /* [n_query] largest score so far */
    float *sum; /* [n_query] of exp(score - top) so far */
} tile;

static uint32_t
count(const device_op *op, const kernel_cell *cell)
{
    return (uint32_t)op->u.attention.n_head *
           cpu_ceil_div(cell->n_row, QUERIES);
}

/* score := exp(score - top) for the n scores that the query sees, 0 for the
 * rest of the block; gives their sum and the new top.  What is below e^-80 of
 * the top is 0, which also keeps tiny numbers out of the product behind. */
SIMD_CLONES static float
weigh(float *restrict score, size_t n, size_t width, float *top)
{
    float largest = *top;
    float sum = 0.0F;

#pragma omp simd reduction(max : largest)
    for (size_t i = 0; i < n; i++)
        largest = score[i] > largest ? score[i] : largest;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < n; i++) {
        float s = score[i] - largest;
        float e = s < -80.0F ? 0.0F : vexp(s);

        score[i] = e;
        sum += e;
    }
    for (size_t i = n; i < width; i++)
        score[i] = 0.0F;
    *top = largest;
    return sum;
}

SIMD_CLONES static void
scale(float *x, size_t n, float factor)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        x[i] *= factor;
}

static void
key_block(const tile *t, size_t k0, size_t n_key)
{
    const product scores = {.m = t->n_query,
                            .n = n_key,
                            .k = t->d_head,
                            .a = t->q,
                            .lda = t->ld_q,
                            .b = t->k + k0 * t->ld_k,
                            .ldb = t->ld_k,
                            .b_t = true,
                            .c = t->score,
                            .ldc = KEYS,
                            .alpha = 1.0F / sqrtf((float)t->d_head)};
    const product values = {.m = t->n_query,
                            .n = t->d_head,
                            .k = n_key,
                            .a = t->score,
                            .lda = KEYS,
                            .b = t->v + k0 * t->ld_v,
                            .ldb = t->ld_v,
                            .c = t->out,
                            .ldc = t->ld_out,
                            .alpha = 1.0F,
                            .accumulate = k0 > 0};

    product_run(&scores, t->panel);
    for (size_t i = 0; i < t->n_query; i++) {
        size_t end = t->past + i + 1; /* keys that the query sees */
        size_t n = end < k0 ? 0 : end - k0 < n_key ? end - k0 : n_key;
        float before = t->top[i];
        float sum = weigh(t->score + i * KEYS, n, n_key, &t->top[i]);

        if (k0 > 0) {
            float kept = vexp(before - t->top[i]);

            scale(t->out + i * t->ld_out, t->d_head, kept);
            t->sum[i] *= kept;
        }
        t->sum[i] += sum;
    }
    product_run(&values, t->panel);
}

static void
attend(const tile *t)
{
    size_t n_key = t->past + t->n_query;

    for (size_t i = 0; i < t->n_query; i++) {
        t->top[i] = -INFINITY;
        t->sum[i] = 0.0F;
    }
    for (size_t k0 = 0; k0 < n_key; k0 += KEYS)
        key_block(t, k0, n_key - k0 < KEYS ? n_key - k0 : KEYS);
    for (size_t i = 0; i < t->n_query; i++)
        scale(t->out + i * t->ld_out, t->d_head, 1.0F / t->sum[i]);
}

static void
run(const cpu_item *item)
{
    const kernel_attention_args *a = &item->op->u.attention;
    size_t head = item->index % a->n_head;
    size_t row = item->index / a->n_head * QUERIES;
    size_t rest = item->cell->n_row - row;
    size_t past = a->k.by == KERNEL_BY_KV ? item->cell->pos : 0;
    size_t at = head * a->d_head;
    size_t at_kv = head / (a->n_head / a->n_kv) * a->d_head;
    const tile t = {
        .q = cpu_at(&a->q, item, KERNEL_ROWS_ALL) + row * a->q.ld + at,
        .ld_q = a->q.ld,
        .k = cpu_at(&a->k, item, KERNEL_ROWS_ALL) + at_kv,
        .ld_k = a->k.ld,
        .v = cpu_at(&a->v, item, KERNEL_ROWS_ALL) + at_kv,
        .ld_v = a->v.ld,
        .out = cpu_at(&a->out, item, KERNEL_ROWS_ALL) + row * a->out.ld + at,
        .ld_out = a->out.ld,
        .n_query = rest < QUERIES ? rest : QUERIES,
        .d_head = a->d_head,
        .past = past + row,
        .score = item->work,
        .panel = item->panel,
        .top = item->work + QUERIES * KEYS,
        .sum = item->work + QUERIES * KEYS + QUERIES,
    };

    attend(&t);
}

const cpu_step cpu_attention = {count, run};
