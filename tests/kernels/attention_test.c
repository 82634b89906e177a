/* SPDX-License-Identifier: Apache-2.0 */
/* kernel_attention() against softmax in double: own keys and cached ones, a
 * window of the segment before, a sink, spans and open memory tokens. */
#include <math.h>

#include "tests/kernels/rig.h"

typedef struct attention_case {
    size_t n_head, n_kv, d_head;
    size_t n_key_row; /* rows of the key tensors */
    kernel_by by;     /* of the keys */
    bool window, open_mem;
    uint32_t n_sink, span;
    float spread; /* of the queries: large ones make one key win */
} attention_case;

/* Tensors of a case; those of the window are there with or without one. */
typedef struct operands {
    rig_tensor out, q, k[2], v[2]; /* own keys, then the window's */
} operands;

/* ---------------------------------------------------------- who sees --- */

static bool
sees_own(const attention_case *c, const kernel_cell *cell, size_t i, size_t j)
{
    bool cached = c->by != KERNEL_BY_CELL;
    size_t p = (cached ? cell->n_past : 0) + i;
    size_t reach = cell->n_window + c->n_sink;
    bool mem = i >= cell->n_row - cell->n_mem;
    bool seen = j <= p && (c->span == 0 || j + c->span > p);

    if (mem && c->open_mem)
        return true;
    if (c->window && cell->n_window > 0 && cached && !mem && p >= c->n_sink)
        seen = seen && j + reach >= p;
    return seen;
}

static bool
sees_window(const attention_case *c, const kernel_cell *cell, size_t i,
            size_t j)
{
    size_t p = (c->by != KERNEL_BY_CELL ? cell->n_past : 0) + i;

    if (!c->window || p < c->n_sink)
        return false;
    return i >= cell->n_row - cell->n_mem || j >= p - c->n_sink;
}

static bool
sees(const attention_case *c, const kernel_cell *cell, size_t i,
     const size_t key[2])
{
    return key[0] == 0 ? sees_own(c, cell, i, key[1])
                       : sees_window(c, cell, i, key[1]);
}

/* Keys there are: of the cell, or of the window. */
static size_t
n_keys(const attention_case *c, const kernel_cell *cell, size_t window)
{
    size_t past = c->by != KERNEL_BY_CELL ? cell->n_past : 0;

    return window != 0 ? cell->n_window : past + cell->n_row;
}

/* ----------------------------------------------------------- expected --- */

typedef struct sums {
    double out[64], sum, top;
} sums;

/* First pass: the largest score; second: sums of what it leaves. */
static void
add_key(sums *s, const operands *t, const double *q, const size_t at[4],
        int pass, size_t d)
{
    const rig_tensor *k = &t->k[at[0]], *v = &t->v[at[0]];
    double score = 0.0, e;

    for (size_t x = 0; x < d; x++)
        score += q[x] * rig_in(k, at[1], at[2], at[3] + x);
    score /= sqrt((double)d);
    if (pass == 0) {
        s->top = score > s->top ? score : s->top;
        return;
    }
    e = exp(score - s->top);
    s->sum += e;
    for (size_t x = 0; x < d; x++)
        s->out[x] += e * rig_in(v, at[1], at[2], at[3] + x);
}

static void
expect_row(const rig *r, const attention_case *c, uint32_t p, size_t i,
           operands *t)
{
    const kernel_cell *cell = &r->cells[p];

    for (size_t h = 0; h < c->n_head; h++) {
        sums s = {.top = -INFINITY};
        double q[64];

        for (size_t x = 0; x < c->d_head; x++)
            q[x] = rig_in(&t->q, p, i, h * c->d_head + x);
        for (int pass = 0; pass < 2; pass++)
            for (size_t w = 0; w < 2; w++)
                for (size_t j = 0; j < n_keys(c, cell, w); j++)
                    if (sees(c, cell, i, (size_t[2]){w, j}))
                        add_key(
                            &s, t, q,
                            (size_t[4]){w, rig_item(&t->k[w], r, p), j,
                                        h / (c->n_head / c->n_kv) * c->d_head},
                            pass, c->d_head);
        for (size_t x = 0; x < c->d_head; x++)
            rig_want(&t->out, p, i, h * c->d_head + x, s.out[x] / s.sum);
    }
}

/* What no row of the cell sees may hold anything. */
static void
spoil_unseen(const rig *r, const attention_case *c, operands *t, size_t w)
{
    for (uint32_t p = 0; p < r->n_cell; p++)
        for (size_t j = 0; j < c->n_key_row; j++) {
            const kernel_cell *cell = &r->cells[p];
            bool seen = false;

            for (size_t i = 0; i < cell->n_row; i++)
                seen = seen || (j < n_keys(c, cell, w) &&
                                sees(c, cell, i, (size_t[2]){w, j}));
            for (size_t x = 0; !seen && x < c->n_kv * c->d_head; x++) {
                size_t item = rig_item(&t->k[w], r, p);

                t->k[w].host[rig_at(&t->k[w], item, j, x)] = NAN;
                t->v[w].host[rig_at(&t->v[w], item, j, x)] = NAN;
            }
        }
    rig_upload(&t->k[w], r);
    rig_upload(&t->v[w], r);
}

