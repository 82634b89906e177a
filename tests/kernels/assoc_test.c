/* SPDX-License-Identifier: Apache-2.0 */
/* The associative memory, read and written, against the formulas in double. */
#include <math.h>

#include "base/mem.h"
#include "tests/kernels/rig.h"

typedef struct assoc_case {
    size_t d_key, d_model;
    bool correction, l2_norm;
} assoc_case;

typedef struct memory {
    rig_tensor A, z;
    kernel_assoc mem;
} memory;

static void
memory_init(memory *m, const rig *r, const assoc_case *c)
{
    rig_tensor_init(&m->A, r, KERNEL_BY_STATE, c->d_key, c->d_model, 1);
    rig_tensor_init(&m->z, r, KERNEL_BY_STATE, 1, c->d_key, 2);
    for (size_t i = 0; i < m->z.n; i++)
        m->z.host[i] = fabsf(m->z.host[i]);
    rig_upload(&m->z, r);
    m->mem = (kernel_assoc){.A = m->A.view,
                            .z = m->z.view,
                            .d_key = c->d_key,
                            .d_model = c->d_model,
                            .n_head = 1,
                            .correction = c->correction,
                            .l2_norm = c->l2_norm};
}

static void
memory_fini(memory *m)
{
    rig_tensor_fini(&m->A);
    rig_tensor_fini(&m->z);
}

/* Features as DPFP makes them: none negative, and `zero_row` without any. */
static void
features_init(rig_tensor *f, const rig *r, size_t d_key, size_t zero_row)
{
    rig_tensor_init(f, r, KERNEL_BY_CELL, RIG_N_ROW, d_key, 3);
    for (size_t i = 0; i < f->n; i++)
        f->host[i] = f->host[i] > 0.0F ? f->host[i] * 0.3F : 0.0F;
    for (size_t i = 0; i < RIG_N_ITEM; i++)
        for (size_t j = 0; j < d_key; j++)
            f->host[rig_at(f, i, zero_row, j)] = 0.0F;
    rig_upload(f, r);
}

/* z . f + 1e-5, and f A[:, j]. */
static double
denominator(const memory *m, size_t state, const rig_tensor *f, size_t item,
            size_t row)
{
    double den = 1e-5;

    for (size_t t = 0; t < m->mem.d_key; t++)
        den += rig_in(&m->z, state, 0, t) * rig_in(f, item, row, t);
    return den;
}

static double
recalled(const memory *m, size_t state, const rig_tensor *f, size_t item,
         const size_t at[2])
{
    double sum = 0.0;

    for (size_t t = 0; t < m->mem.d_key; t++)
        sum += rig_in(f, item, at[0], t) * rig_in(&m->A, state, t, at[1]);
    return sum;
}

static void
read_on_a_device(rig *r)
{
    const assoc_case c = {30, 45, true, false};
    rig_tensor x, f;
    memory m;

    memory_init(&m, r, &c);
    rig_tensor_init(&x, r, KERNEL_BY_SLOT, RIG_N_ROW, c.d_model, 4);
    features_init(&f, r, c.d_key, 6);
    for (uint32_t p = 0; p < r->n_cell; p++) {
        const kernel_cell *cell = &r->cells[p];

        for (size_t i = 0; !cell->fresh && i < cell->n_row; i++) {
            double den = denominator(&m, cell->state, &f, p, i);

            for (size_t j = 0; j < c.d_model; j++)
                rig_want(
                    &x, cell->slot, cell->row0 + i, j,
                    rig_in(&x, cell->slot, cell->row0 + i, j) +
                        recalled(&m, cell->state, &f, p, (size_t[2]){i, j}) /
                            den);
        }
    }
    rig_begin(r);
    EXPECT_OK(kernel_assoc_read(r->q, x.view, f.view, &m.mem));
    rig_end(r);
    rig_check(&x, r, 1e-5);
    rig_check(&m.A, r, 0.0);
    rig_check(&m.z, r, 0.0);
    rig_tensor_fini(&x);
    rig_tensor_fini(&f);
    memory_fini(&m);
}

