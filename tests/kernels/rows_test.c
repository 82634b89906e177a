/* SPDX-License-Identifier: Apache-2.0 */
/* The operations on single rows: embed, rmsnorm, rope, kv, swiglu, dpfp. */
#include <math.h>
#include <string.h>

#include "tests/kernels/rig.h"

/* -------------------------------------------------------------- embed --- */

static void
embed_on_a_device(rig *r)
{
    enum { D = 13, VOCAB = 29 };
    rig_tensor x, ids, table, memory;

    rig_tensor_init(&x, r, KERNEL_BY_SLOT, RIG_N_ROW, D, 1);
    rig_tensor_init(&ids, r, KERNEL_BY_SLOT, 1, RIG_N_ROW, 2);
    rig_tensor_init(&table, r, KERNEL_BY_CELL, VOCAB, D, 3);
    rig_tensor_init(&memory, r, KERNEL_BY_CELL, RIG_N_ROW, D, 4);
    ids.view.type = KERNEL_I32;
    table.view.stride = 0;
    memory.view.stride = 0;
    for (size_t i = 0; i < ids.n; i++) {
        int32_t id = (int32_t)(i * 7 % VOCAB);

        memcpy(&ids.host[i], &id, sizeof(id));
    }
    rig_upload(&ids, r);
    for (uint32_t p = 0; p < r->n_cell; p++) {
        const kernel_cell *c = &r->cells[p];

        for (size_t i = 0; i < c->n_row; i++)
            for (size_t j = 0; j < D; j++) {
                size_t n_token = c->n_row - c->n_mem;
                size_t id = rig_at(&ids, c->slot, 0, c->row0 + i) * 7 % VOCAB;
                double value = i < n_token ? rig_in(&table, 0, id, j)
                                           : rig_in(&memory, 0, i - n_token, j);

                rig_want(&x, c->slot, c->row0 + i, j, value);
            }
    }
    rig_begin(r);
    EXPECT_OK(kernel_embed(r->q, &(kernel_embed_args){.x = x.view,
                                                      .ids = ids.view,
                                                      .table = table.view,
                                                      .memory = memory.view,
                                                      .d = D}));
    rig_end(r);
    rig_check(&x, r, 0.0);
    rig_tensor_fini(&x);
    rig_tensor_fini(&ids);
    rig_tensor_fini(&table);
    rig_tensor_fini(&memory);
}

static void
embed_is_right(void **state)
{
    (void)state;
    rig_every_way(embed_on_a_device);
}

/* ------------------------------------------------------------ rmsnorm --- */

static void
rmsnorm_on_a_device(rig *r)
{
    enum { D = 37 };
    rig_tensor out, x, w;

    rig_tensor_init(&out, r, KERNEL_BY_CELL, RIG_N_ROW, D, 1);
    rig_tensor_init(&x, r, KERNEL_BY_SLOT, RIG_N_ROW, D, 2);
    rig_tensor_init(&w, r, KERNEL_BY_LAYER, 1, D, 3);
    for (uint32_t p = 0; p < r->n_cell; p++) {
        const kernel_cell *c = &r->cells[p];

        for (size_t i = 0; i < c->n_row; i++) {
            double sum = 0.0;

            for (size_t j = 0; j < D; j++)
                sum += pow(rig_in(&x, c->slot, c->row0 + i, j), 2.0);
            for (size_t j = 0; j < D; j++)
                rig_want(&out, p, i, j,
                         rig_in(&w, c->layer, 0, j) *
                             rig_in(&x, c->slot, c->row0 + i, j) /
                             sqrt(sum / D + 1e-3));
        }
    }
    rig_begin(r);
    EXPECT_OK(kernel_rmsnorm(r->q, &(kernel_norm_args){.out = out.view,
                                                       .x = x.view,
                                                       .w = w.view,
                                                       .d = D,
                                                       .n_head = 1,
                                                       .eps = 1e-3F}));
    rig_end(r);
    rig_check(&out, r, 1e-6);
    rig_check(&x, r, 0.0);
    rig_tensor_fini(&out);
    rig_tensor_fini(&x);
    rig_tensor_fini(&w);
}

static void
rmsnorm_is_right(void **state)
{
    (void)state;
    rig_every_way(rmsnorm_on_a_device);
}

/* --------------------------------------------------------------- rope --- */

static void
rope_expect(const rig *r, rig_tensor *x, const rig_tensor *freq, size_t n_head,
            size_t half)
{
    for (uint32_t p = 0; p < r->n_cell; p++) {
        const kernel_cell *c = &r->cells[p];

        for (size_t i = 0; i < c->n_row; i++)
            for (size_t h = 0; h < n_head * half; h++) {
                size_t at = h / half * 2 * half + h % half;
                double angle =
                    (double)(c->pos + i) * rig_in(freq, 0, 0, h % half);
                double a = rig_in(x, p, i, at), b = rig_in(x, p, i, at + half);

                rig_want(x, p, i, at, a * cos(angle) - b * sin(angle));
                rig_want(x, p, i, at + half, b * cos(angle) + a * sin(angle));
            }
    }
}

