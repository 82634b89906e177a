/* SPDX-License-Identifier: Apache-2.0 */
/* Steps of answers on a GPU: a layer on cells of one row each, by the launches
 * made for them, against kernels for any shape; and the bits of a cell whoever
 * else is in its group, which are also those of a cell alone, in a program. */
#include <math.h>
#include <stdio.h>

#include "base/mem.h"
#include "tests/kernels/gpu_rig.h"

enum {
    N_ITEM = 20,
    N_ROW = 2048,
    D_MEM = 64,
    D_KEY = 6 * D_MEM,
    N_VOCAB = 520
};

typedef struct shape {
    const char *name;
    size_t d, n_head, n_kv, d_head, ffn;
} shape;

static const shape shapes[] = {
    {"heads of 64", 2048, 32, 8, 64, 8192},
    {"heads of 128", 4096, 16, 8, 128, 4096},
    {"a key a head", 768, 12, 12, 64, 3072},
};

/* What a layer keeps, and what cells of it share. */
typedef struct layer {
    const shape *s;
    kernel_device *dev;
    kernel_queue *q;
    kernel_buf *scratch;
    size_t used;
    uint64_t key;
    kernel_view x, state, kv, logits, next;
    kernel_view w_mq, w_qkv, w_out, w_up, w_down, w_norm, w_head, freq;
} layer;

/* Items of n_row rows of a view's width, random unless `spread` is 0. */
static kernel_view
keep(layer *l, kernel_view like, size_t n_row, size_t n_item, float spread)
{
    kernel_view v = like;
    const kernel_random law = {.key = ++l->key, .spread = spread};

    v.stride = n_row * v.ld;
    EXPECT_OK(kernel_buf_new(&v.buf, l->dev, KERNEL_KEEP,
                             v.stride * kernel_type_size(v.type), n_item));
    if (spread > 0.0F)
        EXPECT_OK(kernel_fill(l->q, v.buf, 0, v.type, v.stride * n_item, &law));
    return v;
}

static kernel_view
rows(kernel_type type, kernel_by by, size_t ld)
{
    return (kernel_view){.type = type, .by = by, .ld = ld};
}

static kernel_view
scratch(layer *l, kernel_type type, size_t ld)
{
    size_t size = kernel_type_size(type);
    kernel_view v = {
        .buf = l->scratch, .type = type, .offset = l->used / size, .ld = ld};

    l->used += (N_ROW * ld * size + 63) / 64 * 64;
    return v;
}

static void
layer_open(layer *l, const shape *s, bool plain)
{
    size_t qkv = (s->n_head + 2 * s->n_kv) * s->d_head;
    float root = 1.0F / sqrtf((float)s->d);
    float freq[64];

    *l = (layer){.s = s};
    gpu_rig_open(&l->dev, &l->q, plain);
    EXPECT_OK(
        kernel_buf_new(&l->scratch, l->dev, KERNEL_SCRATCH,
                       (size_t)N_ROW * (D_KEY + D_MEM) * 4 +
                           (size_t)N_ROW * (3 * s->d + qkv + 3 * s->ffn) * 2,
                       N_ITEM));
    const kernel_type half = KERNEL_BF16;
    const kernel_view by_d = rows(half, KERNEL_BY_LAYER, s->d);
    l->x = keep(l, rows(half, KERNEL_BY_SLOT, s->d), N_ROW, N_ITEM, 1.0F);
    l->state = keep(l, rows(KERNEL_F32, KERNEL_BY_STATE, s->d), D_KEY + 1,
                    N_ITEM, 0.1F);
    l->kv = keep(l, rows(half, KERNEL_BY_KV, 2 * s->n_kv * s->d_head), N_ROW,
                 N_ITEM, 1.0F);
    l->w_mq = keep(l, by_d, D_MEM, 2, root);
    l->w_qkv = keep(l, by_d, qkv, 2, root);
    l->w_out = keep(l, rows(half, KERNEL_BY_LAYER, s->n_head * s->d_head), s->d,
                    2, root);
    l->w_up = keep(l, by_d, 2 * s->ffn, 2, root);
    l->w_down = keep(l, rows(half, KERNEL_BY_LAYER, s->ffn), s->d, 2, root);
    l->w_norm = keep(l, by_d, 1, 2, 1.0F);
    l->w_head = keep(l, rows(half, KERNEL_BY_CELL, s->d), N_VOCAB, 1, root);
    l->w_head.stride = 0;
    l->logits =
        keep(l, rows(KERNEL_F32, KERNEL_BY_CELL, N_VOCAB), 1, N_ITEM, 0.0F);
    l->next = keep(l, rows(KERNEL_I32, KERNEL_BY_SLOT, 1), 1, N_ITEM, 0.0F);
    l->freq =
        keep(l, rows(KERNEL_F32, KERNEL_BY_CELL, s->d_head / 2), 1, 1, 0.0F);
    l->freq.stride = 0;
    for (size_t i = 0; i < s->d_head / 2; i++)
        freq[i] = powf(1e4F, -(float)(2 * i) / (float)s->d_head);
    EXPECT_OK(kernel_copy_in(l->q, l->freq.buf, 0, freq,
                             s->d_head / 2 * sizeof(float)));
    EXPECT_OK(kernel_sync(l->q));
}

