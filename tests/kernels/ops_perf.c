/* SPDX-License-Identifier: Apache-2.0 */
/* Speed of one layer's operations beside the speed of a plain product.
 *
 * ops_perf [threads] [cells] [device]: for some model sizes, microseconds and
 * GFLOP/s of each operation alone and of the whole layer on a group of cells,
 * and the share of the rate that kernel_measure_linear() finds; then products
 * of a few rows, as in an answer, and of many, with weights of each type.  No
 * test: it prints and asserts nothing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "tests/kernels/layer.h"

enum { N_CELL_MAX = 64, N_RUN = 10, N_GROUP = 4 };

static const char *const part_names[] = {
    "mem q", "dpfp",   "read",    "norm 1", "qkv",    "rope",      "attention",
    "out",   "norm 2", "gate up", "swiglu", "down",   "mem k v b", "write",
    "layer", "(read)", "(qkv)",   "(mlp)",  "(write)"};

/* Seconds of the best run. */
static double
best_of(const layer *l, layer_part part, const kernel_cell *cells)
{
    double best = 1e9;

    for (int i = 0; i < N_RUN; i++) {
        double start = clock_seconds();

        for (int j = 0; j < N_GROUP; j++) {
            layer_must(kernel_begin(l->q, cells, l->n_item));
            layer_enqueue(l, part);
            layer_must(kernel_end(l->q));
        }
        layer_must(kernel_sync(l->q));
        start = (clock_seconds() - start) / N_GROUP;
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
    kernel_rate ceiling;
    layer l;

    layer_must(kernel_queue_new(&q, dev));
    layer_init(&l, dev, q, shape, n_cell, LAYER_KEEP_STATES);
    for (uint32_t i = 0; i < n_cell; i++)
        cells[i] = (kernel_cell){.layer = i,
                                 .slot = i,
                                 .state = i,
                                 .n_row = (uint32_t)shape->n_row,
                                 .n_mem = (uint32_t)shape->n_mem};
    kernel_info_get(dev, &info);
    layer_must(kernel_measure_linear(dev, shape->n_row, shape->ffn, shape->d,
                                     10, &ceiling));
    (void)printf(
        "%s; %s: %u cells of %zu rows; plain product %.1f GFLOP/s by %s\n",
        info.name, shape->name, n_cell, shape->n_row, ceiling.flops * 1e-9,
        ceiling.by);
    for (int i = 0; i < LAYER_N_ALL; i++) {
        double seconds = best_of(&l, (layer_part)i, cells);
        double rate = layer_flops(&l, (layer_part)i) * n_cell / seconds;

        (void)printf("  %-10s %9.1f us a cell %8.1f GFLOP/s %6.1f %%\n",
                     part_names[i], seconds * 1e6 / n_cell, rate * 1e-9,
                     100.0 * rate / ceiling.flops);
    }
    layer_fini(&l);
    kernel_queue_free(q);
}

/* ---------------------------------------------------------------- few --- */

/* More than caches hold: [16384, 2048]. */
enum { N = 16384, K = 2048 };

typedef struct few {
    kernel_queue *q;
    kernel_linear_args a;
} few;

static void
few_buffer(const few *f, kernel_device *dev, kernel_view *v, size_t n)
{
    size_t bytes = n * kernel_type_size(v->type);
    void *data = NULL;

    /* Such bytes are a usual number in every type. */
    layer_must(mem_new(&data, bytes, 1));
    memset(data, 0x3c, bytes);
    layer_must(kernel_buf_new(&v->buf, dev, KERNEL_KEEP, bytes, 1));
    layer_must(kernel_copy_in(f->q, v->buf, 0, data, bytes));
    layer_must(kernel_sync(f->q));
    mem_free(data);
}

static void
few_rows(kernel_device *dev, kernel_type type, const char *name, uint32_t m)
{
    const kernel_cell cell = {.n_row = m};
    few f = {.a = {.out = {.ld = N},
                   .x = {.ld = K},
                   .w = {.type = type, .ld = K},
                   .n = N,
                   .k = K}};
    double best = 1e9;

    layer_must(kernel_queue_new(&f.q, dev));
    few_buffer(&f, dev, &f.a.out, (size_t)m * N);
    few_buffer(&f, dev, &f.a.x, (size_t)m * K);
    few_buffer(&f, dev, &f.a.w, (size_t)N * K);
    if (type == KERNEL_I8)
        few_buffer(&f, dev, &f.a.scale, N);
    for (int i = 0; i < N_RUN; i++) {
        double start = clock_seconds();

        layer_must(kernel_begin(f.q, &cell, 1));
        layer_must(kernel_linear(f.q, &f.a));
        layer_must(kernel_end(f.q));
        layer_must(kernel_sync(f.q));
        start = clock_seconds() - start;
        best = start < best ? start : best;
    }
    (void)printf("  %u rows, %-4s %9.1f us %8.1f GB/s of weights\n", m, name,
                 best * 1e6,
                 (double)N * K * (double)kernel_type_size(type) * 1e-9 / best);
    kernel_buf_free(f.a.out.buf);
    kernel_buf_free(f.a.x.buf);
    kernel_buf_free(f.a.w.buf);
    kernel_buf_free(f.a.scale.buf);
    kernel_queue_free(f.q);
}

static void
all_types(kernel_device *dev)
{
    static const uint32_t rows[] = {1, 8, 80};

    (void)printf("products with weights of [%d, %d]\n", N, K);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        few_rows(dev, KERNEL_F32, "F32", rows[i]);
        few_rows(dev, KERNEL_BF16, "BF16", rows[i]);
        few_rows(dev, KERNEL_F16, "F16", rows[i]);
        few_rows(dev, KERNEL_I8, "I8", rows[i]);
    }
}

int
main(int argc, char **argv)
{
    static const layer_shape small[] = {
        {"sample", 256, 8, 8, 32, 448, 272, 16, 0, 0, false},
        {"s512", 512, 8, 8, 64, 1408, 272, 16, 0, 0, false},
        {"s256", 256, 4, 4, 64, 704, 80, 16, 0, 0, false},
        {0}};
    static const layer_shape large[] = {
        {"1b", 2048, 32, 8, 64, 8192, 1152, 128, 0, 0, false},
        {"8b", 4096, 32, 8, 128, 14336, 1152, 128, 0, 0, false},
        {"160m", 768, 12, 12, 64, 3072, 640, 128, 0, 0, false},
        {0}};
    const kernel_config cfg = {
        .device = argc > 3 ? argv[3] : "cpu",
        .n_thread = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 0};
    bool gpu = strcmp(cfg.device, "cuda") == 0;
    uint32_t n_cell = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 4;
    kernel_device *dev = NULL;

    if (n_cell == 0 || n_cell > N_CELL_MAX)
        return 2;
    layer_must(kernel_open(&dev, &cfg));
    for (const layer_shape *s = gpu ? large : small; s->name != NULL; s++)
        one_shape(dev, s, n_cell);
    if (!gpu)
        all_types(dev);
    kernel_close(dev);
    return 0;
}
