/* SPDX-License-Identifier: Apache-2.0 */
/* A layer's operations and the same in double, over the same rounded inputs. */
#ifndef TESTS_KERNELS_EXACT_H
#define TESTS_KERNELS_EXACT_H

#include "tests/kernels/layer.h"

enum { EXACT_MAX_CELL = 16, EXACT_N_ROW = 5 };

typedef struct exact_case {
    layer_shape shape;
    uint32_t n_cell;
    /* Of the cells; 0: as the last that has some. */
    uint32_t n_row[EXACT_MAX_CELL];
    uint32_t fresh; /* cells that are, the last ones */
} exact_case;

/* A view's numbers on the host. */
typedef struct exact_copy {
    const kernel_view *view;
    float *x;
} exact_copy;

typedef struct exact {
    layer l;
    const exact_case *c;
    kernel_cell cells[EXACT_MAX_CELL];
    double worst; /* in units */
    const char *what;
    size_t n; /* width of what is checked */
} exact;

/* mem_free() its x. */
exact_copy exact_take(const exact *e, const kernel_view *view);
/* Row `row` of what cell `place` has in it. */
const float *exact_row(const exact *e, const exact_copy *c, uint32_t place,
                       size_t row);
/* Runs a part; `fast`: what its launches are on a device that says so and has
 * launches of its own. */
void exact_run_part(exact *e, layer_part part, const char *fast);
/* out[n] against want[n], in units of the type; remembers the worst. */
void exact_judge(exact *e, const float *out, const double *want, size_t n,
                 kernel_type type);
/* a . b */
double exact_dot(const float *a, const float *b, size_t n);
/* want[n] = x w^T of a cell. */
void exact_product(const exact *e, double *want, const float *x,
                   const exact_copy *w, const size_t place_n_k[3]);
/* The i-th of EXACT_N_ROW rows that are looked at. */
size_t exact_sampled(const exact *e, uint32_t place, size_t i);

/* The operations one after the other, each checked. */
void exact_read(exact *e);
void exact_block(exact *e);
void exact_write(exact *e);

#endif
