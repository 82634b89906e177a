/* SPDX-License-Identifier: Apache-2.0 */
/* kernel_sample() step by step against the definition in double: penalty,
 * temperature, top-k, top-p, min-p, the draw, and log-probabilities.
 *
 * usage: test_kernels_sample_steps [ROUNDS], fewer where a tool makes each
 * slow */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/kernels/rig.h"

enum { VOCAB = 301, N_CELL = 3, MAX_SEEN = 40 };

static size_t n_round = 150;

typedef struct operands {
    rig_tensor logits, ids, seen, logprobs, top_ids;
    kernel_sample_args args[N_CELL];
} operands;

static const kernel_cell cells[N_CELL] = {
    {.slot = 2, .kv = 5, .n_row = 3},
    {.slot = 6, .kv = 0, .n_row = 1, .row0 = 4},
    {.slot = 0, .kv = 3, .n_row = 2, .row0 = 1},
};

/* ---------------------------------------------------------- reference --- */

/* A row of logits, and what the steps leave of it. */
typedef struct choice {
    float l[VOCAB];
    double w[VOCAB]; /* 0: fell out */
    size_t order[VOCAB];
    double margin; /* of the closest decision */
} choice;

/* The largest first, lowest id first among equals. */
static void
sort(choice *c)
{
    for (size_t i = 0; i < VOCAB; i++) {
        size_t at = i;

        for (; at > 0 && c->l[i] > c->l[c->order[at - 1]]; at--)
            c->order[at] = c->order[at - 1];
        c->order[at] = i;
    }
}

static void
closer(choice *c, double distance)
{
    c->margin = fabs(distance) < c->margin ? fabs(distance) : c->margin;
}

static void
steps(choice *c, const kernel_sample_args *a)
{
    double total = 0.0, sum = 0.0;
    size_t n = a->top_k > 0 && a->top_k < VOCAB ? a->top_k : VOCAB;
    size_t kept = 0;

    for (size_t i = 0; i < VOCAB; i++)
        c->w[i] = 0.0;
    for (size_t i = 0; i < n; i++)
        total += c->w[c->order[i]] =
            exp(((double)c->l[c->order[i]] - (double)c->l[c->order[0]]) /
                (double)a->temperature);
    for (; kept < n && (a->top_p >= 1.0F || sum < (double)a->top_p * total);
         kept++) {
        sum += c->w[c->order[kept]];
        if (a->top_p < 1.0F)
            closer(c, sum / total - (double)a->top_p);
    }
    for (size_t i = 0; i < VOCAB; i++) {
        double *w = &c->w[c->order[i]];

        if (i < n && a->min_p > 0.0F)
            closer(c, *w - (double)a->min_p);
        *w = i < kept && *w >= (double)a->min_p ? *w : 0.0;
    }
}

static size_t
draw(choice *c, double uniform)
{
    double total = 0.0, sum = 0.0;
    size_t id = 0;

    for (size_t i = 0; i < VOCAB; i++)
        total += c->w[i];
    for (size_t i = 0; i < VOCAB && sum <= uniform * total; i++) {
        if (c->w[i] <= 0.0)
            continue;
        sum += c->w[i];
        closer(c, sum / total - uniform);
        id = i;
    }
    return id;
}

static bool
seen_before(const rig_tensor *seen, size_t kv, uint32_t n, size_t id)
{
    for (uint32_t i = 0; i < n; i++) {
        int32_t got;

        memcpy(&got, &seen->host[rig_at(seen, kv, 0, i)], sizeof(got));
        if ((size_t)got == id)
            return true;
    }
    return false;
}

/* The token for cell p; c->margin tells how far from another. */
static size_t
reference(const operands *t, size_t p, choice *c)
{
    const kernel_sample_args *a = &t->args[p];

    c->margin = 1.0;
    for (size_t i = 0; i < VOCAB; i++) {
        float *l = &c->l[i];

        *l = t->logits.host[rig_at(&t->logits, p, cells[p].n_row - 1, i)];
        if (a->penalty > 0.0F &&
            seen_before(&t->seen, cells[p].kv, a->n_seen, i))
            *l = *l < 0.0F ? *l * a->penalty : *l / a->penalty;
    }
    sort(c);
    if (a->temperature <= 0.0F)
        return c->order[0];
    steps(c, a);
    return draw(c, (double)a->uniform);
}

/* -------------------------------------------------------------- tests --- */

static void
operands_init(operands *t, const rig *r, uint64_t *seed)
{
    rig_tensor_init(&t->logits, r, KERNEL_BY_CELL, 3, VOCAB, *seed);
    rig_tensor_init(&t->ids, r, KERNEL_BY_SLOT, 1, 2, 1);
    rig_tensor_init(&t->seen, r, KERNEL_BY_KV, 1, MAX_SEEN, 1);
    rig_tensor_init(&t->logprobs, r, KERNEL_BY_SLOT, 1, 1 + KERNEL_SAMPLE_TOP,
                    1);
    rig_tensor_init(&t->top_ids, r, KERNEL_BY_SLOT, 1, KERNEL_SAMPLE_TOP, 1);
    t->ids.view.type = t->seen.view.type = t->top_ids.view.type = KERNEL_I32;
    for (size_t i = 0; i < t->logits.n; i++) {
        t->logits.host[i] *= 6.0F;
        if (i % 4 == 0) /* many that are equal */
            t->logits.host[i] = roundf(t->logits.host[i]);
    }
    for (size_t i = 0; i < t->seen.n; i++) {
        int32_t id = (int32_t)(fabsf(rig_random(seed)) * VOCAB);

        memcpy(&t->seen.host[i], &id, sizeof(id));
    }
    rig_upload(&t->logits, r);
    rig_upload(&t->seen, r);
}