static void
layer_close(layer *l)
{
    kernel_view *const views[] = {&l->x,    &l->state,  &l->kv,     &l->logits,
                                  &l->next, &l->w_mq,   &l->w_qkv,  &l->w_out,
                                  &l->w_up, &l->w_down, &l->w_norm, &l->w_head,
                                  &l->freq};

    for (size_t i = 0; i < sizeof views / sizeof *views; i++)
        kernel_buf_free(views[i]->buf);
    kernel_buf_free(l->scratch);
    gpu_rig_close(l->dev, l->q);
}

/* What goes back into x is a residual, of the rows that are needed. */
static void
project(layer *l, kernel_view out, kernel_view in, kernel_view w, size_t n,
        size_t k)
{
    bool back = out.buf == l->x.buf;
    const kernel_linear_args a = {.out = out,
                                  .x = in,
                                  .w = w,
                                  .n = n,
                                  .k = k,
                                  .rows =
                                      back ? KERNEL_ROWS_LATE : KERNEL_ROWS_ALL,
                                  .accumulate = back};

    EXPECT_OK(kernel_linear(l->q, &a));
}

static void
norm(layer *l, kernel_view out)
{
    const kernel_norm_args a = {.out = out,
                                .x = l->x,
                                .w = l->w_norm,
                                .d = l->s->d,
                                .n_head = 1,
                                .eps = 1e-5F};

    EXPECT_OK(kernel_rmsnorm(l->q, &a));
}

static void
read_memory(layer *l)
{
    const kernel_view proj = scratch(l, KERNEL_F32, D_MEM);
    const kernel_view f = scratch(l, KERNEL_F32, D_KEY);
    const kernel_dpfp_args d = {
        .out = f, .x = proj, .d_mem = D_MEM, .n_head = 1};
    kernel_assoc m = {.A = l->state,
                      .z = l->state,
                      .d_key = D_KEY,
                      .d_model = l->s->d,
                      .n_head = 1};

    m.z.offset = D_KEY * l->s->d;
    project(l, proj, l->x, l->w_mq, D_MEM, l->s->d);
    EXPECT_OK(kernel_dpfp(l->q, &d));
    EXPECT_OK(kernel_assoc_read(l->q, l->x, f, &m));
}