static void
read_is_right(void **state)
{
    (void)state;
    rig_every_way(read_on_a_device);
}

static double
wanted_gate(const memory *m, const kernel_cell *cell, const rig_tensor *k,
            uint32_t p, size_t row)
{
    double norm = m->mem.l2_norm ? 0.0 : 1e-5;
    double den = denominator(m, cell->state, k, p, row);

    if (cell->fresh || !m->mem.correction)
        return 1.0;
    for (size_t t = 0; t < m->mem.d_key; t++)
        norm += pow(rig_in(k, p, row, t), 2.0);
    return norm == 0.0 ? 0.0 : fmin(fmax(1.0 - den / norm, 0.0), 1.0);
}

static void
expect_write(memory *m, const kernel_cell *cell, uint32_t p,
             rig_tensor *const t[3])
{
    const rig_tensor *k = t[0], *v = t[1], *b = t[2];

    for (size_t i = 0; cell->n_mem > 0 && i < m->mem.d_key; i++) {
        double z = rig_in(&m->z, cell->state, 0, i);

        for (size_t row = 0; row < cell->n_mem; row++)
            z += wanted_gate(m, cell, k, p, row) * rig_in(k, p, row, i);
        rig_want(&m->z, cell->state, 0, i, z);
    }
    for (size_t j = 0; cell->n_mem > 0 && j < m->mem.d_model; j++)
        for (size_t row = 0; row < cell->n_mem; row++) {
            double old =
                cell->fresh
                    ? 0.0
                    : recalled(m, cell->state, k, p, (size_t[2]){row, j}) /
                          denominator(m, cell->state, k, p, row);
            double beta = 1.0 / (1.0 + exp(-rig_in(b, p, row, 0)));
            double add = beta * (rig_in(v, p, row, j) - old);

            for (size_t i = 0; i < m->mem.d_key; i++) {
                size_t at = rig_at(&m->A, cell->state, i, j);
                double sum = isnan(m->A.want[at]) ? (double)m->A.host[at]
                                                  : m->A.want[at];

                m->A.want[at] = sum + rig_in(k, p, row, i) * add;
            }
        }
}

static void
write_case(rig *r, const assoc_case *c)
{
    rig_tensor k, v, b;
    memory m;

    memory_init(&m, r, c);
    features_init(&k, r, c->d_key, 2);
    rig_tensor_init(&v, r, KERNEL_BY_CELL, RIG_N_ROW, c->d_model, 5);
    rig_tensor_init(&b, r, KERNEL_BY_CELL, RIG_N_ROW, 1, 6);
    /* Small enough that some keys are news, and g is neither 0 nor 1. */
    for (size_t i = 0; i < m.z.n; i++)
        m.z.host[i] *= 0.1F;
    rig_upload(&m.z, r);
    for (uint32_t p = 0; p < r->n_cell; p++)
        expect_write(&m, &r->cells[p], p, (rig_tensor *[3]){&k, &v, &b});
    rig_begin(r);
    EXPECT_OK(kernel_assoc_write(r->q, &m.mem, k.view, v.view, b.view));
    rig_end(r);
    rig_check(&m.A, r, 2e-5);
    rig_check(&m.z, r, 1e-6);
    rig_check(&b, r, 0.0);
    rig_tensor_fini(&k);
    rig_tensor_fini(&v);
    rig_tensor_fini(&b);
    memory_fini(&m);
}

static void
write_on_a_device(rig *r)
{
    static const assoc_case cases[] = {
        {30, 45, true, false},
        {30, 45, true, true},
        {12, 200, false, false},
        {24, 300, true, true},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        write_case(r, &cases[i]);
}

static void
write_is_right(void **state)
{
    (void)state;
    rig_every_way(write_on_a_device);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(read_is_right),
        cmocka_unit_test(write_is_right),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
