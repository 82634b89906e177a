/* SPDX-License-Identifier: Apache-2.0 */
/* Drawing a token: greedy, or by temperature, top-k, top-p and min-p; and how
 * likely tokens were. */
#include <math.h>
#include <string.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/product.h"
#include "kernels/cpu/simd.h"
#include "kernels/cpu/vexp.h"

/* The tokens still allowed: every logit above a border, and the first `n_tie`
 * of those equal to it, by id.  Such sets need no sorting and no room: a border
 * is found by bisection over the order of floats, in some thirty passes, each
 * of a millisecond where there are 128,000 tokens. */
typedef struct allowed {
    const cpu_item *item;
    const float *logits;
    size_t n_vocab;
    float largest;
    float inverse;   /* 1 / temperature */
    uint32_t border; /* as order_of() gives it */
    size_t n_tie;
} allowed;

static uint32_t
count(const device_op *op, const kernel_cell *cell)
{
    (void)op;
    (void)cell;
    return 1;
}

static size_t
greedy(const float *logits, size_t n_vocab)
{
    size_t best = 0;

    for (size_t i = 1; i < n_vocab; i++)
        if (logits[i] > logits[best] || isnan(logits[best]))
            best = i;
    return best;
}

/* Unsigned numbers in the order of the floats; NaN counts as the least. */
SIMD_INLINE uint32_t
order_of(float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof(bits));
    bits ^= (bits >> 31) != 0 ? 0xffffffffU : 0x80000000U;
    return x != x ? 0 : bits;
}

/* The token's probability, up to one factor for all. */
SIMD_INLINE float
weight(const allowed *set, float logit)
{
    float x = (logit - set->largest) * set->inverse;

    return x > -80.0F ? vexp(x) : 0.0F;
}

/* Tokens at or above a border. */
SIMD_CLONES static size_t
count_from(const allowed *set, uint32_t border)
{
    uint32_t n = 0;

#pragma omp simd reduction(+ : n)
    for (size_t i = 0; i < set->n_vocab; i++)
        n += order_of(set->logits[i]) >= border ? 1U : 0U;
    return n;
}

/* Their weight. */
SIMD_CLONES static double
weight_from(const allowed *set, uint32_t border)
{
    double sum = 0.0;

#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < set->n_vocab; i++) {
        float w = weight(set, set->logits[i]);

        sum += (double)(order_of(set->logits[i]) >= border ? w : 0.0F);
    }
    return sum;
}

/* Weight of one token at a border that some token has. */
static double
weight_at(const allowed *set, uint32_t border)
{
    uint32_t bits = border ^ ((border >> 31) != 0 ? 0x80000000U : 0xffffffffU);
    float logit;

    memcpy(&logit, &bits, sizeof(logit));
    return border == 0 ? 0.0 : (double)weight(set, logit);
}

static double
total(const allowed *set)
{
    double ties = (double)set->n_tie * weight_at(set, set->border);

    return weight_from(set, set->border + 1) + ties;
}

/* Keeps the k largest; 0 < k < n_vocab. */
static void
keep_k(allowed *set, size_t k)
{
    uint32_t border = 0;

    for (uint32_t bit = 1U << 31; bit > 0; bit >>= 1) {
        if (count_from(set, border | bit) >= k)
            border |= bit;
        cpu_progress(set->item);
    }
    set->border = border;
    set->n_tie = k - count_from(set, border + 1);
}

/* Keeps the fewest of the largest whose weight reaches `p` of the set's. */
static void
keep_p(allowed *set, double p)
{
    double want = p * total(set);
    uint32_t low = set->border, high = order_of(set->largest);
    double above, each;
    size_t n_tie = 1;

    while (low < high) {
        uint32_t middle = low + (high - low + 1) / 2;

        if (weight_from(set, middle) >= want)
            low = middle;
        else
            high = middle - 1;
        cpu_progress(set->item);
    }
    above = weight_from(set, low + 1);
    each = weight_at(set, low);
    while (n_tie < set->n_vocab && each > 0.0 &&
           above + each * (double)n_tie < want)
        n_tie++;
    if (low > set->border || n_tie < set->n_tie)
        set->n_tie = n_tie;
    set->border = low;
}

/* Keeps those whose weight is at least p of the largest, which is 1. */
static void
keep_min(allowed *set, float p)
{
    uint32_t low = set->border, high = order_of(set->largest);

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (weight_at(set, middle) >= (double)p)
            high = middle;
        else
            low = middle + 1;
    }
    if (high > set->border) {
        set->border = high - 1; /* no token need have this logit itself */
        set->n_tie = 0;
    }
}

/* The token at which the weights, summed by id, pass uniform * total. */
static size_t
draw(const allowed *set, double uniform)
{
    double want = uniform * total(set);
    double sum = 0.0;
    size_t tie = 0, last = 0;

    for (size_t i = 0; i < set->n_vocab; i++) {
        uint32_t order = order_of(set->logits[i]);

        if (order < set->border ||
            (order == set->border && tie++ >= set->n_tie))
            continue;
        sum += (double)weight(set, set->logits[i]);
        last = i;
        if (sum > want)
            break;
    }
    return last;
}