static void
attend(layer *l, kernel_view normed)
{
    const shape *s = l->s;
    size_t d_q = s->n_head * s->d_head, d_kv = s->n_kv * s->d_head;
    const kernel_view qkv = scratch(l, KERNEL_BF16, d_q + 2 * d_kv);
    const kernel_view mixed = scratch(l, KERNEL_BF16, d_q);
    kernel_view k = qkv, v = qkv, v_cache = l->kv;
    kernel_rope_args r = {.x = qkv,
                          .freq = l->freq,
                          .n_head = s->n_head,
                          .d_head = s->d_head,
                          .d_rot = s->d_head,
                          .scale = 1.0F};

    k.offset += d_q;
    v.offset += d_q + d_kv;
    v_cache.offset = d_kv;
    project(l, qkv, normed, l->w_qkv, d_q + 2 * d_kv, s->d);
    EXPECT_OK(kernel_rope(l->q, &r));
    r.x = k;
    r.n_head = s->n_kv;
    EXPECT_OK(kernel_rope(l->q, &r));
    EXPECT_OK(kernel_kv_append(l->q, l->kv, v_cache, k, v, d_kv));
    const kernel_attention_args a = {.out = mixed,
                                     .q = qkv,
                                     .k = l->kv,
                                     .v = v_cache,
                                     .n_head = s->n_head,
                                     .n_kv = s->n_kv,
                                     .d_head = s->d_head,
                                     .scale = 1.0F / sqrtf((float)s->d_head)};
    EXPECT_OK(kernel_attention(l->q, &a));
    project(l, l->x, mixed, l->w_out, s->d, d_q);
}

/* The layer, and the head behind it. */
static void
step(layer *l, const kernel_cell *cells, uint32_t n)
{
    kernel_sample_args args[N_ITEM];
    const shape *s = l->s;

    l->used = 0;
    EXPECT_OK(kernel_begin(l->q, cells, n));
    read_memory(l);
    l->used = 0;
    kernel_view normed = scratch(l, KERNEL_BF16, s->d);
    norm(l, normed);
    attend(l, normed);
    norm(l, normed);
    kernel_view up = scratch(l, KERNEL_BF16, 2 * s->ffn);
    kernel_view act = scratch(l, KERNEL_BF16, s->ffn);
    project(l, up, normed, l->w_up, 2 * s->ffn, s->d);
    EXPECT_OK(kernel_swiglu(l->q, act, up, s->ffn));
    project(l, l->x, act, l->w_down, s->d, s->ffn);
    EXPECT_OK(kernel_end(l->q));

    for (uint32_t i = 0; i < n; i++) {
        args[i] = (kernel_sample_args){.top_p = 1.0F};
        if (cells[i].n_row != 1)
            return; /* the head takes a row of each */
    }
    const kernel_sample_op draw = {
        .ids = l->next, .logits = l->logits, .n_vocab = N_VOCAB, .args = args};
    l->used = 0;
    EXPECT_OK(kernel_begin(l->q, cells, n));
    normed = scratch(l, KERNEL_BF16, s->d);
    norm(l, normed);
    project(l, l->logits, normed, l->w_head, N_VOCAB, s->d);
    EXPECT_OK(kernel_sample(l->q, &draw));
    EXPECT_OK(kernel_end(l->q));
}

/* Cells of one row, at items that are their own, behind pasts of any length. */
static void
make_cells(kernel_cell *cells, uint32_t n)
{
    static const uint32_t past[] = {0,   1,   31,  32,   100,
                                    511, 512, 699, 1100, 2047};

    for (uint32_t i = 0; i < n; i++)
        cells[i] = (kernel_cell){.layer = i == 17,
                                 .slot = (i * 7 + 3) % N_ITEM,
                                 .state = i,
                                 .kv = N_ITEM - 1 - i,
                                 .n_row = 1,
                                 .n_past = past[i % 10],
                                 .pos = past[i % 10],
                                 .fresh = i == 4};
}

/* x of a cell's row, and its keys and values. */
typedef struct left {
    float *x, *kv;
    size_t n_x, n_kv;
} left;

static void
left_of(left *out, const layer *l, const kernel_cell *c)
{
    *out = (left){.n_x = l->x.ld, .n_kv = l->kv.stride};
    out->x = gpu_rig_take(l->q, &l->x, c->slot * l->x.stride, out->n_x);
    out->kv = gpu_rig_take(l->q, &l->kv, c->kv * l->kv.stride, out->n_kv);
}

