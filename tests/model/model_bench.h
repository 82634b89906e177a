/* SPDX-License-Identifier: Apache-2.0 */
/* A small model on a device, and the host's copies of its weights.  Short
 * names: only the tests of model/model.h include this. */
#ifndef TESTS_MODEL_MODEL_BENCH_H
#define TESTS_MODEL_MODEL_BENCH_H

#include "model/model.h"

enum {
    LAYERS = 3,
    D = 32,
    HEADS = 4,
    KV_HEADS = 2,
    HEAD = 6,
    FFN = 40,
    VOCAB = 50,
    SEGMENT = 12,
    MEM = 3,
    D_MEM = 5,
    KEY = 6 * D_MEM,
    ROWS = SEGMENT + MEM,
    D_Q = HEADS * HEAD,
    D_KV = KV_HEADS * HEAD,
    STATE = KEY * D + KEY,
    KV_CAP = 20,
    SLOTS = 4,
    MAX_VALUES = LAYERS * 2 * FFN * D /* of the largest kind */
};

/* Host copies of the weights that the device got, for the formulas. */
typedef struct model_bench {
    kernel_device *dev;
    kernel_queue *q;
    model_config cfg;
    model *m;
    model_buffers buf;
    kernel_view ids, logits;
    float w[WEIGHTS_N_KIND][MAX_VALUES];
} model_bench;

/* The state of one layer and, for frozen rows, its keys and values. */
typedef struct model_ref_layer {
    double A[KEY][D], z[KEY];
    double k[KV_CAP][D_KV], v[KV_CAP][D_KV];
    bool fresh;
} model_ref_layer;

const float *model_bench_weight(const model_bench *b, weights_kind kind,
                                uint32_t layer, size_t row);
model_bench *model_bench_open(const char *device, bool l2_norm,
                              bool correction);
void model_bench_close(model_bench *b);
/* Item `item` of a buffer to the host. */
void model_bench_fetch(model_bench *b, void *out, kernel_view v, size_t item,
                       size_t n);
/* max|got - want| / max|want| stays below what fp32 leaves. */
void model_bench_expect(const char *what, const float *got, const double *want,
                        size_t n);
void model_bench_expect_x(model_bench *b, uint32_t slot, double want[][D],
                          size_t n_row);
void model_bench_expect_state(model_bench *b, uint32_t item,
                              const model_ref_layer *want);
/* Puts ids of a segment in place and embeds them; x as the formulas want. */
void model_bench_embed(model_bench *b, double x[][D], const kernel_cell *cell,
                       uint32_t seed);

#endif
