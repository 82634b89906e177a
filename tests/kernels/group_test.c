/* SPDX-License-Identifier: Apache-2.0 */
/* A cell's bits do not depend on threads, on the group, on its order, on the
 * device's way of working or on where its rows lie. */
#include <string.h>

#include "base/mem.h"
#include "tests/kernels/layer.h"
#include "tests/kernels/rig.h"

enum { N_SLOT = 6, N_PIECE = 3 };

static const layer_shape shape = {.d = 272,
                                  .n_head = 4,
                                  .n_kv = 2,
                                  .d_head = 34,
                                  .ffn = 300,
                                  .n_row = 160,
                                  .n_mem = 16};

/* One of each kind of shape: full, short, fresh, one row, nothing written. */
static const kernel_cell cells[N_SLOT] = {
    {.layer = 0, .slot = 0, .state = 0, .n_row = 160, .n_mem = 16},
    {.layer = 1, .slot = 1, .state = 1, .n_row = 160, .n_mem = 16},
    {.layer = 2, .slot = 2, .state = 2, .n_row = 77, .n_mem = 16, .fresh = 1},
    {.layer = 3, .slot = 3, .state = 3, .n_row = 1, .pos = 12},
    {.layer = 4, .slot = 4, .state = 4, .n_row = 33, .n_mem = 3, .row0 = 9},
    {.layer = 5, .slot = 5, .state = 5, .n_row = 6, .n_mem = 6, .fresh = 1},
};

/* What a run leaves: hidden states, A and z of all slots. */
typedef struct result {
    float *piece[N_PIECE];
    size_t bytes[N_PIECE];
} result;

static void
result_init(result *out, const layer *l)
{
    const kernel_view *const views[N_PIECE] = {&l->x, &l->A, &l->z};

    for (size_t i = 0; i < N_PIECE; i++) {
        out->bytes[i] = kernel_buf_bytes(views[i]->buf);
        EXPECT_OK(mem_new(&out->piece[i], out->bytes[i], 1));
        EXPECT_OK(kernel_copy_out(l->q, out->piece[i], views[i]->buf, 0,
                                  out->bytes[i]));
    }
    EXPECT_OK(kernel_sync(l->q));
}

static void
result_fini(result *r)
{
    for (size_t i = 0; i < N_PIECE; i++)
        mem_free(r->piece[i]);
}

/* Runs the layer twice over all cells, in groups of `size` of them, from the
 * last one on if `backwards`. */
static void
compute(result *out, const rig_way *way, uint32_t size, bool backwards)
{
    kernel_cell order[N_SLOT];
    layer l;
    rig r;

    rig_open(&r, way);
    layer_init(&l, r.dev, r.q, &shape, N_SLOT, LAYER_KEEP_STATES);
    for (uint32_t i = 0; i < N_SLOT; i++)
        order[i] = cells[backwards ? N_SLOT - 1 - i : i];
    for (int turn = 0; turn < 2; turn++)
        for (uint32_t first = 0; first < N_SLOT; first += size) {
            uint32_t n = N_SLOT - first < size ? N_SLOT - first : size;

            EXPECT_OK(kernel_begin(r.q, &order[first], n));
            layer_enqueue(&l, LAYER_WHOLE);
            EXPECT_OK(kernel_end(r.q));
        }
    result_init(out, &l);
    layer_fini(&l);
    rig_close(&r);
}

static void
assert_same(const result *a, const result *b)
{
    for (size_t i = 0; i < N_PIECE; i++)
        assert_memory_equal(a->piece[i], b->piece[i], a->bytes[i]);
}

static void
bits_do_not_depend_on_the_group(void **state)
{
    result first, other;
    float sum = 0.0F;

    (void)state;
    compute(&first, &rig_ways[0], N_SLOT, false);
    for (size_t i = 0; i < first.bytes[0] / sizeof(float); i++)
        sum += first.piece[0][i];
    assert_true(sum - sum == 0.0F); /* all finite */
    for (size_t way = 0; way < RIG_N_CPU; way++)
        for (uint32_t size = 1; size <= N_SLOT; size++) {
            compute(&other, &rig_ways[way], size, size % 2 == 0);
            assert_same(&first, &other);
            result_fini(&other);
        }
    result_fini(&first);
}

/* Equal rows at another place of the buffer, in another slot and state. */
static void
bits_do_not_depend_on_the_place(void **state)
{
    const kernel_cell pair[2] = {
        {.layer = 2, .slot = 0, .state = 0, .n_row = 70, .n_mem = 5},
        {.layer = 2,
         .slot = 4,
         .state = 3,
         .n_row = 70,
         .n_mem = 5,
         .row0 = 81}};
    size_t row = shape.d * sizeof(float);
    float *a = NULL, *b = NULL;
    layer l;
    rig r;

    (void)state;
    rig_open(&r, &rig_ways[1]);
    layer_init(&l, r.dev, r.q, &shape, N_SLOT, LAYER_KEEP_STATES);
    EXPECT_OK(mem_new(&a, 70, row));
    EXPECT_OK(mem_new(&b, 70, row));
    EXPECT_OK(
        kernel_copy(r.q, l.x.buf, (4 * 160 + 81) * row, l.x.buf, 0, 70 * row));
    EXPECT_OK(kernel_copy(r.q, l.A.buf, 3 * LAYER_D_KEY * row, l.A.buf, 0,
                          LAYER_D_KEY * row));
    EXPECT_OK(kernel_begin(r.q, pair, 1));
    layer_enqueue(&l, LAYER_WHOLE);
    EXPECT_OK(kernel_end(r.q));
    EXPECT_OK(kernel_begin(r.q, pair + 1, 1));
    layer_enqueue(&l, LAYER_WHOLE);
    EXPECT_OK(kernel_end(r.q));
    EXPECT_OK(kernel_copy_out(r.q, a, l.x.buf, 0, 70 * row));
    EXPECT_OK(kernel_copy_out(r.q, b, l.x.buf, (4 * 160 + 81) * row, 70 * row));
    EXPECT_OK(kernel_sync(r.q));
    assert_memory_equal(a, b, 70 * row);
    mem_free(a);
    mem_free(b);
    layer_fini(&l);
    rig_close(&r);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bits_do_not_depend_on_the_group),
        cmocka_unit_test(bits_do_not_depend_on_the_place),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
