/* SPDX-License-Identifier: Apache-2.0 */
/* The associative memory, read and written, against the formulas in double. */
#include <math.h>

#include "base/mem.h"
#include "tests/kernels/rig.h"

typedef struct assoc_case {
    size_t d_key, d_model, n_head;
    bool correction, l2_norm, gating, no_denom;
    bool narrow; /* A in bf16 */
} assoc_case;

/* Every option alone and with others; column blocks of a head end in the
 * middle, heads narrower and wider than a vector. */
static const assoc_case cases[] = {
    {30, 45, 1, .correction = true},
    {30, 45, 1, .correction = true, .l2_norm = true},
    {12, 200, 1},
    {24, 300, 1, .correction = true, .l2_norm = true},
    {30, 45, 1, .correction = true, .no_denom = true},
    {24, 150, 1, .correction = true, .gating = true},
    {36, 45, 3, .correction = true, .l2_norm = true},
    {48, 320, 2, .l2_norm = true, .gating = true},
    {24, 8, 4, .correction = true, .gating = true, .no_denom = true},
    {30, 45, 1, .correction = true, .narrow = true},
    {24, 300, 1, .correction = true, .l2_norm = true, .narrow = true},
    {48, 320, 2, .l2_norm = true, .gating = true, .narrow = true},
    {36, 45, 3, .l2_norm = true, .no_denom = true, .narrow = true},
};
enum { N_CASE = sizeof(cases) / sizeof(cases[0]) };

typedef struct memory {
    rig_tensor A, z;
    kernel_assoc mem;
    const assoc_case *c;
    size_t d_key, d_model; /* of a head */
} memory;