static void
rope_on_a_device(rig *r)
{
    enum { HEADS = 3, HALF = 9 };
    rig_tensor x, freq;

    rig_tensor_init(&x, r, KERNEL_BY_CELL, RIG_N_ROW, HEADS * 2 * HALF, 1);
    rig_tensor_init(&freq, r, KERNEL_BY_CELL, 1, HALF, 2);
    freq.view.stride = 0;
    rope_expect(r, &x, &freq, HEADS, HALF);
    rig_begin(r);
    EXPECT_OK(kernel_rope(r->q, &(kernel_rope_args){.x = x.view,
                                                    .freq = freq.view,
                                                    .n_head = HEADS,
                                                    .d_head = 2 * HALF,
                                                    .d_rot = 2 * HALF,
                                                    .scale = 1}));
    rig_end(r);
    rig_check(&x, r, 4e-7);
    rig_tensor_fini(&x);
    rig_tensor_fini(&freq);
}

static void
rope_is_right(void **state)
{
    (void)state;
    rig_every_way(rope_on_a_device);
}

/* Angles stay exact where positions are large. */
static void
rope_is_right_far_away(void **state)
{
    enum { HEADS = 1, HALF = 16 };
    kernel_cell cell = {.n_row = 40, .pos = 1000003};
    rig_tensor x, freq;
    rig r;

    (void)state;
    rig_open(&r, &rig_ways[0]);
    r.cells = &cell;
    r.n_cell = 1;
    rig_tensor_init(&x, &r, KERNEL_BY_CELL, RIG_N_ROW, 2 * HALF, 1);
    rig_tensor_init(&freq, &r, KERNEL_BY_CELL, 1, HALF, 2);
    rope_expect(&r, &x, &freq, HEADS, HALF);
    rig_begin(&r);
    EXPECT_OK(kernel_rope(r.q, &(kernel_rope_args){.x = x.view,
                                                   .freq = freq.view,
                                                   .n_head = HEADS,
                                                   .d_head = 2 * HALF,
                                                   .d_rot = 2 * HALF,
                                                   .scale = 1}));
    rig_end(&r);
    rig_check(&x, &r, 4e-7);
    rig_tensor_fini(&x);
    rig_tensor_fini(&freq);
    rig_close(&r);
}

/* ----------------------------------------------------------------- kv --- */

static void
kv_on_a_device(rig *r)
{
    enum { D = 6 };
    rig_tensor k_cache, v_cache, k, v;

    rig_tensor_init(&k_cache, r, KERNEL_BY_KV, RIG_N_ROW, D, 1);
    rig_tensor_init(&v_cache, r, KERNEL_BY_KV, RIG_N_ROW, D, 2);
    rig_tensor_init(&k, r, KERNEL_BY_CELL, RIG_N_ROW, D, 3);
    rig_tensor_init(&v, r, KERNEL_BY_CELL, RIG_N_ROW, D, 4);
    for (uint32_t p = 0; p < r->n_cell; p++) {
        const kernel_cell *c = &r->cells[p];

        for (size_t i = 0; i < c->n_row * (size_t)D; i++) {
            size_t row = c->n_past + i / D;

            rig_want(&k_cache, c->kv, row, i % D, rig_in(&k, p, i / D, i % D));
            rig_want(&v_cache, c->kv, row, i % D, rig_in(&v, p, i / D, i % D));
        }
    }
    rig_begin(r);
    EXPECT_OK(
        kernel_kv_append(r->q, k_cache.view, v_cache.view, k.view, v.view, D));
    rig_end(r);
    rig_check(&k_cache, r, 0.0);
    rig_check(&v_cache, r, 0.0);
    rig_tensor_fini(&k_cache);
    rig_tensor_fini(&v_cache);
    rig_tensor_fini(&k);
    rig_tensor_fini(&v);
}

static void
kv_append_is_right(void **state)
{
    (void)state;
    rig_every_way(kv_on_a_device);
}

/* ------------------------------------------------------------- swiglu --- */

static void
swiglu_on_a_device(rig *r)
{
    enum { D = 35 };
    rig_tensor out, in;

    rig_tensor_init(&out, r, KERNEL_BY_CELL, RIG_N_ROW, D, 1);
    rig_tensor_init(&in, r, KERNEL_BY_CELL, RIG_N_ROW, 2 * D, 2);
    /* Gates from -100 to 100: both ends of exp. */
    for (size_t i = 0; i < in.n; i++)
        if (i % 3 == 0)
            in.host[i] *= 100.0F;
    rig_upload(&in, r);
    for (uint32_t p = 0; p < r->n_cell; p++)
        for (size_t i = 0; i < r->cells[p].n_row; i++)
            for (size_t j = 0; j < D; j++) {
                double gate = rig_in(&in, p, i, j);

                rig_want(&out, p, i, j,
                         gate / (1.0 + exp(-gate)) * rig_in(&in, p, i, D + j));
            }
    rig_begin(r);
    EXPECT_OK(kernel_swiglu(r->q, out.view, in.view, D));
    rig_end(r);
    rig_check(&out, r, 5e-7);
    rig_tensor_fini(&out);
    rig_tensor_fini(&in);
}

