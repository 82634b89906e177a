/* SPDX-License-Identifier: Apache-2.0 */
/* Speed of one layer's operations beside the speed of a plain product.
 *
 * ops_perf [threads] [cells]: for two model sizes, microseconds and GFLOP/s of
 * each operation alone and of the whole layer on a group of cells, and the
 * share of the rate that kernel_measure_linear() finds.  No test: it prints
 * and asserts nothing. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "tests/kernels/layer.h"

enum { N_CELL_MAX = 64, N_RUN = 30 };

static const char *const part_names[] = {
    "mem q",  "dpfp",      "read",      "norm 1", "qkv",
    "rope",   "attention", "out",       "norm 2", "gate up",
    "swiglu", "down",      "mem k v b", "write",  "layer"};

/* Seconds of the best run. */
static double
best_of(const layer *l, layer_part part, const kernel_cell *cells)
{
    double best = 1e9;

    for (int i = 0; i < N_RUN; i++) {
        double start = clock_seconds();

        layer_must(kernel_begin(l->q, cells, l->n_item));
        layer_enqueue(l, part);
        layer_must(kernel_end(l->q));
        layer_must(kernel_sync(l->q));
        start = clock_seconds() - start;
        best = start < best ? start : best;
    }
    return best;
}

static void
one_shape(kernel_device *dev, const layer_shape *shape, uint32_t n_cell)
{
    kernel_cell cells[N_CELL_MAX] = {{0}};
    kernel_queue *q = NULL;
    kernel_info info;
    double ceiling;
    layer l;

    layer_must(kernel_queue_new(&q, dev));
    layer_init(&l, dev, q, shape, n_cell);
    for (uint32_t i = 0; i < n_cell; i++)
        cells[i] = (kernel_cell){.layer = i,
                                 .slot = i,
                                 .state = i,
                                 .n_row = (uint32_t)shape->n_row,
                                 .n_mem = (uint32_t)shape->n_mem};
    kernel_info_get(dev, &info);
    layer_must(kernel_measure_linear(dev, shape->n_row, shape->ffn, shape->d,
                                     10, &ceiling));
    (void)printf("%s; %s: %u cells of %zu rows; plain product %.1f GFLOP/s\n",
                 info.name, shape->name, n_cell, shape->n_row, ceiling * 1e-9);
    for (int i = 0; i <= LAYER_WHOLE; i++) {
        double seconds = best_of(&l, (layer_part)i, cells);
        double rate = layer_flops(&l, (layer_part)i) * n_cell / seconds;

        (void)printf("  %-10s %9.1f us a cell %8.1f GFLOP/s %6.1f %%\n",
                     part_names[i], seconds * 1e6 / n_cell, rate * 1e-9,
                     100.0 * rate / ceiling);
    }
    layer_fini(&l);
    kernel_queue_free(q);
}

int
main(int argc, char **argv)
{
    static const layer_shape shapes[] = {{"s512", 512, 8, 8, 64, 1408, 272, 16},
                                         {"s256", 256, 4, 4, 64, 704, 80, 16}};
    const kernel_config cfg = {
        .device = "cpu",
        .n_thread = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 0};
    uint32_t n_cell = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 4;
    kernel_device *dev = NULL;

    if (n_cell == 0 || n_cell > N_CELL_MAX)
        return 2;
    layer_must(kernel_open(&dev, &cfg));
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
        one_shape(dev, &shapes[i], n_cell);
    kernel_close(dev);
    return 0;
}
