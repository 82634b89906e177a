/* SPDX-License-Identifier: Apache-2.0 */
/* Drawing a token: greedy, or by temperature, top-k and top-p. */
#include <math.h>
#include <string.h>

#include "kernels/cpu/cpu.h"

/* The tokens still allowed: every logit above `least`, and the first `n_tie`
 * of those equal to it, by id.  Sets like this need no sorting and no room. */
typedef struct allowed {
    const float *logits;
    size_t n_vocab;
    float largest;
    float inverse;  /* 1 / temperature */
    uint32_t least; /* in order_of() terms */
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
        if (logits[i] > logits[best])
            best = i;
    return best;
}

/* Unsigned numbers in the order of the floats; NaN counts as the least. */
static uint32_t
order_of(float x)
{
    uint32_t bits;

    if (isnan(x))
        return 0;
    memcpy(&bits, &x, sizeof(bits));
    return (bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U;
}

static double
weight(const allowed *set, float logit)
{
    return isnan(logit)
               ? 0.0
               : exp((double)(logit - set->largest) * (double)set->inverse);
}

/* Tokens, and their weight, of the set that are above `least`. */
static size_t
above(const allowed *set, uint32_t least, double *sum)
{
    size_t n = 0;

    *sum = 0.0;
    for (size_t i = 0; i < set->n_vocab; i++)
        if (order_of(set->logits[i]) > least) {
            n++;
            *sum += weight(set, set->logits[i]);
        }
    return n;
}

/* Keeps the k largest. */
static void
keep_k(allowed *set, size_t k)
{
    uint32_t least = 0;
    double sum;

    /* The largest `least` with at least k tokens at or above it, bit by bit. */
    for (uint32_t bit = 1U << 31; bit > 0; bit >>= 1)
        if (above(set, (least | bit) - 1, &sum) >= k)
            least |= bit;
    set->least = least;
    set->n_tie = k - above(set, least, &sum);
}

/* Sum of the set as it is. */
static double
total(const allowed *set)
{
    size_t tie = 0;
    double sum = 0.0;

    for (size_t i = 0; i < set->n_vocab; i++) {
        uint32_t order = order_of(set->logits[i]);

        if (order > set->least || (order == set->least && tie++ < set->n_tie))
            sum += weight(set, set->logits[i]);
    }
    return sum;
}

/* Keeps the fewest of the largest whose weights reach `p` of the set's. */
static void
keep_p(allowed *set, double p)
{
    double want = p * total(set);
    uint32_t least = set->least;
    double sum = 0.0, each;
    size_t n_tie = 1;

    for (uint32_t low = set->least, high = order_of(set->largest);
         low < high;) {
        uint32_t middle = low + (high - low + 1) / 2;

        (void)above(set, middle - 1, &sum);
        if (sum >= want)
            low = least = middle;
        else
            high = middle - 1;
    }
    (void)above(set, least, &sum);
    if (least == set->least && set->n_tie == 0)
        return;
    for (size_t i = 0; i < set->n_vocab; i++)
        if (order_of(set->logits[i]) == least) {
            each = weight(set, set->logits[i]);
            while (sum + each * (double)n_tie < want && n_tie < set->n_vocab)
                n_tie++;
            break;
        }
    if (least == set->least && n_tie > set->n_tie)
        n_tie = set->n_tie;
    set->least = least;
    set->n_tie = n_tie;
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

        if (order < set->least || (order == set->least && tie++ >= set->n_tie))
            continue;
        sum += weight(set, set->logits[i]);
        last = i;
        if (sum > want)
            break;
    }
    return last;
}

static size_t
choose(const float *logits, size_t n_vocab, const kernel_sample_args *args)
{
    size_t best = greedy(logits, n_vocab);
    allowed set = {.logits = logits,
                   .n_vocab = n_vocab,
                   .largest = logits[best],
                   .inverse = 1.0F / args->temperature,
                   .n_tie = n_vocab};

    if (args->temperature <= 0.0F)
        return best;
    if (args->top_k > 0 && args->top_k < n_vocab)
        keep_k(&set, args->top_k);
    if (args->top_p < 1.0F)
        keep_p(&set, (double)args->top_p);
    return draw(&set, (double)args->uniform);
}

static void
run(const cpu_item *item)
{
    const kernel_view *view = &item->op->u.sample.logits;
    const float *logits = cpu_at(view, item, KERNEL_ROWS_ALL) +
                          (size_t)(item->cell->n_row - 1) * view->ld;
    size_t id = choose(logits, item->op->u.sample.n_vocab,
                       &item->op->u.sample.args[item->place]);

    *cpu_ids_at(&item->op->u.sample.ids, item) = (int32_t)id;
}

const cpu_step cpu_sample = {count, run};