static size_t
choose(const cpu_item *item, const float *logits, size_t n_vocab)
{
    const kernel_sample_args *args = &item->op->u.sample.args[item->place];
    size_t best = greedy(logits, n_vocab);
    allowed set = {.item = item,
                   .logits = logits,
                   .n_vocab = n_vocab,
                   .largest = logits[best],
                   .inverse = 1.0F / args->temperature,
                   .n_tie = n_vocab};

    if (args->temperature <= 0.0F || !isfinite(set.largest))
        return best;
    if (args->top_k > 0 && args->top_k < n_vocab)
        keep_k(&set, args->top_k);
    if (args->top_p < 1.0F)
        keep_p(&set, (double)args->top_p);
    if (args->min_p > 0.0F)
        keep_min(&set, args->min_p);
    return draw(&set, (double)args->uniform);
}

/* ------------------------------------------------------------ penalty --- */

/* Logits that were changed, to be put back. */
typedef struct penalised {
    float *logits;
    uint32_t *ids; /* the item's working memory: ids, then logits */
    float *before;
    size_t n;
} penalised;

/* Penalises each id seen once; a bit a token says which already were. */
static void
penalise(const cpu_item *item, penalised *p)
{
    const kernel_sample_op *op = &item->op->u.sample;
    const kernel_sample_args *args = &op->args[item->place];
    const int32_t *seen = cpu_ids_at(&op->seen, item);
    uint32_t *bits = (void *)item->panels;

    ASSERT(op->n_vocab / 8 + 4 <= PRODUCT_ROOM * sizeof(float));
    memset(bits, 0, op->n_vocab / 32 * 4 + 4);
    for (uint32_t i = 0; i < args->n_seen; i++) {
        size_t id = (size_t)(uint32_t)seen[i];
        float *l;

        if (id >= op->n_vocab || (bits[id / 32] >> id % 32 & 1U) != 0)
            continue;
        l = &p->logits[id];
        bits[id / 32] |= 1U << id % 32;
        p->ids[p->n] = (uint32_t)id;
        p->before[p->n++] = *l;
        *l = *l < 0.0F ? *l * args->penalty : *l / args->penalty;
    }
}

static void
put_back(const penalised *p)
{
    for (size_t i = 0; i < p->n; i++)
        p->logits[p->ids[i]] = p->before[i];
}

static bool
has_penalty(const kernel_sample_op *op, const kernel_sample_args *args)
{
    return op->seen.buf != NULL && args->penalty > 0.0F &&
           args->penalty != 1.0F; /* NOLINT: exactly 1 changes nothing */
}

/* ------------------------------------------------------------- report --- */

/* log sum exp(l), in double. */
SIMD_CLONES static double
log_total(const float *logits, size_t n_vocab, float largest)
{
    double sum = 0.0;

#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < n_vocab; i++)
        sum += (double)vexp(logits[i] - largest);
    return (double)largest + log(sum);
}

/* Keeps the n likeliest so far in order; an id that comes later is behind its
 * equals. */
static void
rank(int32_t *ids, size_t n, const float *logits, size_t id)
{
    size_t at = n;

    while (at > 0 && order_of(logits[id]) > order_of(logits[ids[at - 1]]))
        at--;
    memmove(ids + at + 1, ids + at, (n - at) * sizeof(*ids));
    ids[at] = (int32_t)id;
}

static void
likeliest(int32_t *ids, size_t n_top, const float *logits, size_t n_vocab)
{
    int32_t best[KERNEL_SAMPLE_TOP + 1];
    size_t n = 0;

    for (size_t i = 0; i < n_vocab; i++) {
        if (n == n_top && order_of(logits[i]) <= order_of(logits[best[n - 1]]))
            continue;
        rank(best, n, logits, i);
        n += n < n_top ? 1 : 0;
    }
    memcpy(ids, best, n_top * sizeof(*ids));
}

static void
report(const cpu_item *item, const float *logits, size_t id)
{
    const kernel_sample_op *op = &item->op->u.sample;
    size_t n_top = op->args[item->place].n_top;
    float *out = cpu_item_at(&op->logprobs, item);
    double total =
        log_total(logits, op->n_vocab, logits[greedy(logits, op->n_vocab)]);
    int32_t *ids;

    out[0] = (float)((double)logits[id] - total);
    if (n_top == 0)
        return;
    ids = cpu_ids_at(&op->top_ids, item);
    likeliest(ids, n_top, logits, op->n_vocab);
    for (size_t i = 0; i < n_top; i++)
        out[1 + i] = (float)((double)logits[ids[i]] - total);
}

static void
run(const cpu_item *item)
{
    const kernel_sample_op *op = &item->op->u.sample;
    const kernel_sample_args *args = &op->args[item->place];
    float *logits = cpu_at(&op->logits, item, KERNEL_ROWS_ALL) +
                    (size_t)(item->cell->n_row - 1) * op->logits.ld;
    penalised p = {.logits = logits,
                   .ids = (void *)item->work,
                   .before = item->work + KERNEL_SAMPLE_SEEN};
    size_t id;

    if (has_penalty(op, args))
        penalise(item, &p);
    id = choose(item, logits, op->n_vocab);
    put_back(&p);
    *cpu_ids_at(&op->ids, item) = (int32_t)id;
    if (op->logprobs.buf != NULL)
        report(item, logits, id);
}

const cpu_step cpu_sample = {count, run};
