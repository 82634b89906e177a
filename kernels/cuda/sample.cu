/* SPDX-License-Identifier: Apache-2.0 */
/* Drawing a token, and how likely it was, as kernels/cpu/sample.c does it: the
 * tokens still allowed are those above a border of the order of floats, and the
 * first of those on it, so that nothing is sorted.  One block a cell. */
#include "kernels/cuda/order.cuh"

namespace
{

enum { THREADS = 1024, SEEN_EACH = KERNEL_SAMPLE_SEEN / THREADS };

/* What all threads of the block agree on. */
struct Set {
    const float *logits;
    uint32_t n;
    float largest, inverse;
    uint32_t border, n_tie;
};

struct Shared {
    double sum[THREADS];
    uint32_t count[THREADS];
    uint32_t pick;
    unsigned long long key;
};

__device__ float
weight(const Set &s, float logit)
{
    float x = (logit - s.largest) * s.inverse;

    return x > -80.0F ? expf(x) : 0.0F;
}

/* Sums over the block, by halves: the same for every thread and every time. */
__device__ double
all_sum(Shared &sh, double x)
{
    sh.sum[threadIdx.x] = x;
    __syncthreads();
    for (int half = THREADS / 2; half > 0; half /= 2) {
        if (threadIdx.x < half)
            sh.sum[threadIdx.x] += sh.sum[threadIdx.x + half];
        __syncthreads();
    }
    x = sh.sum[0];
    __syncthreads();
    return x;
}

__device__ uint32_t
count_from(Shared &sh, const Set &s, uint32_t border)
{
    double n = 0.0;

    for (uint32_t i = threadIdx.x; i < s.n; i += THREADS)
        n += order_of(s.logits[i]) >= border ? 1.0 : 0.0;
    return static_cast<uint32_t>(all_sum(sh, n));
}

__device__ double
weight_from(Shared &sh, const Set &s, uint32_t border)
{
    double sum = 0.0;

    for (uint32_t i = threadIdx.x; i < s.n; i += THREADS)
        if (order_of(s.logits[i]) >= border)
            sum += static_cast<double>(weight(s, s.logits[i]));
    return all_sum(sh, sum);
}

__device__ double
weight_at(const Set &s, uint32_t border)
{
    return border == 0 ? 0.0 : static_cast<double>(weight(s, logit_of(border)));
}

__device__ double
total(Shared &sh, const Set &s)
{
    return weight_from(sh, s, s.border + 1) + s.n_tie * weight_at(s, s.border);
}

/* The largest logit, and the lowest of the ids that have it. */
__device__ uint32_t
greedy(Shared &sh, const Set &s)
{
    uint32_t best = 0;

    for (uint32_t i = threadIdx.x; i < s.n; i += THREADS)
        best = max(best, order_of(s.logits[i]));
    sh.count[threadIdx.x] = best;
    __syncthreads();
    for (int half = THREADS / 2; half > 0; half /= 2) {
        if (threadIdx.x < half)
            sh.count[threadIdx.x] =
                max(sh.count[threadIdx.x], sh.count[threadIdx.x + half]);
        __syncthreads();
    }
    best = sh.count[0];
    if (threadIdx.x == 0)
        sh.pick = s.n - 1;
    __syncthreads();
    for (uint32_t i = threadIdx.x; i < s.n; i += THREADS)
        if (order_of(s.logits[i]) == best) {
            atomicMin(&sh.pick, i);
            break;
        }
    __syncthreads();
    best = sh.pick;
    __syncthreads();
    return best;
}

/* Keeps the k largest; 0 < k < n. */
__device__ void
keep_k(Shared &sh, Set &s, uint32_t k)
{
    uint32_t border = 0;

    for (uint32_t bit = 1U << 31; bit > 0; bit >>= 1)
        if (count_from(sh, s, border | bit) >= k)
            border |= bit;
    s.border = border;
    s.n_tie = k - count_from(sh, s, border + 1);
}

/* Keeps the fewest of the largest whose weight reaches `p` of the set's. */
__device__ void
keep_p(Shared &sh, Set &s, double p)
{
    double want = p * total(sh, s);
    uint32_t low = s.border, high = order_of(s.largest), n_tie = 1;

    while (low < high) {
        uint32_t middle = low + (high - low + 1) / 2;

        if (weight_from(sh, s, middle) >= want)
            low = middle;
        else
            high = middle - 1;
    }
    double above = weight_from(sh, s, low + 1), each = weight_at(s, low);
    while (n_tie < s.n && each > 0.0 && above + each * n_tie < want)
        n_tie++;
    if (low > s.border || n_tie < s.n_tie)
        s.n_tie = n_tie;
    s.border = low;
}

/* Keeps those whose weight is at least p of the largest, which is 1. */
__device__ void
keep_min(Set &s, double p)
{
    uint32_t low = s.border, high = order_of(s.largest);

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (weight_at(s, middle) >= p)
            high = middle;
        else
            low = middle + 1;
    }
    if (high > s.border) {
        s.border = high - 1; /* no token need have this logit itself */
        s.n_tie = 0;
    }
}

