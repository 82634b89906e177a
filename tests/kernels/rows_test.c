/* SPDX-License-Identifier: Apache-2.0 */
/* The operations on single rows: rope, kv, swiglu, gelu, dpfp. */
#include <math.h>

#include "tests/kernels/rig.h"

/* --------------------------------------------------------------- rope --- */

typedef struct rope_case {
    size_t n_head, d_head, d_rot;
    float scale;
} rope_case;

static void
rope_expect(const rig *r, rig_tensor *x, const rig_tensor *freq,
            const rope_case *k)
{
    size_t half = k->d_rot / 2;

    for (uint32_t p = 0; p < r->n_cell; p++) {
        const kernel_cell *c = &r->cells[p];

        for (size_t i = 0; i < c->n_row; i++)
            for (size_t h = 0; h < k->n_head * half; h++) {
                size_t at = h / half * k->d_head + h % half;
                double angle =
                    (double)(c->pos + i) * rig_in(freq, 0, 0, h % half);
                double cosine = (double)k->scale * cos(angle);
                double sine = (double)k->scale * sin(angle);
                double a = rig_in(x, p, i, at), b = rig_in(x, p, i, at + half);

                rig_want(x, p, i, at, a * cosine - b * sine);
                rig_want(x, p, i, at + half, b * cosine + a * sine);
            }
    }
}

static void
rope_of(rig *r, const rope_case *c)
{
    rig_tensor x, freq;

    rig_tensor_init(&x, r, KERNEL_BY_CELL, RIG_N_ROW, c->n_head * c->d_head, 1);
    rig_tensor_init(&freq, r, KERNEL_BY_CELL, 1, c->d_rot / 2, 2);
    freq.view.stride = 0;
    rope_expect(r, &x, &freq, c);
    rig_begin(r);
    EXPECT_OK(kernel_rope(r->q, &(kernel_rope_args){.x = x.view,
                                                    .freq = freq.view,
                                                    .n_head = c->n_head,
                                                    .d_head = c->d_head,
                                                    .d_rot = c->d_rot,
                                                    .scale = c->scale}));
    rig_end(r);
    rig_check(&x, r, 5e-7);
    rig_tensor_fini(&x);
    rig_tensor_fini(&freq);
}

/* Whole heads, a part of them, and with a scale. */
static void
rope_on_a_device(rig *r)
{
    rope_of(r, &(rope_case){3, 18, 18, 1.0F});
    rope_of(r, &(rope_case){3, 20, 6, 1.0F});
    rope_of(r, &(rope_case){2, 34, 34, 1.3F});
    rope_of(r, &(rope_case){2, 11, 2, 0.8F});
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
    kernel_cell cell = {.n_row = 40, .pos = 1000003};
    rig r;

    (void)state;
    rig_open(&r, &rig_ways[0]);
    r.cells = &cell;
    r.n_cell = 1;
    rope_of(&r, &(rope_case){1, 32, 32, 1.0F});
    rig_close(&r);
}

/* ----------------------------------------------------------------- kv --- */

enum { D_KV = 6 };

/* Rows from .. from + n - 1 of cell p are rows to .. of its item. */
typedef struct kv_rows {
    size_t from, to, n;
} kv_rows;

static void
kv_expect(const rig *r, uint32_t p, rig_tensor *to, const rig_tensor *from,
          const kv_rows *rows)
{
    for (size_t i = 0; i < rows->n * (size_t)D_KV; i++)
        rig_want(to, rig_item(to, r, p), rows->to + i / D_KV, i % D_KV,
                 rig_in(from, p, rows->from + i / D_KV, i % D_KV));
}

static void
kv_case(rig *r, bool keep, kernel_by by)
{
    rig_tensor k_to, v_to, k, v;

    rig_tensor_init(&k_to, r, by, RIG_N_ROW, D_KV, 1);
    rig_tensor_init(&v_to, r, by, RIG_N_ROW, D_KV, 2);
    rig_tensor_init(&k, r, KERNEL_BY_CELL, RIG_N_ROW, D_KV, 3);
    rig_tensor_init(&v, r, KERNEL_BY_CELL, RIG_N_ROW, D_KV, 4);
    for (uint32_t p = 0; p < r->n_cell; p++) {
        const kernel_cell *c = &r->cells[p];
        const kv_rows kept = {c->n_prefix, 0,
                              c->n_row - c->n_prefix - c->n_mem};
        const kv_rows appended = {0, c->n_past, c->n_row};

        kv_expect(r, p, &k_to, &k, keep ? &kept : &appended);
        kv_expect(r, p, &v_to, &v, keep ? &kept : &appended);
    }
    rig_begin(r);
    EXPECT_OK(
        keep ? kernel_kv_keep(r->q, k_to.view, v_to.view, k.view, v.view, D_KV)
             : kernel_kv_append(r->q, k_to.view, v_to.view, k.view, v.view,
                                D_KV));
    rig_end(r);
    rig_check(&k_to, r, 0.0);
    rig_check(&v_to, r, 0.0);
    rig_check(&k, r, 0.0);
    rig_tensor_fini(&k_to);
    rig_tensor_fini(&v_to);
    rig_tensor_fini(&k);
    rig_tensor_fini(&v);
}

static void
kv_on_a_device(rig *r)
{
    kv_case(r, false, KERNEL_BY_KV);
    kv_case(r, false, KERNEL_BY_STATE);
}

static void
kv_append_is_right(void **state)
{
    (void)state;
    rig_every_way(kv_on_a_device);
}