static void
memory_init(memory *m, const rig *r, const assoc_case *c)
{
    m->c = c;
    m->d_key = c->d_key / c->n_head;
    m->d_model = c->d_model / c->n_head;
    rig_tensor_init(&m->A, r, KERNEL_BY_STATE, c->d_key, m->d_model, 1);
    if (c->narrow)
        rig_narrow(&m->A, r, KERNEL_BF16);
    rig_tensor_init(&m->z, r, KERNEL_BY_STATE, 1, c->d_key, 2);
    /* Small enough that some keys are news, and g is neither 0 nor 1. */
    for (size_t i = 0; i < m->z.n; i++)
        m->z.host[i] = 0.1F * fabsf(m->z.host[i]);
    rig_upload(&m->z, r);
    m->mem = (kernel_assoc){.A = m->A.view,
                            .d_key = c->d_key,
                            .d_model = c->d_model,
                            .n_head = c->n_head,
                            .correction = c->correction,
                            .l2_norm = c->l2_norm,
                            .gating = c->gating};
    if (!c->no_denom)
        m->mem.z = m->z.view;
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

/* A row of features of one head, and the memory it meets. */
typedef struct query {
    const memory *m;
    const rig_tensor *f;
    size_t state, item, row, head;
} query;

static double
feature(const query *q, size_t t)
{
    return rig_in(q->f, q->item, q->row, q->head * q->m->d_key + t);
}

/* z . f + 1e-5, or 1 without denominators. */
static double
denominator(const query *q)
{
    double den = 1e-5;

    for (size_t t = 0; t < q->m->d_key; t++)
        den += rig_in(&q->m->z, q->state, 0, q->head * q->m->d_key + t) *
               feature(q, t);
    return q->m->c->no_denom ? 1.0 : den;
}

/* f A[:, j] / denominator, j a column of the head. */
static double
recalled(const query *q, size_t j)
{
    double sum = 0.0;

    for (size_t t = 0; t < q->m->d_key; t++)
        sum += feature(q, t) *
               rig_in(&q->m->A, q->state, q->head * q->m->d_key + t, j);
    return sum / denominator(q);
}

/* --------------------------------------------------------------- read --- */

static void
expect_read(const memory *m, const kernel_cell *cell, uint32_t p, rig_tensor *x,
            const rig_tensor *f)
{
    for (size_t i = 0; i < cell->n_row; i++)
        for (size_t j = 0; j < m->c->d_model; j++) {
            size_t row = cell->row0 + i;
            const query q = {m, f, cell->state, p, i, j / m->d_model};

            rig_want(x, cell->slot, row, j,
                     rig_in(x, cell->slot, row, j) +
                         recalled(&q, j % m->d_model));
        }
}

static void
read_case(rig *r, const assoc_case *c)
{
    rig_tensor x, f;
    memory m;

    memory_init(&m, r, c);
    rig_tensor_init(&x, r, KERNEL_BY_SLOT, RIG_N_ROW, c->d_model, 4);
    features_init(&f, r, c->d_key, 6);
    for (uint32_t p = 0; p < r->n_cell; p++)
        if (!r->cells[p].fresh && !r->cells[p].bare)
            expect_read(&m, &r->cells[p], p, &x, &f);
    rig_begin(r);
    EXPECT_OK(kernel_assoc_read(r->q, x.view, f.view, &m.mem));
    rig_end(r);
    rig_check(&x, r, 2e-5);
    rig_check(&m.A, r, 0.0);
    rig_check(&m.z, r, 0.0);
    rig_tensor_fini(&x);
    rig_tensor_fini(&f);
    memory_fini(&m);
}

static void
read_on_a_device(rig *r)
{
    for (size_t i = 0; i < N_CASE; i++)
        read_case(r, &cases[i]);
}

static void
read_is_right(void **state)
{
    (void)state;
    rig_every_way(read_on_a_device);
}

/* -------------------------------------------------------------- write --- */

static double
wanted_gate(const query *q, bool fresh)
{
    const assoc_case *c = q->m->c;
    double norm = c->l2_norm ? 0.0 : 1e-5;

    if (fresh || !c->correction)
        return 1.0;
    for (size_t t = 0; t < q->m->d_key; t++)
        norm += pow(feature(q, t), 2.0);
    return norm == 0.0 ? 0.0
                       : fmin(fmax(1.0 - denominator(q) / norm, 0.0), 1.0);
}

/* What one row adds to z and to A, old memory from host. */
static void
expect_row(memory *m, const kernel_cell *cell, const query *q,
           rig_tensor *const vb[2])
{
    const assoc_case *c = m->c;
    double g = wanted_gate(q, cell->fresh != 0);
    size_t key0 = q->head * m->d_key, col0 = q->head * m->d_model;

    for (size_t t = 0; t < m->d_key && !c->no_denom; t++)
        m->z.want[rig_at(&m->z, cell->state, 0, key0 + t)] += g * feature(q, t);
    for (size_t j = 0; j < m->d_model; j++) {
        double old = cell->fresh ? 0.0 : recalled(q, j);
        double b =
            rig_in(vb[1], q->item, q->row, c->gating ? col0 + j : q->head);
        double add = 1.0 / (1.0 + exp(-b)) *
                     (rig_in(vb[0], q->item, q->row, col0 + j) - old);

        for (size_t t = 0; t < m->d_key; t++)
            m->A.want[rig_at(&m->A, cell->state, key0 + t, j)] +=
                feature(q, t) * add;
    }
}

static void
expect_write(memory *m, const kernel_cell *cell, uint32_t p,
             rig_tensor *const t[3])
{
    if (cell->n_mem == 0 || cell->bare)
        return;
    for (size_t i = 0; i < m->c->d_key; i++) {
        if (!m->c->no_denom)
            rig_want(&m->z, cell->state, 0, i,
                     rig_in(&m->z, cell->state, 0, i));
        for (size_t j = 0; j < m->d_model; j++)
            rig_want(&m->A, cell->state, i, j,
                     rig_in(&m->A, cell->state, i, j));
    }
    for (size_t row = 0; row < cell->n_mem; row++)
        for (size_t h = 0; h < m->c->n_head; h++) {
            const query q = {m, t[0], cell->state, p, row, h};

            expect_row(m, cell, &q, (rig_tensor *[2]){t[1], t[2]});
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
    rig_tensor_init(&b, r, KERNEL_BY_CELL, RIG_N_ROW,
                    c->gating ? c->d_model : c->n_head, 6);
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
    for (size_t i = 0; i < N_CASE; i++)
        write_case(r, &cases[i]);
}

static void
write_is_right(void **state)
{
    (void)state;
    rig_every_way(write_on_a_device);
}

/* -------------------------------------------------------------- sizes --- */

/* More of a narrow A than a thread widens at once. */
static void
wide_on_a_device(rig *r)
{
    static const kernel_cell cells[] = {
        {.slot = 1, .state = 2, .n_row = 12, .n_mem = 3}};
    static const assoc_case wide = {
        2040, 150, 1, .correction = true, .l2_norm = true, .narrow = true};

    r->cells = cells;
    r->n_cell = 1;
    read_case(r, &wide);
    write_case(r, &wide);
}

static void
wide_keys_are_widened_in_parts(void **state)
{
    (void)state;
    rig_every_way(wide_on_a_device);
}

/* ------------------------------------------------------------- layers --- */

/* Layers without a memory beside one that has it. */
static void
bare_on_a_device(rig *r)
{
    static const kernel_cell cells[] = {
        {.slot = 1, .state = 0, .n_row = 40, .n_mem = 8, .bare = 1},
        {.slot = 0, .state = 2, .n_row = 40, .n_mem = 8},
        {.slot = 2, .state = 1, .n_row = 12, .n_mem = 3, .bare = 1, .fresh = 1},
    };

    r->cells = cells;
    r->n_cell = sizeof(cells) / sizeof(cells[0]);
    read_case(r, &cases[0]);
    write_case(r, &cases[0]);
    write_case(r, &cases[6]);
}

static void
bare_cells_are_left_alone(void **state)
{
    (void)state;
    rig_every_way(bare_on_a_device);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(read_is_right),
        cmocka_unit_test(write_is_right),
        cmocka_unit_test(wide_keys_are_widened_in_parts),
        cmocka_unit_test(bare_cells_are_left_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