static void
operands_init(operands *t, const rig *r, const attention_case *c)
{
    size_t n_row = 0, d_kv = c->n_kv * c->d_head;

    for (uint32_t p = 0; p < r->n_cell; p++)
        n_row = r->cells[p].n_row > n_row ? r->cells[p].n_row : n_row;
    rig_tensor_init(&t->out, r, KERNEL_BY_CELL, n_row, c->n_head * c->d_head,
                    1);
    rig_tensor_init(&t->q, r, KERNEL_BY_CELL, n_row, c->n_head * c->d_head, 2);
    rig_tensor_init(&t->k[0], r, c->by, c->n_key_row, d_kv, 3);
    rig_tensor_init(&t->v[0], r, c->by, c->n_key_row, d_kv, 4);
    rig_tensor_init(&t->k[1], r, KERNEL_BY_STATE, c->n_key_row, d_kv, 5);
    rig_tensor_init(&t->v[1], r, KERNEL_BY_STATE, c->n_key_row, d_kv, 6);
    for (size_t i = 0; i < t->q.n; i++)
        t->q.host[i] *= c->spread;
    rig_upload(&t->q, r);
    for (size_t w = 0; w < 2; w++)
        spoil_unseen(r, c, t, w);
}

static void
operands_fini(operands *t)
{
    rig_tensor_fini(&t->out);
    rig_tensor_fini(&t->q);
    for (size_t w = 0; w < 2; w++) {
        rig_tensor_fini(&t->k[w]);
        rig_tensor_fini(&t->v[w]);
    }
}

static void
one_case(rig *r, const attention_case *c)
{
    operands t;
    kernel_attention_args a = {.n_head = c->n_head,
                               .n_kv = c->n_kv,
                               .d_head = c->d_head,
                               .scale = 1.0F / sqrtf((float)c->d_head),
                               .n_sink = c->n_sink,
                               .span = c->span,
                               .open_mem = c->open_mem};

    operands_init(&t, r, c);
    for (uint32_t p = 0; p < r->n_cell; p++)
        for (size_t i = 0; i < r->cells[p].n_row; i++)
            expect_row(r, c, p, i, &t);
    a.out = t.out.view;
    a.q = t.q.view;
    a.k = t.k[0].view;
    a.v = t.v[0].view;
    if (c->window) {
        a.window_k = t.k[1].view;
        a.window_v = t.v[1].view;
    }
    rig_begin(r);
    EXPECT_OK(kernel_attention(r->q, &a));
    rig_end(r);
    rig_check(&t.out, r, 3e-6);
    rig_check(&t.k[0], r, 0.0);
    rig_check(&t.v[1], r, 0.0);
    operands_fini(&t);
}

/* -------------------------------------------------------------- tests --- */

