/* SPDX-License-Identifier: Apache-2.0 */
/* kernel_linear() against sums in double. */
#include "tests/kernels/rig.h"

typedef struct linear_case {
    size_t n, k;
    kernel_rows rows;
    bool accumulate, bias;
    kernel_by out_by;
    double tolerance; /* grows with the sums: 0 counts as 1e-5 */
    kernel_type type; /* of the weights */
} linear_case;

typedef struct operands {
    rig_tensor out, x, w, bias, scale;
} operands;

/* What w[j, t] stands for, rounded as F32 is. */
static double
weight(const linear_case *c, const operands *o, size_t layer,
       const size_t at[2])
{
    double w = rig_in(&o->w, layer, at[0], at[1]);

    if (c->type != KERNEL_I8)
        return w;
    return (double)((float)w * (float)rig_in(&o->scale, layer, 0, at[0]));
}

static void
expect(const rig *r, const linear_case *c, operands *o)
{
    rig_tensor *out = &o->out;
    const rig_tensor *x = &o->x, *bias = &o->bias;

    for (uint32_t p = 0; p < r->n_cell; p++) {
        size_t m = rig_rows(&r->cells[p], c->rows);
        size_t x_item = rig_item(x, r, p), out_item = rig_item(out, r, p);
        size_t x0 = rig_row0(x, r, p, c->rows);
        size_t out0 = rig_row0(out, r, p, c->rows);
        size_t layer = r->cells[p].layer;

        for (size_t i = 0; i < m; i++)
            for (size_t j = 0; j < c->n; j++) {
                double sum = c->bias ? rig_in(bias, layer, 0, j) : 0.0;

                for (size_t t = 0; t < c->k; t++)
                    sum += rig_in(x, x_item, x0 + i, t) *
                           weight(c, o, layer, (size_t[2]){j, t});
                if (c->accumulate)
                    sum += rig_in(out, out_item, out0 + i, j);
                rig_want(out, out_item, out0 + i, j, sum);
            }
    }
}

static void
operands_init(operands *o, const rig *r, const linear_case *c)
{
    rig_tensor_init(&o->out, r, c->out_by, RIG_N_ROW, c->n, 1);
    rig_tensor_init(&o->x, r, KERNEL_BY_SLOT, RIG_N_ROW, c->k, 2);
    rig_tensor_init(&o->w, r, KERNEL_BY_LAYER, c->n, c->k, 3);
    rig_tensor_init(&o->bias, r, KERNEL_BY_LAYER, 1, c->n, 4);
    rig_tensor_init(&o->scale, r, KERNEL_BY_LAYER, 1, c->n, 5);
    for (size_t i = 0; i < o->scale.n; i++)
        o->scale.host[i] *= 1.0F / 127.0F;
    rig_upload(&o->scale, r);
    if (c->type != KERNEL_F32)
        rig_narrow(&o->w, r, c->type);
}

static void
operands_fini(operands *o)
{
    rig_tensor_fini(&o->out);
    rig_tensor_fini(&o->x);
    rig_tensor_fini(&o->w);
    rig_tensor_fini(&o->bias);
    rig_tensor_fini(&o->scale);
}

static void
one_case(rig *r, const linear_case *c)
{
    operands o;
    kernel_linear_args a = {
        .n = c->n, .k = c->k, .rows = c->rows, .accumulate = c->accumulate};

    operands_init(&o, r, c);
    a.out = o.out.view;
    a.x = o.x.view;
    a.w = o.w.view;
    if (c->bias)
        a.bias = o.bias.view;
    if (c->type == KERNEL_I8)
        a.scale = o.scale.view;
    expect(r, c, &o);
    rig_begin(r);
    EXPECT_OK(kernel_linear(r->q, &a));
    rig_end(r);
    rig_check(&o.out, r, c->tolerance > 0.0 ? c->tolerance : 1e-5);
    rig_check(&o.x, r, 0.0);
    if (c->type == KERNEL_F32)
        rig_check(&o.w, r, 0.0);
    operands_fini(&o);
}