static void
swiglu_is_right(void **state)
{
    (void)state;
    rig_every_way(swiglu_on_a_device);
}

/* --------------------------------------------------------------- dpfp --- */

static void
dpfp_expect(rig_tensor *out, size_t out_at[2], const rig_tensor *x,
            const size_t x_at[2], size_t d, bool l2_norm)
{
    double u[64], f[192], sum = 0.0;

    for (size_t i = 0; i < d; i++) {
        double value = rig_in(x, x_at[0], x_at[1], i);

        u[i] = value > 0.0 ? value : 0.0;
        u[d + i] = value < 0.0 ? -value : 0.0;
    }
    for (size_t j = 1; j <= 3; j++)
        for (size_t i = 0; i < 2 * d; i++) {
            double value = u[i] * u[(i + 4 * d - j) % (2 * d)];

            f[(j - 1) * 2 * d + i] = value;
            sum += value * value;
        }
    for (size_t i = 0; i < 6 * d; i++)
        rig_want(out, out_at[0], out_at[1], i,
                 l2_norm ? f[i] / fmax(sqrt(sum), 1e-12) : f[i]);
}

static void
dpfp_case(rig *r, size_t d, bool l2_norm, kernel_rows rows)
{
    rig_tensor out, x;

    rig_tensor_init(&out, r, KERNEL_BY_CELL, RIG_N_ROW, 6 * d, 1);
    rig_tensor_init(&x, r, KERNEL_BY_CELL, RIG_N_ROW, d, 2);
    for (size_t j = 0; j < d; j++) /* a row without any feature */
        x.host[rig_at(&x, 0, 2, j)] = 0.0F;
    rig_upload(&x, r);
    for (uint32_t p = 0; p < r->n_cell; p++)
        for (size_t i = 0; i < rig_rows(&r->cells[p], rows); i++)
            dpfp_expect(&out, (size_t[2]){p, i}, &x, (size_t[2]){p, i}, d,
                        l2_norm);
    rig_begin(r);
    EXPECT_OK(kernel_dpfp(r->q, &(kernel_dpfp_args){.out = out.view,
                                                    .x = x.view,
                                                    .d_mem = d,
                                                    .n_head = 1,
                                                    .l2_norm = l2_norm,
                                                    .rows = rows}));
    rig_end(r);
    rig_check(&out, r, 1e-6);
    rig_tensor_fini(&out);
    rig_tensor_fini(&x);
}

static void
dpfp_on_a_device(rig *r)
{
    dpfp_case(r, 1, false, KERNEL_ROWS_ALL);
    dpfp_case(r, 2, true, KERNEL_ROWS_ALL);
    dpfp_case(r, 19, true, KERNEL_ROWS_MEM);
    dpfp_case(r, 19, false, KERNEL_ROWS_MEM);
}

static void
dpfp_is_right(void **state)
{
    (void)state;
    rig_every_way(dpfp_on_a_device);
}

/* The example of the feature map's definition: x = (2, -3). */
static void
dpfp_has_the_known_value(void **state)
{
    static const kernel_cell cell = {.n_row = 1};
    static const double want[12] = {6, [11] = 6};
    rig_tensor out, x;
    rig r;

    (void)state;
    rig_open(&r, &rig_ways[0]);
    r.cells = &cell;
    r.n_cell = 1;
    rig_tensor_init(&out, &r, KERNEL_BY_CELL, 1, 12, 1);
    rig_tensor_init(&x, &r, KERNEL_BY_CELL, 1, 2, 2);
    x.host[rig_at(&x, 0, 0, 0)] = 2.0F;
    x.host[rig_at(&x, 0, 0, 1)] = -3.0F;
    rig_upload(&x, &r);
    for (size_t i = 0; i < 12; i++)
        rig_want(&out, 0, 0, i, want[i]);
    rig_begin(&r);
    EXPECT_OK(kernel_dpfp(r.q, &(kernel_dpfp_args){.out = out.view,
                                                   .x = x.view,
                                                   .d_mem = 2,
                                                   .n_head = 1,
                                                   .l2_norm = false,
                                                   .rows = KERNEL_ROWS_ALL}));
    rig_end(&r);
    rig_check(&out, &r, 0.0);
    rig_tensor_fini(&out);
    rig_tensor_fini(&x);
    rig_close(&r);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(embed_is_right),
        cmocka_unit_test(rmsnorm_is_right),
        cmocka_unit_test(rope_is_right),
        cmocka_unit_test(rope_is_right_far_away),
        cmocka_unit_test(kv_append_is_right),
        cmocka_unit_test(swiglu_is_right),
        cmocka_unit_test(dpfp_is_right),
        cmocka_unit_test(dpfp_has_the_known_value),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
