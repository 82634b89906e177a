/* SPDX-License-Identifier: Apache-2.0 */
/* The formulas of a layer, in double precision. */
#ifndef TESTS_MODEL_MODEL_REF_H
#define TESTS_MODEL_MODEL_REF_H

#include "tests/model/model_bench.h"

/* out[n] = w x, of the first n rows of a kind. */
void model_ref_linear(const model_bench *b, double *out, const double *x,
                      weights_kind kind, uint32_t layer, size_t n);
void model_ref_read(const model_bench *b, double x[][D], size_t n_row,
                    const model_ref_layer *s, uint32_t layer);
void model_ref_norm(double *out, const double *x, const float *w, double eps);
/* Rows at positions pos ..; keys and values of earlier ones are in s. */
void model_ref_block(const model_bench *b, double x[][D], size_t n_row,
                     size_t pos, model_ref_layer *s, uint32_t layer);
void model_ref_write(const model_bench *b, double x[][D], size_t n_row,
                     model_ref_layer *s, uint32_t layer);

#endif