static void
on_a_device(rig *r)
{
    static const attention_case cases[] = {
        {3, 3, 8, RIG_N_ROW, KERNEL_BY_CELL, .spread = 1.0F},
        {4, 2, 5, RIG_N_ROW, KERNEL_BY_CELL, .spread = 4.0F},
        {2, 1, 16, RIG_N_ROW, KERNEL_BY_KV, .spread = 1.0F},
        {2, 2, 7, RIG_N_ROW, KERNEL_BY_STATE, .spread = 2.0F},
        {2, 1, 9, RIG_N_ROW, KERNEL_BY_CELL, .span = 1, .spread = 1.0F},
        {2, 1, 9, RIG_N_ROW, KERNEL_BY_CELL, .span = 40, .spread = 3.0F},
        {2, 1, 9, RIG_N_ROW, KERNEL_BY_KV, .span = 17, .spread = 3.0F},
        {2, 2, 6, RIG_N_ROW, KERNEL_BY_CELL, .open_mem = true, .spread = 3.0F},
        {2, 2, 6, RIG_N_ROW, KERNEL_BY_KV, .open_mem = true, .span = 5,
         .spread = 3.0F},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        one_case(r, &cases[i]);
}

static void
attention_is_right(void **state)
{
    (void)state;
    rig_every_way(on_a_device);
}

/* Windows shorter and longer than the segment, none, one row, memory tokens
 * alone, and rows that are several parts and see several blocks. */
static void
window_on_a_device(rig *r)
{
    static const kernel_cell cells[] = {
        {.state = 3, .n_row = 71, .n_prefix = 1, .n_mem = 16, .n_window = 54},
        {.state = 0, .n_row = 1, .n_window = 12},
        {.state = 5, .n_row = 33, .n_mem = 5, .n_window = 0},
        {.state = 1, .n_row = 310, .n_mem = 200, .n_window = 401},
        {.state = 6, .n_row = 7, .n_mem = 7, .n_window = 20},
        {.state = 2, .n_row = 90, .n_mem = 1, .n_window = 20},
    };
    static const attention_case cases[] = {
        {2, 1, 8, 420, KERNEL_BY_CELL, .window = true, .spread = 4.0F},
        {2, 2, 5, 420, KERNEL_BY_CELL, .window = true, .n_sink = 1,
         .spread = 4.0F},
        {1, 1, 5, 420, KERNEL_BY_CELL, .window = true, .n_sink = 3, .span = 9,
         .spread = 2.0F},
        {2, 1, 6, 420, KERNEL_BY_CELL, .window = true, .open_mem = true,
         .n_sink = 1, .spread = 4.0F},
    };

    r->cells = cells;
    r->n_cell = sizeof(cells) / sizeof(cells[0]);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        one_case(r, &cases[i]);
}

static void
window_is_right(void **state)
{
    (void)state;
    rig_every_way(window_on_a_device);
}

/* A cache behind a window: old rows fall out, the sink among them. */
static void
cached_window_on_a_device(rig *r)
{
    static const kernel_cell cells[] = {
        {.kv = 0, .state = 3, .n_row = 41, .n_prefix = 1, .n_window = 54},
        {.kv = 5, .state = 0, .n_row = 1, .n_past = 9, .n_window = 12},
        {.kv = 2, .state = 5, .n_row = 1, .n_past = 300, .n_window = 31},
        {.kv = 4, .state = 1, .n_row = 300, .n_past = 90, .n_window = 110},
        {.kv = 1,
         .state = 6,
         .n_row = 33,
         .n_past = 20,
         .n_mem = 5,
         .n_window = 17},
        {.kv = 6, .state = 2, .n_row = 20, .n_past = 400, .n_window = 395},
        {.kv = 3, .state = 4, .n_row = 8, .n_past = 30, .n_window = 0},
    };
    static const attention_case cases[] = {
        {2, 1, 8, 425, KERNEL_BY_KV, .window = true, .spread = 4.0F},
        {2, 2, 5, 425, KERNEL_BY_STATE, .window = true, .n_sink = 1,
         .spread = 4.0F},
        {1, 1, 6, 425, KERNEL_BY_KV, .window = true, .open_mem = true,
         .n_sink = 2, .spread = 4.0F},
    };

    r->cells = cells;
    r->n_cell = sizeof(cells) / sizeof(cells[0]);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        one_case(r, &cases[i]);
}

static void
cached_window_is_right(void **state)
{
    (void)state;
    rig_every_way(cached_window_on_a_device);
}

/* More keys than one block holds, with one row and with many. */
static void
long_cache_is_right(void **state)
{
    static const kernel_cell cells[] = {
        {.kv = 2, .n_row = 1, .n_past = 1500},
        {.kv = 0, .n_row = 90, .n_past = 1000},
        {.kv = 1, .n_row = 70, .n_past = 480},
    };
    static const attention_case cases[] = {
        {2, 1, 16, 1600, KERNEL_BY_KV, .spread = 12.0F},
        {2, 1, 16, 1600, KERNEL_BY_KV, .span = 700, .spread = 12.0F},
    };
    rig r;

    (void)state;
    rig_open(&r, &rig_ways[1]);
    r.cells = cells;
    r.n_cell = 3;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        one_case(&r, &cases[i]);
    rig_close(&r);
}

static void
count_call(void *ctx)
{
    ++*(uint32_t *)ctx;
}

/* Calls of the hook while 8 rows look at `n_past` keys and their own. */
static uint32_t
calls_behind(uint32_t n_past)
{
    const kernel_cell cell = {.n_row = 8, .n_past = n_past};
    rig_tensor out, q, k, v;
    uint32_t n_call = 0;
    rig r;

    rig_open(&r, &rig_ways[0]);
    r.cells = &cell;
    r.n_cell = 1;
    rig_tensor_init(&out, &r, KERNEL_BY_SLOT, 8, 16, 1);
    rig_tensor_init(&q, &r, KERNEL_BY_SLOT, 8, 16, 2);
    rig_tensor_init(&k, &r, KERNEL_BY_KV, n_past + 8, 16, 3);
    rig_tensor_init(&v, &r, KERNEL_BY_KV, n_past + 8, 16, 4);
    kernel_queue_hook(r.q, count_call, &n_call);
    rig_begin(&r);
    EXPECT_OK(kernel_attention(r.q, &(kernel_attention_args){.out = out.view,
                                                             .q = q.view,
                                                             .k = k.view,
                                                             .v = v.view,
                                                             .n_head = 1,
                                                             .n_kv = 1,
                                                             .d_head = 16,
                                                             .scale = 1}));
    rig_end(&r);
    kernel_queue_hook(r.q, NULL, NULL);
    rig_tensor_fini(&v);
    rig_tensor_fini(&k);
    rig_tensor_fini(&q);
    rig_tensor_fini(&out);
    rig_close(&r);
    return n_call;
}

/* Blocks of keys are what there is a turn behind, not only blocks of rows. */
static void
hook_is_called_between_keys(void **state)
{
    (void)state;
    assert_true(calls_behind(4000) > calls_behind(0) + 4);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention_is_right),
        cmocka_unit_test(window_is_right),
        cmocka_unit_test(cached_window_is_right),
        cmocka_unit_test(long_cache_is_right),
        cmocka_unit_test(hook_is_called_between_keys),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
