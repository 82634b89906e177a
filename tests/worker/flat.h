/* SPDX-License-Identifier: Apache-2.0 */
/* Golden cases as tests/golden/flatten.py writes them: a manifest of lines and
 * a file of numbers, read without JSON. */
#ifndef TESTS_WORKER_FLAT_H
#define TESTS_WORKER_FLAT_H

#include "tests/worker/golden_case.h"

enum { FLAT_MAX_WEIGHT = 256, FLAT_MAX_TENSOR = 32 };

typedef struct flat_weight {
    weights_kind kind;
    uint32_t layer;
    size_t at, n; /* numbers of the data */
} flat_weight;

typedef struct flat {
    golden g; /* of this case; its tolerance is the caller's */
    char name[64];
    float *data;
    size_t n_data;
    flat_weight weight[FLAT_MAX_WEIGHT];
    size_t n_weight;
    golden_tensor tensor[FLAT_MAX_TENSOR];
} flat;

/* Reads DIR/NAME.manifest and DIR/NAME.data; ST_ARG names a bad line. */
status flat_open(flat *out, const char *dir, const char *name) MUST_USE;
void flat_close(flat *f);

#endif
