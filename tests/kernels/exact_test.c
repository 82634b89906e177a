/* SPDX-License-Identifier: Apache-2.0 */
/* The operations of a layer against sums in double over the same rounded
 * inputs, neighbours as one where a device runs them so: at most one bf16 ulp
 * of a row's largest value on a GPU at the shapes of real models, 3e-5 of it in
 * fp32, where turns by large angles are that coarse.  Some rows of every cell,
 * all of their columns; and which launches it was.
 *
 * usage: test_kernels_exact [small], the small shapes alone where a tool makes
 * each slow */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/kernels/exact.h"
#include "tests/kernels/rig.h"

static exact_case small = {
    {"small", 256, 4, 1, 64, 704, 160, 16, 0, 0, false}, 3, {160, 129, 40}, 1};
static exact_case small_narrow = {
    {"small, A in bf16", 256, 4, 1, 64, 704, 160, 16, 0, 0, true},
    3,
    {160, 129, 40},
    1};
static exact_case small_window = {
    {"small, window", 256, 4, 1, 64, 704, 161, 16, 1, 144, false},
    3,
    {161, 90, 161},
    1};

/* Full groups, ramps, one cell, a last segment that is not full. */
static exact_case large[] = {
    {{"1b", 2048, 32, 8, 64, 8192, 1152, 128, 0, 0, false}, 2, {1152}, 1},
    {{"1b, A in bf16", 2048, 32, 8, 64, 8192, 1152, 128, 0, 0, true},
     3,
     {1152, 1152, 300},
     1},
    {{"1b, sink, alone", 2048, 32, 8, 64, 8192, 1153, 128, 0, 0, false},
     1,
     {1153},
     0},
    {{"1b, window and sink", 2048, 32, 8, 64, 8192, 1153, 128, 1, 1024, false},
     2,
     {1153, 461},
     0},
    {{"heads of 128", 2048, 16, 4, 128, 4096, 1153, 16, 0, 0, false},
     3,
     {1040, 1153, 300},
     0},
    {{"heads of 128, window", 2048, 16, 4, 128, 4096, 1040, 16, 0, 1024, false},
     3,
     {1040, 1040, 517},
     1},
    {{"256, a group of 16", 256, 4, 1, 64, 704, 1040, 16, 0, 0, false},
     16,
     {1040, 530},
     1},
    {{"256, 16 with a window", 256, 4, 1, 64, 704, 1041, 16, 1, 1024, false},
     16,
     {1041},
     1},
    {{"256, 128 memory tokens", 256, 4, 1, 64, 704, 1152, 128, 0, 0, false},
     2,
     {1152, 129},
     0},
};

/* --------------------------------------------------------------- cases --- */

/* A cell of a segment, or of the last one, with a full window before it. */
static kernel_cell
cell_of(const exact_case *c, uint32_t i, uint32_t n_row)
{
    bool fresh = i >= c->n_cell - c->fresh;

    return (kernel_cell){.layer = i,
                         .slot = c->n_cell - 1 - i,
                         .state = c->n_cell - 1 - i,
                         .n_row = n_row,
                         .n_prefix = (uint32_t)c->shape.n_sink,
                         .n_mem = (uint32_t)c->shape.n_mem,
                         .n_window = fresh ? 0 : (uint32_t)c->shape.n_window,
                         .fresh = fresh};
}

static void
check_case(const exact_case *c, const char *device, bool plain)
{
    exact e = {.c = c};
    kernel_device *dev = NULL;
    kernel_queue *q = NULL;

    EXPECT_OK(
        kernel_open(&dev, &(kernel_config){.device = device, .plain = plain}));
    EXPECT_OK(kernel_queue_new(&q, dev));
    layer_init(&e.l, dev, q, &c->shape, c->n_cell, LAYER_KEEP_RESULTS);
    for (uint32_t i = 0, n_row = 0; i < c->n_cell; i++) {
        n_row = c->n_row[i] > 0 ? c->n_row[i] : n_row;
        e.cells[i] = cell_of(c, i, n_row);
    }
    exact_read(&e);
    exact_block(&e);
    exact_write(&e);
    printf("  %s%s, %s: largest error %.2f units\n", device,
           plain ? ", any shape" : "", c->shape.name, e.worst);
    layer_fini(&e.l);
    kernel_queue_free(q);
    kernel_close(dev);
}

static void
test_cpu(void **state)
{
    check_case(*state, "cpu", false);
}

static bool
has_gpu(void)
{
    kernel_device *dev = NULL;

    if (kernel_open(&dev, &(kernel_config){.device = "cuda"}) != ST_OK)
        return false;
    kernel_close(dev);
    return true;
}

static void
test_gpu(void **state)
{
    if (has_gpu())
        check_case(*state, "cuda", false);
    else
        printf("  not run: %s\n", status_text());
}

/* What a card that has no launches of its own does, on any. */
static void
test_any_shape(void **state)
{
    if (has_gpu())
        check_case(*state, "cuda", true);
    else
        printf("  not run: %s\n", status_text());
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest first[] = {
        cmocka_unit_test_prestate(test_cpu, &small),
        cmocka_unit_test_prestate(test_cpu, &small_narrow),
        cmocka_unit_test_prestate(test_cpu, &small_window),
        cmocka_unit_test_prestate(test_gpu, &small),
        cmocka_unit_test_prestate(test_gpu, &small_narrow),
        cmocka_unit_test_prestate(test_gpu, &small_window),
        cmocka_unit_test_prestate(test_any_shape, &small),
        cmocka_unit_test_prestate(test_any_shape, &small_narrow),
        cmocka_unit_test_prestate(test_any_shape, &small_window),
    };
    const struct CMUnitTest others[] = {
        cmocka_unit_test_prestate(test_gpu, &large[0]),
        cmocka_unit_test_prestate(test_gpu, &large[1]),
        cmocka_unit_test_prestate(test_gpu, &large[2]),
        cmocka_unit_test_prestate(test_gpu, &large[3]),
        cmocka_unit_test_prestate(test_gpu, &large[4]),
        cmocka_unit_test_prestate(test_gpu, &large[5]),
        cmocka_unit_test_prestate(test_gpu, &large[6]),
        cmocka_unit_test_prestate(test_gpu, &large[7]),
        cmocka_unit_test_prestate(test_gpu, &large[8]),
        cmocka_unit_test_prestate(test_any_shape, &large[1]),
        cmocka_unit_test_prestate(test_any_shape, &large[3]),
        cmocka_unit_test_prestate(test_any_shape, &large[5]),
        cmocka_unit_test_prestate(test_any_shape, &large[7]),
    };
    int n_bad = cmocka_run_group_tests(first, NULL, NULL);

    if (argc == 2 && strcmp(argv[1], "small") == 0)
        return n_bad;
    return n_bad + cmocka_run_group_tests(others, NULL, NULL);
}
