/* SPDX-License-Identifier: Apache-2.0 */
/* A golden case in memory, wherever it was read from, and an engine held
 * against it: logits, states, inner rows and tokens. */
#ifndef TESTS_WORKER_GOLDEN_CASE_H
#define TESTS_WORKER_GOLDEN_CASE_H

#include "tests/worker/rig.h"

typedef struct golden_tensor {
    char name[40];
    size_t n, n_row;  /* numbers, and the first dimension */
    const float *f32; /* [n], or NULL */
    const int32_t *i32;
} golden_tensor;

typedef struct golden {
    const char *name;
    model_config cfg;
    rig_fill *fill; /* of the model's weights */
    const void *fill_ctx;
    const golden_tensor *tensor; /* tests/golden/README.md has the names */
    size_t n_tensor;
    float tolerance; /* of max|x - ref| / max|ref| of a tensor; 0: errors are
                        found and nothing is judged */
    float worst;     /* the largest error so far */
} golden;

/* NULL: the case has none. */
const golden_tensor *golden_find(const golden *g, const char *name);

/* x[n] against elements first .. first + n - 1 of a tensor; the error is
 * measured against the largest of the whole tensor. */
void golden_compare(golden *g, const char *name, const float *x, size_t first,
                    size_t n);
void golden_compare_ids(const golden *g, const char *name, const int32_t *ids,
                        size_t n);

/* Scores the document, also with an observer, and answers to it.  `how`: the
 * device and the schedule. */
void golden_check(golden *g, const rig_config *how);
/* The scored logits of the document under another alignment. */
void golden_check_aligned(golden *g, const char *tensor, config_align align,
                          const rig_config *how);

#endif