static void
operands_fini(operands *t)
{
    rig_tensor_fini(&t->logits);
    rig_tensor_fini(&t->ids);
    rig_tensor_fini(&t->seen);
    rig_tensor_fini(&t->logprobs);
    rig_tensor_fini(&t->top_ids);
}

static float
random_part(uint64_t *seed)
{
    return fabsf(rig_random(seed));
}

/* Every step on or off by chance. */
static kernel_sample_args
random_args(uint64_t *seed)
{
    kernel_sample_args a = {.top_p = 1, .uniform = random_part(seed)};

    if (random_part(seed) < 0.8F)
        a.temperature = 0.2F + 2.0F * random_part(seed);
    if (random_part(seed) < 0.5F)
        a.top_k = 1 + (uint32_t)(random_part(seed) * VOCAB);
    if (random_part(seed) < 0.5F)
        a.top_p = 0.05F + 0.95F * random_part(seed);
    if (random_part(seed) < 0.5F)
        a.min_p = 0.3F * random_part(seed);
    if (random_part(seed) < 0.5F) {
        a.penalty = 0.5F + 2.0F * random_part(seed);
        a.n_seen = (uint32_t)(random_part(seed) * MAX_SEEN);
    }
    a.n_top = (uint32_t)(random_part(seed) * (KERNEL_SAMPLE_TOP + 1));
    return a;
}

static kernel_sample_op
op_of(const operands *t)
{
    return (kernel_sample_op){.ids = t->ids.view,
                              .logits = t->logits.view,
                              .seen = t->seen.view,
                              .logprobs = t->logprobs.view,
                              .top_ids = t->top_ids.view,
                              .n_vocab = VOCAB,
                              .args = t->args};
}

static void
read_back(const rig *r, const rig_tensor *t, void *to)
{
    EXPECT_OK(kernel_copy_out(r->q, to, t->view.buf, 0, t->n * 4));
    EXPECT_OK(kernel_sync(r->q));
}

/* Log-probabilities are of the logits as they are. */
static void
check_report(const operands *t, size_t p, int32_t id, const float *logprobs,
             const int32_t *top)
{
    choice c;
    double total = 0.0;

    for (size_t i = 0; i < VOCAB; i++) {
        c.l[i] = t->logits.host[rig_at(&t->logits, p, cells[p].n_row - 1, i)];
        total += exp((double)c.l[i]);
    }
    sort(&c);
    logprobs += rig_at(&t->logprobs, cells[p].slot, 0, 0);
    top += rig_at(&t->top_ids, cells[p].slot, 0, 0);
    assert_true(fabs((double)logprobs[0] - ((double)c.l[id] - log(total))) <
                1e-5);
    for (size_t i = 0; i < t->args[p].n_top; i++) {
        assert_int_equal(top[i], c.order[i]);
        assert_true(fabs((double)logprobs[1 + i] -
                         ((double)c.l[c.order[i]] - log(total))) < 1e-5);
    }
    assert_memory_equal(&logprobs[1 + t->args[p].n_top],
                        &t->logprobs.host[rig_at(&t->logprobs, cells[p].slot, 0,
                                                 1 + t->args[p].n_top)],
                        (KERNEL_SAMPLE_TOP - t->args[p].n_top) * 4);
}

/* One group of draws; how many were too close to call. */
static size_t
one_round(rig *r, uint64_t *seed)
{
    int32_t ids[256], top[256];
    float logprobs[256];
    size_t n_close = 0;
    kernel_sample_op op;
    operands t;

    operands_init(&t, r, seed);
    for (size_t p = 0; p < N_CELL; p++)
        t.args[p] = random_args(seed);
    rig_begin(r);
    op = op_of(&t);
    EXPECT_OK(kernel_sample(r->q, &op));
    rig_end(r);
    assert_true(t.ids.n <= 256 && t.logprobs.n <= 256 && t.top_ids.n <= 256);
    read_back(r, &t.ids, ids);
    read_back(r, &t.top_ids, top);
    read_back(r, &t.logprobs, logprobs);
    for (size_t p = 0; p < N_CELL; p++) {
        int32_t id = ids[rig_at(&t.ids, cells[p].slot, 0, 0)];
        choice c;
        size_t want = reference(&t, p, &c);

        n_close += c.margin < 1e-5 ? 1 : 0;
        if (c.margin >= 1e-5)
            assert_int_equal(id, want);
        check_report(&t, p, id, logprobs, top);
    }
    rig_check(&t.logits, r, 0.0);
    rig_check(&t.seen, r, 0.0);
    operands_fini(&t);
    return n_close;
}

static void
on_a_device(rig *r)
{
    uint64_t seed = 11;
    size_t n_close = 0;

    r->cells = cells;
    r->n_cell = N_CELL;
    for (size_t i = 0; i < n_round; i++)
        n_close += one_round(r, &seed);
    assert_true(n_close <= n_round / 5);
}

static void
draws_follow_the_definition(void **state)
{
    (void)state;
    rig_every_way(on_a_device);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(draws_follow_the_definition),
    };

    if (argc == 2)
        n_round = strtoul(argv[1], NULL, 10);
    if (argc > 2 || n_round == 0)
        return 2;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