/* Shapes on both sides of every border that linear.c has. */
static void
on_a_device(rig *r)
{
    static const linear_case cases[] = {
        {48, 32, KERNEL_ROWS_ALL, false, false, KERNEL_BY_CELL},
        {17, 5, KERNEL_ROWS_ALL, true, false, KERNEL_BY_SLOT},
        {8, 67, KERNEL_ROWS_ALL, false, true, KERNEL_BY_CELL},
        {1, 40, KERNEL_ROWS_MEM, false, true, KERNEL_BY_CELL},
        {130, 33, KERNEL_ROWS_MEM, true, true, KERNEL_BY_SLOT},
        {300, 70, KERNEL_ROWS_ALL, true, true, KERNEL_BY_SLOT},
        {790, 19, KERNEL_ROWS_ALL, false, false, KERNEL_BY_CELL},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        one_case(r, &cases[i]);
}

static void
product_is_right(void **state)
{
    (void)state;
    rig_every_way(on_a_device);
}

/* Weights of every type, with many rows, few rows and few columns. */
static void
types_on_a_device(rig *r)
{
    static const kernel_type types[] = {KERNEL_BF16, KERNEL_F16, KERNEL_I8};

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        one_case(r, &(linear_case){130, 75, KERNEL_ROWS_ALL, true, true,
                                   KERNEL_BY_SLOT, .type = types[i]});
        one_case(r, &(linear_case){6, 40, KERNEL_ROWS_ALL, false, true,
                                   KERNEL_BY_CELL, .type = types[i]});
        one_case(r, &(linear_case){300, 33, KERNEL_ROWS_MEM, true, false,
                                   KERNEL_BY_CELL, .type = types[i]});
    }
}

static void
types_are_right(void **state)
{
    (void)state;
    rig_every_way(types_on_a_device);
}

/* A step of the answer: one row, a sum over more than one pass of k. */
static void
deep_product_is_right(void **state)
{
    static const kernel_cell cell = {.n_row = 200, .n_mem = 9};
    const linear_case deep = {
        40, 900, KERNEL_ROWS_ALL, true, true, KERNEL_BY_SLOT, 4e-5};
    rig r;

    (void)state;
    rig_open(&r, &rig_ways[1]);
    r.cells = &cell;
    r.n_cell = 1;
    one_case(&r, &deep);
    rig_close(&r);
}

static void
count_call(void *ctx)
{
    ++*(uint32_t *)ctx;
}

/* The rows of a tile that is written for the first time, each on a large page
 * of its own: there is a turn for each, whatever the system takes to give
 * them. */
static void
hook_is_called_for_each_page(void **state)
{
    enum { N_ROW = 12, WIDTH = 8, LD = (2 << 20) / sizeof(float) };
    static const kernel_cell cell = {.n_row = N_ROW};
    kernel_view out = {.type = KERNEL_F32, .by = KERNEL_BY_SLOT, .ld = LD};
    rig_tensor x, w;
    uint32_t n_call = 0;
    rig r;

    (void)state;
    rig_open(&r, &rig_ways[0]);
    r.cells = &cell;
    r.n_cell = 1;
    rig_tensor_init(&x, &r, KERNEL_BY_SLOT, N_ROW, WIDTH, 1);
    rig_tensor_init(&w, &r, KERNEL_BY_LAYER, WIDTH, WIDTH, 2);
    EXPECT_OK(kernel_buf_new(&out.buf, r.dev, KERNEL_KEEP, LD * sizeof(float),
                             N_ROW));
    kernel_queue_hook(r.q, count_call, &n_call);
    rig_begin(&r);
    EXPECT_OK(kernel_linear(
        r.q,
        &(kernel_linear_args){
            .out = out, .x = x.view, .w = w.view, .n = WIDTH, .k = WIDTH}));
    rig_end(&r);
    assert_true(n_call >= N_ROW);
    kernel_queue_hook(r.q, NULL, NULL);
    kernel_buf_free(out.buf);
    rig_tensor_fini(&w);
    rig_tensor_fini(&x);
    rig_close(&r);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(product_is_right),
        cmocka_unit_test(types_are_right),
        cmocka_unit_test(deep_product_is_right),
        cmocka_unit_test(hook_is_called_for_each_page),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