/* Tokens first .. end - 1; `tie` of those before them are on the border. */
struct Part {
    uint32_t first, end, tie;
};

/* Walks the tokens of a part.  Stops where
 * the sum passes `want`, at the last allowed one otherwise. */
__device__ double
walk(const Set &s, const Part &p, double sum, double want, uint32_t *last)
{
    uint32_t tie = p.tie;

    for (uint32_t i = p.first; i < p.end && !(sum > want); i++) {
        uint32_t order = order_of(s.logits[i]);

        if (order < s.border || (order == s.border && tie++ >= s.n_tie))
            continue;
        sum += static_cast<double>(weight(s, s.logits[i]));
        *last = i;
    }
    return sum;
}

/* The token at which the weights, summed by id, pass uniform * total. */
__device__ uint32_t
draw(Shared &sh, const Set &s, double uniform)
{
    double want = uniform * total(sh, s), sum = 0.0;
    uint32_t part = (s.n + THREADS - 1) / THREADS, n = 0, last = 0;
    uint32_t first = min(threadIdx.x * part, s.n), end = min(first + part, s.n);

    for (uint32_t i = first; i < end; i++)
        n += order_of(s.logits[i]) == s.border ? 1U : 0U;
    sh.count[threadIdx.x] = n;
    __syncthreads();
    n = 0;
    for (uint32_t t = 0; t < threadIdx.x; t++)
        n += sh.count[t];
    sh.sum[threadIdx.x] = walk(s, {first, end, n}, 0.0, INFINITY, &last);
    __syncthreads();
    if (threadIdx.x == 0) {
        uint32_t tie = 0, at = 0, tie_at = 0;

        /* The part where the sum passes, or the last one with any weight. */
        for (uint32_t t = 0; t < THREADS; t++) {
            if (sh.sum[t] > 0.0) {
                at = t;
                tie_at = tie;
                if (sum + sh.sum[t] > want)
                    break;
                sum += sh.sum[t];
            }
            tie += sh.count[t];
        }
        if (!(sum + sh.sum[at] > want))
            sum = 0.0;
        first = min(at * part, s.n);
        (void)walk(s, {first, min(first + part, s.n), tie_at}, sum, want,
                   &last);
        sh.pick = last;
    }
    __syncthreads();
    return sh.pick;
}

/* ------------------------------------------------------------ penalty --- */

/* The logits that a thread changed, to be put back. */
struct Penalised {
    float before[SEEN_EACH]; /* of its ids, in their order */
    uint64_t owned;          /* bit j: of its j-th id */
};

/* Penalises each id seen once.  An id may be there twice, for two threads: the
 * one that finds its logit first leaves a mark in its place, a NaN that no sum
 * or product makes. */
__device__ void
penalise(float *logits, const Set &s, const int32_t *seen,
         const kernel_sample_args &a, Penalised &p)
{
    const uint32_t mark = 0x7fa5a5a5U;
    uint32_t j = 0;

    p.owned = 0;
    for (uint32_t i = threadIdx.x; i < a.n_seen; i += THREADS, j++) {
        uint32_t id = static_cast<uint32_t>(seen[i]);

        if (id >= s.n)
            continue;
        uint32_t was =
            atomicExch(reinterpret_cast<unsigned *>(logits) + id, mark);
        if (was == mark)
            continue;
        p.before[j] = __uint_as_float(was);
        p.owned |= static_cast<uint64_t>(1) << j;
    }
    __syncthreads();
    j = 0;
    for (uint32_t i = threadIdx.x; i < a.n_seen; i += THREADS, j++)
        if ((p.owned >> j & 1) != 0) {
            float l = p.before[j];

            logits[seen[i]] = l < 0.0F ? l * a.penalty : l / a.penalty;
        }
    __syncthreads();
}

__device__ void
put_back(float *logits, const int32_t *seen, const kernel_sample_args &a,
         const Penalised &p)
{
    uint32_t j = 0;

    __syncthreads();
    for (uint32_t i = threadIdx.x; i < a.n_seen; i += THREADS, j++)
        if ((p.owned >> j & 1) != 0)
            logits[seen[i]] = p.before[j];
    __syncthreads();
}