static void
left_fini(left *l)
{
    mem_free(l->x);
    mem_free(l->kv);
}

static void
steps_agree_with_plain_kernels(void **state)
{
    enum { N = N_ITEM };
    kernel_cell cells[N];

    (void)state;
    make_cells(cells, N);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        layer fast, plain;
        double worst[2] = {0.0, 0.0};

        layer_open(&fast, &shapes[i], false);
        layer_open(&plain, &shapes[i], true);
        step(&fast, cells, N);
        step(&plain, cells, N);
        for (uint32_t c = 0; c < N; c++) {
            left a, b;

            left_of(&a, &fast, &cells[c]);
            left_of(&b, &plain, &cells[c]);
            worst[0] =
                fmax(worst[0], gpu_rig_difference(a.x, b.x, NULL, a.n_x));
            worst[1] =
                fmax(worst[1], gpu_rig_difference(a.kv, b.kv, NULL, a.n_kv));
            left_fini(&a);
            left_fini(&b);
        }
        printf("  %s: rows differ by %.2e, caches by %.2e\n", shapes[i].name,
               worst[0], worst[1]);
        assert_true(worst[0] <= 1e-2 && worst[1] <= 1e-2);
        layer_close(&fast);
        layer_close(&plain);
    }
}

/* The logits of cell `c` of many and its token are those of it alone. */
static void
check_head(const layer *many, const layer *alone, const kernel_cell *cells,
           uint32_t c)
{
    size_t id = cells[c].slot * sizeof(int32_t);
    int32_t ids[2] = {-1, -2};
    float *a =
        gpu_rig_take(many->q, &many->logits, c * many->logits.stride, N_VOCAB);
    float *b = gpu_rig_take(alone->q, &alone->logits, 0, N_VOCAB);

    EXPECT_OK(
        kernel_copy_out(many->q, &ids[0], many->next.buf, id, sizeof *ids));
    EXPECT_OK(
        kernel_copy_out(alone->q, &ids[1], alone->next.buf, id, sizeof *ids));
    EXPECT_OK(kernel_sync(many->q));
    EXPECT_OK(kernel_sync(alone->q));
    assert_memory_equal(a, b, N_VOCAB * sizeof(float));
    assert_int_equal(ids[0], ids[1]);
    mem_free(a);
    mem_free(b);
}

/* A cell alone, among many, and beside cells of many rows. */
static void
steps_do_not_see_each_other(void **state)
{
    enum { N = N_ITEM - 2 };
    kernel_cell cells[N_ITEM];
    const char *ran = "nothing";

    (void)state;
    make_cells(cells, N_ITEM);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        layer many, mixed;

        layer_open(&many, &shapes[i], false);
        layer_open(&mixed, &shapes[i], false);
        step(&many, cells, N);
        cells[N].n_row = cells[N + 1].n_row = 70;
        cells[N].n_past = cells[N + 1].n_past = 0;
        step(&mixed, cells, N_ITEM);
        for (uint32_t c = 0; c < N; c += 3) {
            layer alone;
            left a, b, m;

            layer_open(&alone, &shapes[i], false);
            step(&alone, &cells[c], 1);
            (void)kernel_ran(alone.q, &ran, 1);
            left_of(&a, &many, &cells[c]);
            left_of(&b, &alone, &cells[c]);
            left_of(&m, &mixed, &cells[c]);
            assert_memory_equal(a.x, b.x, a.n_x * sizeof(float));
            assert_memory_equal(a.kv, b.kv, a.n_kv * sizeof(float));
            assert_memory_equal(m.x, b.x, a.n_x * sizeof(float));
            assert_memory_equal(m.kv, b.kv, a.n_kv * sizeof(float));
            check_head(&many, &alone, cells, c);
            left_fini(&a);
            left_fini(&b);
            left_fini(&m);
            layer_close(&alone);
        }
        printf("  %s: a head alone by \"%s\"\n", shapes[i].name, ran);
        layer_close(&many);
        layer_close(&mixed);
        make_cells(cells, N_ITEM);
    }
}

