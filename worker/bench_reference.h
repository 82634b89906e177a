/* SPDX-License-Identifier: Apache-2.0 */
/* A synthetic model in double, on the host, written after kernel_ops.h and
 * model.h alone: what longwave-bench --check holds the engine against.
 *
 * The weights are those on the device, so roundings of weights are no error;
 * everything after them is.  Layers of LLaMA with an associative memory of one
 * head, as the presets have. */
#ifndef WORKER_BENCH_REFERENCE_H
#define WORKER_BENCH_REFERENCE_H

#include "model/weights.h"

/* Told in the order that things are known in: layers, in them segments.  Rows
 * are those of a cell: tokens, then memory tokens. */
typedef struct bench_reference_sink {
    void *ctx;
    /* x[n_row, d_model] after the memory read (point 0), after the layer (1) */
    void (*rows)(void *ctx, uint64_t seg, uint32_t layer, int point,
                 uint32_t n_row, const double *x);
    /* After the last segment: A[d_key, d_model], z[d_key]. */
    void (*state)(void *ctx, uint32_t layer, const double *A, const double *z);
    /* Of token `row` of a segment: logits[n_vocab]. */
    void (*logits)(void *ctx, uint64_t seg, uint32_t row, const double *logits);
} bench_reference_sink;

typedef struct bench_reference_args {
    const weights *w; /* all layers, embedding and head */
    kernel_queue *q;  /* idle; of the weights' device */
    const int32_t *ids;
    uint64_t n_id;
    const uint32_t *row; /* tokens of a segment whose logits are wanted */
    uint32_t n_row;      /* those behind the segment's end are passed over */
    uint32_t n_thread;   /* 1 or more */
    bench_reference_sink sink;
} bench_reference_args;

/* Memory of the host: one layer's weights as floats and a few rows of each
 * segment's width in double.  ST_UNSUPPORTED: another kind of model. */
status bench_reference(const bench_reference_args *args) MUST_USE;

/* out[n_x, n] = x[n_x, k] w[n, k]^T by n_thread threads. */
typedef struct bench_reference_product {
    double *out;
    const double *x;
    const float *w;
    size_t n_x, n, k;
} bench_reference_product;
status bench_reference_multiply(const bench_reference_product *p,
                                uint32_t n_thread) MUST_USE;

/* f(ctx, i) for i < n, by n_thread threads. */
status bench_reference_each(void (*f)(void *ctx, size_t i), void *ctx, size_t n,
                            uint32_t n_thread) MUST_USE;

#endif