/* Tokens alone are kept: nothing before them, no memory tokens. */
static void
keep_on_a_device(rig *r)
{
    static const kernel_cell cells[] = {
        {.state = 3, .n_row = 71, .n_prefix = 1, .n_mem = 16},
        {.state = 0, .n_row = 1, .n_past = 9},
        {.state = 5, .n_row = 33, .n_mem = 5, .n_past = 12},
        {.state = 1, .n_row = 7, .n_mem = 7},
        {.state = 6, .n_row = 90, .n_prefix = 40},
    };

    r->cells = cells;
    r->n_cell = sizeof(cells) / sizeof(cells[0]);
    kv_case(r, true, KERNEL_BY_STATE);
}

static void
kv_keep_is_right(void **state)
{
    (void)state;
    rig_every_way(keep_on_a_device);
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

/* --------------------------------------------------------------- gelu --- */

static double
wanted_gelu(double x, bool by_tanh)
{
    double cubic = sqrt(2.0 / acos(-1.0)) * (x + 0.044715 * x * x * x);

    return x / 2.0 * (1.0 + (by_tanh ? tanh(cubic) : erf(x / sqrt(2.0))));
}

static void
gelu_case(rig *r, bool by_tanh, bool in_place)
{
    enum { D = 35 };
    rig_tensor out, in;
    rig_tensor *to = in_place ? &in : &out;

    rig_tensor_init(&out, r, KERNEL_BY_CELL, RIG_N_ROW, D, 1);
    rig_tensor_init(&in, r, KERNEL_BY_CELL, RIG_N_ROW, D, 2);
    for (size_t i = 0; i < in.n; i++)
        in.host[i] *= i % 3 == 0 ? 100.0F : 3.0F;
    rig_upload(&in, r);
    for (uint32_t p = 0; p < r->n_cell; p++)
        for (size_t i = 0; i < r->cells[p].n_row; i++)
            for (size_t j = 0; j < D; j++)
                rig_want(to, p, i, j,
                         wanted_gelu(rig_in(&in, p, i, j), by_tanh));
    rig_begin(r);
    EXPECT_OK(kernel_gelu(r->q, to->view, in.view, D, by_tanh));
    rig_end(r);
    rig_check(&out, r, 1e-6);
    rig_check(&in, r, 1e-6);
    rig_tensor_fini(&out);
    rig_tensor_fini(&in);
}

static void
gelu_on_a_device(rig *r)
{
    for (int kind = 0; kind < 4; kind++)
        gelu_case(r, (kind & 1) != 0, (kind & 2) != 0);
}

static void
gelu_is_right(void **state)
{
    (void)state;
    rig_every_way(gelu_on_a_device);
}

/* --------------------------------------------------------------- dpfp --- */

typedef struct dpfp_case {
    size_t d, n_head; /* d of a head */
    bool l2_norm;
    kernel_rows rows;
} dpfp_case;

/* Row i of cell p, head h. */
static void
dpfp_expect(rig_tensor *out, const rig_tensor *x, const dpfp_case *c,
            const size_t at[3])
{
    double u[64], f[192], sum = 0.0;
    size_t d = c->d;

    for (size_t i = 0; i < d; i++) {
        double value = rig_in(x, at[0], at[1], at[2] * d + i);

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
        rig_want(out, at[0], at[1], at[2] * 6 * d + i,
                 c->l2_norm ? f[i] / fmax(sqrt(sum), 1e-12) : f[i]);
}

static void
dpfp_of(rig *r, const dpfp_case *c)
{
    rig_tensor out, x;
    size_t d_mem = c->d * c->n_head;

    rig_tensor_init(&out, r, KERNEL_BY_CELL, RIG_N_ROW, 6 * d_mem, 1);
    rig_tensor_init(&x, r, KERNEL_BY_CELL, RIG_N_ROW, d_mem, 2);
    for (size_t j = 0; j < c->d; j++) /* a head without any feature */
        x.host[rig_at(&x, 0, 2, j)] = 0.0F;
    rig_upload(&x, r);
    for (uint32_t p = 0; p < r->n_cell; p++)
        for (size_t i = 0; i < rig_rows(&r->cells[p], c->rows); i++)
            for (size_t h = 0; h < c->n_head; h++)
                dpfp_expect(&out, &x, c, (size_t[3]){p, i, h});
    rig_begin(r);
    EXPECT_OK(kernel_dpfp(r->q, &(kernel_dpfp_args){.out = out.view,
                                                    .x = x.view,
                                                    .d_mem = d_mem,
                                                    .n_head = c->n_head,
                                                    .l2_norm = c->l2_norm,
                                                    .rows = c->rows}));
    rig_end(r);
    rig_check(&out, r, 1e-6);
    rig_tensor_fini(&out);
    rig_tensor_fini(&x);
}

static void
dpfp_on_a_device(rig *r)
{
    dpfp_of(r, &(dpfp_case){1, 1, false, KERNEL_ROWS_ALL});
    dpfp_of(r, &(dpfp_case){2, 1, true, KERNEL_ROWS_ALL});
    dpfp_of(r, &(dpfp_case){19, 1, true, KERNEL_ROWS_MEM});
    dpfp_of(r, &(dpfp_case){19, 1, false, KERNEL_ROWS_MEM});
    dpfp_of(r, &(dpfp_case){5, 3, true, KERNEL_ROWS_ALL});
    dpfp_of(r, &(dpfp_case){4, 2, false, KERNEL_ROWS_MEM});
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
        cmocka_unit_test(rope_is_right),
        cmocka_unit_test(rope_is_right_far_away),
        cmocka_unit_test(kv_append_is_right),
        cmocka_unit_test(kv_keep_is_right),
        cmocka_unit_test(swiglu_is_right),
        cmocka_unit_test(gelu_is_right),
        cmocka_unit_test(dpfp_is_right),
        cmocka_unit_test(dpfp_has_the_known_value),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
