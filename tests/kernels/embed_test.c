/* SPDX-License-Identifier: Apache-2.0 */
/* kernel_embed(): tokens, rows before them, memory tokens, learned and carried,
 * and learned positions. */
#include <string.h>

#include "tests/kernels/rig.h"

enum { D = 37, VOCAB = 29, N_POS = 200, MEM_POS = 180 };

typedef struct embed_case {
    bool prefix, memory, carried, position;
    uint32_t mem_pos;
    kernel_type type; /* of the table */
} embed_case;

/* With rows of all three kinds, of one kind, and of one row. */
static const kernel_cell cells[] = {
    {.slot = 1, .state = 0, .n_row = 70, .n_prefix = 16, .n_mem = 16},
    {.slot = 3, .state = 5, .row0 = 4, .n_row = 1, .pos = 9, .fresh = 1},
    {.slot = 0,
     .state = 2,
     .row0 = 1,
     .n_row = 33,
     .n_prefix = 1,
     .n_mem = 5,
     .pos = 70,
     .fresh = 1},
    {.slot = 6, .state = 6, .n_row = 150, .n_mem = 1, .pos = 3},
    {.slot = 2, .state = 1, .row0 = 2, .n_row = 7, .n_mem = 7, .pos = 100},
    {.slot = 4, .state = 3, .n_row = 3, .n_prefix = 3, .fresh = 1},
};

typedef struct operands {
    rig_tensor x, ids, table, prefix, memory, carried, position;
} operands;

static int32_t
token(const operands *t, size_t slot, size_t i)
{
    return (int32_t)(rig_at(&t->ids, slot, 0, i) * 7 % VOCAB);
}

static void
operands_init(operands *t, const rig *r)
{
    rig_tensor_init(&t->x, r, KERNEL_BY_SLOT, RIG_N_ROW, D, 1);
    rig_tensor_init(&t->ids, r, KERNEL_BY_SLOT, 1, RIG_N_ROW, 2);
    rig_tensor_init(&t->table, r, KERNEL_BY_CELL, VOCAB, D, 3);
    rig_tensor_init(&t->prefix, r, KERNEL_BY_CELL, RIG_N_ROW, D, 4);
    rig_tensor_init(&t->memory, r, KERNEL_BY_CELL, RIG_N_ROW, D, 5);
    rig_tensor_init(&t->carried, r, KERNEL_BY_STATE, RIG_N_ROW, D, 6);
    rig_tensor_init(&t->position, r, KERNEL_BY_CELL, N_POS, D, 7);
    t->ids.view.type = KERNEL_I32;
    t->table.view.stride = t->prefix.view.stride = t->memory.view.stride = 0;
    t->position.view.stride = 0;
    for (size_t slot = 0; slot < RIG_N_ITEM; slot++)
        for (size_t i = 0; i < RIG_N_ROW; i++) {
            int32_t id = token(t, slot, i);

            memcpy(&t->ids.host[rig_at(&t->ids, slot, 0, i)], &id, sizeof(id));
        }
    rig_upload(&t->ids, r);
}

static void
operands_fini(operands *t)
{
    rig_tensor_fini(&t->x);
    rig_tensor_fini(&t->ids);
    rig_tensor_fini(&t->table);
    rig_tensor_fini(&t->prefix);
    rig_tensor_fini(&t->memory);
    rig_tensor_fini(&t->carried);
    rig_tensor_fini(&t->position);
}

static double
wanted(const embed_case *c, const operands *t, const kernel_cell *cell,
       const size_t at[2])
{
    size_t i = at[0], first_mem = cell->n_row - cell->n_mem;
    size_t j = i < first_mem ? i : i - first_mem;
    bool carried = c->carried && cell->fresh == 0;
    bool is_mem = i >= first_mem;
    double value, position = 0.0;

    if (i >= cell->n_prefix && !is_mem)
        value = rig_in(
            &t->table, 0,
            (size_t)token(t, cell->slot, cell->row0 + i - cell->n_prefix),
            at[1]);
    else if (carried)
        value = rig_in(&t->carried, cell->state, j, at[1]);
    else
        value = rig_in(is_mem ? &t->memory : &t->prefix, 0, j, at[1]);
    if (c->position)
        position = rig_in(
            &t->position, 0,
            is_mem && c->mem_pos > 0 ? c->mem_pos + j : cell->pos + i, at[1]);
    return value + position;
}

static void
one_case(rig *r, const embed_case *c)
{
    operands t;
    kernel_embed_args a = {.mem_pos = c->mem_pos, .d = D};

    operands_init(&t, r);
    if (c->type != KERNEL_F32)
        rig_narrow(&t.table, r, c->type);
    for (uint32_t p = 0; p < r->n_cell; p++)
        for (size_t i = 0; i < r->cells[p].n_row; i++)
            for (size_t j = 0; j < D; j++)
                rig_want(&t.x, r->cells[p].slot, r->cells[p].row0 + i, j,
                         wanted(c, &t, &r->cells[p], (size_t[2]){i, j}));
    a.x = t.x.view;
    a.ids = t.ids.view;
    a.table = t.table.view;
    if (c->prefix)
        a.prefix = t.prefix.view;
    if (c->memory)
        a.memory = t.memory.view;
    if (c->carried)
        a.carried = t.carried.view;
    if (c->position)
        a.position = t.position.view;
    rig_begin(r);
    EXPECT_OK(kernel_embed(r->q, &a));
    rig_end(r);
    rig_check(&t.x, r, c->position ? 1e-7 : 0.0);
    if (c->type == KERNEL_F32)
        rig_check(&t.table, r, 0.0);
    rig_check(&t.carried, r, 0.0);
    operands_fini(&t);
}

static void
on_a_device(rig *r)
{
    static const embed_case cases[] = {
        {.prefix = true, .memory = true},
        {.prefix = true, .memory = true, .carried = true},
        {.prefix = true, .memory = true, .position = true},
        {.prefix = true,
         .memory = true,
         .carried = true,
         .position = true,
         .mem_pos = MEM_POS},
        {.prefix = true, .memory = true, .type = KERNEL_BF16},
        {.prefix = true, .memory = true, .type = KERNEL_F16},
    };

    r->cells = cells;
    r->n_cell = sizeof(cells) / sizeof(cells[0]);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        one_case(r, &cases[i]);
}

static void
rows_are_right(void **state)
{
    (void)state;
    rig_every_way(on_a_device);
}

/* A model that has no memory tokens and nothing before the tokens. */
static void
tokens_on_a_device(rig *r)
{
    static const kernel_cell plain[] = {
        {.slot = 1, .n_row = 40},
        {.slot = 0, .row0 = 11, .n_row = 1, .pos = 11},
    };

    r->cells = plain;
    r->n_cell = 2;
    one_case(r, &(embed_case){0});
    one_case(r, &(embed_case){.position = true});
}

static void
tokens_alone_are_right(void **state)
{
    (void)state;
    rig_every_way(tokens_on_a_device);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_right),
        cmocka_unit_test(tokens_alone_are_right),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
