/* SPDX-License-Identifier: Apache-2.0 */
/* kernel_rmsnorm() and kernel_layernorm() against the formulas in double. */
#include <math.h>

#include "tests/kernels/rig.h"

typedef struct norm_case {
    size_t d, n_head;
    kernel_by out_by, x_by;
    kernel_rows rows;
    bool centre, bias; /* layernorm */
    bool in_place;
    float shift; /* of x: a mean far from 0 cancels */
} norm_case;

static const float EPS = 1e-3F;

typedef struct operands {
    rig_tensor out, x, w, bias;
} operands;

/* One piece: row i of cell p, from column `col` on. */
static void
expect_piece(const rig *r, const norm_case *c, operands *t, const size_t at[3])
{
    uint32_t p = (uint32_t)at[0];
    size_t x_item = rig_item(&t->x, r, p), layer = r->cells[p].layer;
    size_t x_row = rig_row0(&t->x, r, p, c->rows) + at[1];
    rig_tensor *out = c->in_place ? &t->x : &t->out;
    double mean = 0.0, square = 0.0;

    for (size_t j = 0; j < c->d && c->centre; j++)
        mean += rig_in(&t->x, x_item, x_row, at[2] + j) / (double)c->d;
    for (size_t j = 0; j < c->d; j++)
        square += pow(rig_in(&t->x, x_item, x_row, at[2] + j) - mean, 2.0);
    for (size_t j = 0; j < c->d; j++) {
        double x = rig_in(&t->x, x_item, x_row, at[2] + j) - mean;

        rig_want(out, rig_item(out, r, p), rig_row0(out, r, p, c->rows) + at[1],
                 at[2] + j,
                 rig_in(&t->w, layer, 0, j) * x /
                         sqrt(square / (double)c->d + (double)EPS) +
                     (c->bias ? rig_in(&t->bias, layer, 0, j) : 0.0));
    }
}

static void
operands_init(operands *t, const rig *r, const norm_case *c)
{
    size_t width = c->d * c->n_head;

    rig_tensor_init(&t->out, r, c->out_by, RIG_N_ROW, width, 1);
    rig_tensor_init(&t->x, r, c->x_by, RIG_N_ROW, width, 2);
    rig_tensor_init(&t->w, r, KERNEL_BY_LAYER, 1, c->d, 3);
    rig_tensor_init(&t->bias, r, KERNEL_BY_LAYER, 1, c->d, 4);
    for (size_t i = 0; i < t->x.n; i++)
        t->x.host[i] += c->shift;
    rig_upload(&t->x, r);
}

static void
operands_fini(operands *t)
{
    rig_tensor_fini(&t->out);
    rig_tensor_fini(&t->x);
    rig_tensor_fini(&t->w);
    rig_tensor_fini(&t->bias);
}

static void
one_case(rig *r, const norm_case *c)
{
    operands t;
    kernel_norm_args a = {
        .d = c->d, .n_head = c->n_head, .eps = EPS, .rows = c->rows};
    /* A mean of 100 costs its own rounding, not that of its square. */
    double tolerance = 2e-6 + 5e-7 * (double)c->shift;

    operands_init(&t, r, c);
    for (uint32_t p = 0; p < r->n_cell; p++)
        for (size_t i = 0; i < rig_rows(&r->cells[p], c->rows); i++)
            for (size_t h = 0; h < c->n_head; h++)
                expect_piece(r, c, &t, (size_t[3]){p, i, h * c->d});
    a.out = c->in_place ? t.x.view : t.out.view;
    a.x = t.x.view;
    a.w = t.w.view;
    if (c->bias)
        a.bias = t.bias.view;
    rig_begin(r);
    EXPECT_OK(c->centre ? kernel_layernorm(r->q, &a)
                        : kernel_rmsnorm(r->q, &a));
    rig_end(r);
    rig_check(&t.out, r, tolerance);
    rig_check(&t.x, r, tolerance);
    rig_check(&t.w, r, 0.0);
    operands_fini(&t);
}

/* Plain, heads, memory rows, in place, and what leaves by state as a memory
 * that is carried does. */
static void
rmsnorm_on_a_device(rig *r)
{
    const kernel_rows all = KERNEL_ROWS_ALL, mem = KERNEL_ROWS_MEM;
    const norm_case cases[] = {
        {37, 1, KERNEL_BY_CELL, KERNEL_BY_SLOT, all},
        {37, 1, KERNEL_BY_SLOT, KERNEL_BY_SLOT, mem},
        {9, 5, KERNEL_BY_CELL, KERNEL_BY_CELL, all},
        {9, 5, KERNEL_BY_CELL, KERNEL_BY_CELL, all, .in_place = true},
        {16, 3, KERNEL_BY_CELL, KERNEL_BY_SLOT, mem},
        {37, 1, KERNEL_BY_STATE, KERNEL_BY_SLOT, mem},
        {1, 1, KERNEL_BY_CELL, KERNEL_BY_SLOT, all},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        one_case(r, &cases[i]);
}

static void
rmsnorm_is_right(void **state)
{
    (void)state;
    rig_every_way(rmsnorm_on_a_device);
}

static void
layernorm_on_a_device(rig *r)
{
    const kernel_rows all = KERNEL_ROWS_ALL, mem = KERNEL_ROWS_MEM;
    const norm_case cases[] = {
        {37, 1, KERNEL_BY_CELL, KERNEL_BY_SLOT, all, true, true},
        {37, 1, KERNEL_BY_CELL, KERNEL_BY_SLOT, all, true, false},
        {37, 1, KERNEL_BY_SLOT, KERNEL_BY_SLOT, all, true, true, true, 100.0F},
        {9, 5, KERNEL_BY_CELL, KERNEL_BY_CELL, mem, true, true},
        {48, 1, KERNEL_BY_STATE, KERNEL_BY_SLOT, mem, true, true},
        {1, 1, KERNEL_BY_CELL, KERNEL_BY_SLOT, all, true, true},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        one_case(r, &cases[i]);
}

static void
layernorm_is_right(void **state)
{
    (void)state;
    rig_every_way(layernorm_on_a_device);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rmsnorm_is_right),
        cmocka_unit_test(layernorm_is_right),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
