/* SPDX-License-Identifier: Apache-2.0 */
/* A GPU's fast launches against its kernels for any shape, which the other
 * tests here hold against sums in double: at the shapes of real models, with
 * odd rows, alone and fused, one cell and many. */
#include <stdio.h>

#include "base/mem.h"
#include "tests/kernels/gpu_rig.h"
#include "tests/kernels/layer.h"

enum { N_KEPT = 13, MAX_CELL = 4 };

/* Shapes of a layer, and the rows of its cells (0: no more). */
typedef struct shape_case {
    layer_shape shape;
    kernel_cell cells[MAX_CELL];
} shape_case;

static const shape_case cases[] = {
    {{"1b", 2048, 32, 8, 64, 8192, 1152, 128, 0, 0, false},
     {{.n_row = 1152, .n_mem = 128},
      {.n_row = 1152, .n_mem = 128, .fresh = 1}}},
    {{"heads of 128", 1024, 8, 2, 128, 2048, 1153, 16, 0, 0, false},
     {{.n_row = 1153, .n_mem = 16},
      {.n_row = 1040, .n_mem = 16},
      {.n_row = 300, .n_mem = 16}}},
    {{"small", 256, 4, 1, 64, 704, 640, 128, 0, 0, false},
     {{.n_row = 640, .n_mem = 128},
      {.n_row = 129, .n_mem = 128},
      {.n_row = 17, .n_mem = 16},
      {.n_row = 3, .n_mem = 1}}},
};

static uint32_t
count_cells(const shape_case *c)
{
    uint32_t n = 0;

    while (n < MAX_CELL && c->cells[n].n_row > 0)
        n++;
    return n;
}

/* What a part leaves: everything that can be copied out. */
typedef struct left {
    const char *name[N_KEPT];
    float *value[N_KEPT];
    size_t n[N_KEPT];
} left;

static void
left_init(left *out, const layer *l)
{
    const kernel_view views[N_KEPT] = {
        l->x,   l->A, l->z,  l->norm, l->qkv, l->attn, l->hidden,
        l->act, l->f, l->mq, l->mk,   l->mv,  l->mb};
    static const char *const names[N_KEPT] = {
        "x",   "A",        "z",  "norm", "qkv", "attention", "hidden",
        "act", "features", "mq", "mk",   "mv",  "mb"};

    *out = (left){.n = {0}};
    for (size_t i = 0; i < N_KEPT; i++) {
        if (l->keep == LAYER_KEEP_STATES && i > 2)
            continue;
        out->name[i] = names[i];
        out->n[i] =
            kernel_buf_bytes(views[i].buf) / kernel_type_size(views[i].type);
        out->value[i] = gpu_rig_take(l->q, &views[i], 0, out->n[i]);
    }
}

static void
left_fini(left *l)
{
    for (size_t i = 0; i < N_KEPT; i++)
        mem_free(l->value[i]);
}

/* Parts of a layer, a group each, and whether what they leave is seen. */
typedef struct course {
    const shape_case *c;
    const layer_part *parts;
    size_t n_part;
    layer_keep keep;
} course;

static void
run_parts(left *before, left *after, bool plain, const course *run)
{
    const shape_case *c = run->c;
    uint32_t n = count_cells(c);
    kernel_cell cells[MAX_CELL];
    kernel_device *dev = NULL;
    kernel_queue *q = NULL;
    layer l;

    gpu_rig_open(&dev, &q, plain);
    layer_init(&l, dev, q, &c->shape, n, run->keep);
    for (uint32_t i = 0; i < n; i++) {
        cells[i] = c->cells[i];
        cells[i].layer = i;
        cells[i].slot = cells[i].state = n - 1 - i;
    }
    left_init(before, &l);
    for (size_t i = 0; i < run->n_part; i++) {
        EXPECT_OK(kernel_begin(q, cells, n));
        layer_enqueue(&l, run->parts[i]);
        EXPECT_OK(kernel_end(q));
    }
    EXPECT_OK(kernel_sync(q));
    left_init(after, &l);
    layer_fini(&l);
    gpu_rig_close(dev, q);
}

static void
compare(const shape_case *c, const layer_part *parts, size_t n_part,
        layer_keep keep, double tolerance)
{
    const course run = {c, parts, n_part, keep};
    left start, plain, again, fast;
    bool bad = false;

    run_parts(&start, &plain, true, &run);
    run_parts(&again, &fast, false, &run);
    for (size_t i = 0; i < N_KEPT; i++) {
        double e;

        if (plain.value[i] == NULL)
            continue;
        assert_memory_equal(start.value[i], again.value[i],
                            start.n[i] * sizeof(float));
        e = gpu_rig_difference(fast.value[i], plain.value[i], start.value[i],
                               plain.n[i]);
        if (e != 0.0)
            printf("  %s, part %d: %s differs by %.2e\n", c->shape.name,
                   (int)parts[n_part - 1], plain.name[i], e);
        bad = bad || !(e <= tolerance);
    }
    left_fini(&start);
    left_fini(&plain);
    left_fini(&again);
    left_fini(&fast);
    if (bad)
        fail_msg("%s: more than %g", c->shape.name, tolerance);
}

static void
each_part_agrees(void **state)
{
    static const layer_part parts[] = {LAYER_MEM_Q,   LAYER_NORM1,   LAYER_QKV,
                                       LAYER_RUN_QKV, LAYER_GATE_UP, LAYER_OUT,
                                       LAYER_DOWN,    LAYER_MEM_KVB};

    (void)state;
    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++)
        for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
            /* Products of nothing but zeros would prove nothing. */
            const layer_part run[3] = {LAYER_NORM1, LAYER_RUN_QKV, parts[i]};
            const layer_part mlp[3] = {LAYER_NORM1, LAYER_RUN_MLP, parts[i]};

            if (parts[i] == LAYER_DOWN)
                compare(&cases[c], mlp, 3, LAYER_KEEP_ALL, 4e-3);
            else
                compare(&cases[c], run, 3, LAYER_KEEP_ALL, 4e-3);
        }
}

static void
attention_agrees(void **state)
{
    static const layer_part run[3] = {LAYER_NORM1, LAYER_RUN_QKV,
                                      LAYER_ATTENTION};

    (void)state;
    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++)
        compare(&cases[c], run, 3, LAYER_KEEP_ALL, 1e-2);
}

static void
fused_runs_agree(void **state)
{
    static const layer_part write[1] = {LAYER_RUN_WRITE};
    static const layer_part both[2] = {LAYER_RUN_WRITE, LAYER_RUN_READ};

    (void)state;
    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
        compare(&cases[c], write, 1, LAYER_KEEP_STATES, 1e-4);
        compare(&cases[c], both, 2, LAYER_KEEP_STATES, 1e-2);
    }
}

static void
whole_layer_agrees(void **state)
{
    static const layer_part twice[3] = {LAYER_WHOLE, LAYER_WHOLE, LAYER_WHOLE};

    (void)state;
    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++)
        compare(&cases[c], twice, 3, LAYER_KEEP_STATES, 2e-2);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_part_agrees),
        cmocka_unit_test(attention_agrees),
        cmocka_unit_test(fused_runs_agree),
        cmocka_unit_test(whole_layer_agrees),
    };

    if (gpu_rig_skips())
        return 77;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