/* ------------------------------------------------------------- report --- */

/* log sum exp(l). */
__device__ double
log_total(Shared &sh, const Set &s, float largest)
{
    double sum = 0.0;

    for (uint32_t i = threadIdx.x; i < s.n; i += THREADS)
        sum += static_cast<double>(expf(s.logits[i] - largest));
    return static_cast<double>(largest) + log(all_sum(sh, sum));
}

/* The likeliest id behind the one with key `behind`, and its key: a larger key
 * is likelier, and of equals the lower id. */
__device__ uint32_t
next_likeliest(Shared &sh, const Set &s, unsigned long long &behind)
{
    unsigned long long best = 0;

    if (threadIdx.x == 0)
        sh.key = 0;
    __syncthreads();
    for (uint32_t i = threadIdx.x; i < s.n; i += THREADS) {
        unsigned long long key =
            static_cast<unsigned long long>(order_of(s.logits[i])) << 32 |
            (UINT32_MAX - i);

        if (key < behind && key > best)
            best = key;
    }
    atomicMax(&sh.key, best);
    __syncthreads();
    behind = sh.key;
    __syncthreads();
    return UINT32_MAX - static_cast<uint32_t>(behind);
}

__device__ void
report(Shared &sh, const Set &s, uint32_t id, uint32_t n_top, float *logprobs,
       int32_t *top_ids)
{
    double sum = log_total(sh, s, s.logits[greedy(sh, s)]);
    unsigned long long behind = UINT64_MAX;

    if (threadIdx.x == 0)
        logprobs[0] = static_cast<float>(s.logits[id] - sum);
    for (uint32_t i = 0; i < n_top; i++) {
        uint32_t top = next_likeliest(sh, s, behind);

        if (threadIdx.x == 0) {
            top_ids[i] = static_cast<int32_t>(top);
            logprobs[1 + i] = static_cast<float>(s.logits[top] - sum);
        }
    }
}

__device__ uint32_t
choose(Shared &sh, Set s, const kernel_sample_args &a)
{
    uint32_t id = greedy(sh, s);

    s.largest = s.logits[id];
    if (a.temperature <= 0.0F || !isfinite(s.largest))
        return id;
    if (a.top_k > 0 && a.top_k < s.n)
        keep_k(sh, s, a.top_k);
    if (a.top_p < 1.0F)
        keep_p(sh, s, static_cast<double>(a.top_p));
    if (a.min_p > 0.0F)
        keep_min(s, static_cast<double>(a.min_p));
    return draw(sh, s, static_cast<double>(a.uniform));
}

/* What is there only where it is asked for. */
struct Options {
    Ref seen, logprobs, top_ids;
};

__global__ void
__launch_bounds__(THREADS)
    sample_kernel(Ref ids, Ref logits, Options options, uint32_t n,
                  const kernel_sample_args *args, const kernel_cell *cells)
{
    __shared__ Shared sh;
    const kernel_cell &cell = cells[blockIdx.x];
    const kernel_sample_args &a = args[blockIdx.x];
    float *row = ref_item<float>(logits, cell, blockIdx.x) +
                 static_cast<size_t>(cell.n_row - 1) * logits.ld;
    Set s = {row, n, 0.0F, 1.0F / a.temperature, 0, n};
    Penalised p;
    uint32_t id;

    if (cell.n_row == 0)
        return;
    if (options.seen.base != nullptr && a.penalty > 0.0F && a.penalty != 1.0F) {
        const int32_t *seen = ref_item<int32_t>(options.seen, cell, blockIdx.x);

        penalise(row, s, seen, a, p);
        id = choose(sh, s, a);
        put_back(row, seen, a, p);
    } else {
        id = choose(sh, s, a);
    }
    if (threadIdx.x == 0)
        *ref_item<int32_t>(ids, cell, blockIdx.x) = static_cast<int32_t>(id);
    if (options.logprobs.base != nullptr)
        report(sh, s, id, a.n_top,
               ref_item<float>(options.logprobs, cell, blockIdx.x),
               ref_item<int32_t>(options.top_ids, cell, blockIdx.x));
}

} // namespace

cudaError_t
cuda_sample(const cuda_launch *at, const device_op *op)
{
    const kernel_sample_op &a = op->u.sample;
    Options options = {ref_of(a.seen), ref_of(a.logprobs), ref_of(a.top_ids)};

    sample_kernel<<<at->n_cell, THREADS, 0, at->stream>>>(
        ref_of(a.ids), ref_of(a.logits), options,
        static_cast<uint32_t>(a.n_vocab), at->samples, at->cells);
    return cudaGetLastError();
}
