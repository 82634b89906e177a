/* SPDX-License-Identifier: Apache-2.0 */
/* kernel_attention() against softmax in double, own keys and cached ones. */
#include <math.h>

#include "tests/kernels/rig.h"

typedef struct attention_case {
    size_t n_head, n_kv, d_head;
    size_t n_key_row; /* rows of the key tensors */
    bool cached;
    float spread; /* of the queries: large ones make one key win */
} attention_case;

static void
expect_row(const rig *r, const attention_case *c, uint32_t p, size_t i,
           rig_tensor *const t[4])
{
    const kernel_cell *cell = &r->cells[p];
    size_t item = c->cached ? cell->kv : p;
    size_t n_key = (c->cached ? cell->n_past : 0) + i + 1;

    for (size_t h = 0; h < c->n_head; h++) {
        size_t q0 = h * c->d_head;
        size_t kv0 = h / (c->n_head / c->n_kv) * c->d_head;
        double out[64] = {0}, sum = 0.0, top = -INFINITY;

        for (int pass = 0; pass < 2; pass++)
            for (size_t j = 0; j < n_key; j++) {
                double s = 0.0, e;

                for (size_t k = 0; k < c->d_head; k++)
                    s += rig_in(t[1], p, i, q0 + k) *
                         rig_in(t[2], item, j, kv0 + k);
                s /= sqrt((double)c->d_head);
                top = pass == 0 && s > top ? s : top;
                e = exp(s - top);
                for (size_t k = 0; pass == 1 && k < c->d_head; k++)
                    out[k] += e * rig_in(t[3], item, j, kv0 + k);
                sum += pass == 1 ? e : 0.0;
            }
        for (size_t k = 0; k < c->d_head; k++)
            rig_want(t[0], p, i, q0 + k, out[k] / sum);
    }
}

static void
one_case(rig *r, const attention_case *c)
{
    kernel_by by = c->cached ? KERNEL_BY_KV : KERNEL_BY_CELL;
    rig_tensor out, q, k, v;
    kernel_attention_args a = {.n_head = c->n_head,
                               .n_kv = c->n_kv,
                               .d_head = c->d_head,
                               .scale = 1.0F / sqrtf((float)c->d_head)};

    rig_tensor_init(&out, r, KERNEL_BY_CELL, RIG_N_ROW, c->n_head * c->d_head,
                    1);
    rig_tensor_init(&q, r, KERNEL_BY_CELL, RIG_N_ROW, c->n_head * c->d_head, 2);
    rig_tensor_init(&k, r, by, c->n_key_row, c->n_kv * c->d_head, 3);
    rig_tensor_init(&v, r, by, c->n_key_row, c->n_kv * c->d_head, 4);
    for (size_t i = 0; i < q.n; i++)
        q.host[i] *= c->spread;
    rig_upload(&q, r);
    for (uint32_t p = 0; p < r->n_cell; p++)
        for (size_t i = 0; i < r->cells[p].n_row; i++)
            expect_row(r, c, p, i, (rig_tensor *[4]){&out, &q, &k, &v});
    a.out = out.view;
    a.q = q.view;
    a.k = k.view;
    a.v = v.view;
    rig_begin(r);
    EXPECT_OK(kernel_attention(r->q, &a));
    rig_end(r);
    rig_check(&out, r, 3e-6);
    rig_check(&k, r, 0.0);
    rig_tensor_fini(&out);
    rig_tensor_fini(&q);
    rig_tensor_fini(&k);
    rig_tensor_fini(&v);
}

static void
on_a_device(rig *r)
{
    static const attention_case cases[] = {
        {3, 3, 8, RIG_N_ROW, false, 1.0F},
        {4, 2, 5, RIG_N_ROW, false, 4.0F},
        {2, 1, 16, RIG_N_ROW, true, 1.0F},
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

/* More keys than one block holds, with one row and with many. */
static void
long_cache_is_right(void **state)
{
    static const kernel_cell cells[] = {
        {.kv = 2, .n_row = 1, .n_past = 1500},
        {.kv = 0, .n_row = 90, .n_past = 1000},
        {.kv = 1, .n_row = 70, .n_past = 480},
    };
    const attention_case c = {2, 1, 16, 1600, true, 12.0F};
    rig r;

    (void)state;
    rig_open(&r, &rig_ways[1]);
    r.cells = cells;
    r.n_cell = 3;
    one_case(&r, &c);
    rig_close(&r);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention_is_right),
        cmocka_unit_test(long_cache_is_right),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