/* Steps one behind another, none waited for, of a cell alone and of two. */
static void
steps_follow_each_other(void **state)
{
    enum { STEPS = 24, FIRST = 505 };
    layer two, alone;
    left a, b;

    (void)state;
    layer_open(&two, &shapes[0], false);
    layer_open(&alone, &shapes[0], false);
    for (uint32_t i = 0; i < STEPS; i++) {
        kernel_cell cells[2];

        make_cells(cells, 2);
        for (uint32_t c = 0; c < 2; c++)
            cells[c].n_past = cells[c].pos = FIRST + i;
        step(&two, cells, 2);
        step(&alone, cells, 1);
        if (i + 1 < STEPS)
            continue;
        left_of(&a, &two, &cells[0]);
        left_of(&b, &alone, &cells[0]);
        assert_memory_equal(a.x, b.x, a.n_x * sizeof(float));
        assert_memory_equal(a.kv, b.kv, a.n_kv * sizeof(float));
        check_head(&two, &alone, cells, 0);
        left_fini(&a);
        left_fini(&b);
    }
    layer_close(&two);
    layer_close(&alone);
}

/* A row that nobody needs, beside cells of many rows: what is behind it in its
 * slot stays. */
static void
a_row_that_nobody_needs_leaves_others(void **state)
{
    layer l;
    kernel_cell cells[3];
    float *before, *after;

    (void)state;
    layer_open(&l, &shapes[0], false);
    make_cells(cells, 3);
    for (uint32_t c = 0; c < 3; c++) {
        cells[c].n_row = 70;
        cells[c].n_past = 0;
    }
    step(&l, cells, 3); /* so that scratch has numbers */
    cells[0].n_row = cells[0].n_skip = 1;
    size_t first = cells[0].slot * l.x.stride + l.x.ld;
    size_t n = l.x.stride - l.x.ld;
    before = gpu_rig_take(l.q, &l.x, first, n);
    step(&l, cells, 3);
    after = gpu_rig_take(l.q, &l.x, first, n);
    assert_memory_equal(before, after, n * sizeof(float));
    mem_free(before);
    mem_free(after);
    layer_close(&l);
}

/* Positions behind those that turns are tabulated for: a group that was
 * replayed before, and one that never was. */
static void
far_steps_are_those_of_new_groups(void **state)
{
    enum { NEAR = 100, FAR = 300000, STEPS = 3 };
    layer again, anew;
    left a, b;

    (void)state;
    layer_open(&again, &shapes[0], false);
    layer_open(&anew, &shapes[0], false);
    for (uint32_t i = 0; i < STEPS; i++) {
        kernel_cell cells[2 + STEPS];

        make_cells(cells, 2 + STEPS);
        for (uint32_t c = 0; c < 2 + STEPS; c++) {
            cells[c].n_past = NEAR + i;
            cells[c].pos = i + 1 < STEPS ? NEAR + i : FAR;
        }
        step(&again, cells, 2);
        step(&anew, cells, 2 + i);
        if (i + 1 < STEPS)
            continue;
        left_of(&a, &again, &cells[0]);
        left_of(&b, &anew, &cells[0]);
        assert_memory_equal(a.x, b.x, a.n_x * sizeof(float));
        assert_memory_equal(a.kv, b.kv, a.n_kv * sizeof(float));
        left_fini(&a);
        left_fini(&b);
    }
    layer_close(&again);
    layer_close(&anew);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_agree_with_plain_kernels),
        cmocka_unit_test(steps_do_not_see_each_other),
        cmocka_unit_test(steps_follow_each_other),
        cmocka_unit_test(a_row_that_nobody_needs_leaves_others),
        cmocka_unit_test(far_steps_are_those_of_new_groups),
    };

    if (gpu_rig_skips())
        return 77;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
