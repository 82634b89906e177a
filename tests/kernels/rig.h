/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of operations share: devices to run on, a group of odd cells,
 * and tensors that notice every write out of place. */
#ifndef TESTS_KERNELS_RIG_H
#define TESTS_KERNELS_RIG_H

#include "kernels/kernel_ops.h"
#include "tests/expect.h"

/* What rig_check() found on a device's first way, to be found again on its
 * others. */
typedef struct rig_bits {
    float **seen; /* one a check, in order */
    size_t n_seen, n_check;
    bool is_first;
} rig_bits;

typedef struct rig {
    kernel_device *dev;
    kernel_queue *q;
    const kernel_cell *cells; /* of the group that operations run on */
    uint32_t n_cell;
    rig_bits *bits; /* or NULL */
} rig;

/* The devices and numbers of threads that every operation is tested on. */
typedef struct rig_way {
    const char *device;
    uint32_t n_thread;
} rig_way;
/* Whether this machine has the device of a way. */
bool rig_has(const rig_way *way);
enum { RIG_N_CPU = 4, RIG_N_WAY = 6 }; /* a CPU's come first */
extern const rig_way rig_ways[RIG_N_WAY];

/* Cells of different shapes; no two share a slot, state or cache.  All items
 * are below RIG_N_ITEM, row0 + n_row and pos + n_row below RIG_N_ROW. */
enum { RIG_N_CELL = 5, RIG_N_ITEM = 7, RIG_N_ROW = 250 };
extern const kernel_cell rig_cells[RIG_N_CELL];

void rig_open(rig *r, const rig_way *way); /* with rig_cells */
void rig_close(rig *r);
void rig_begin(rig *r);
void rig_end(rig *r);

/* Items of rows of `width` values, each row, item and the whole with gaps
 * around; all filled with numbers in (-1, 1) from a seed. */
typedef struct rig_tensor {
    kernel_view view;
    size_t n;     /* elements of the buffer */
    float *host;  /* what was put in */
    double *want; /* what should be there; NaN: what was put in */
} rig_tensor;

void rig_tensor_init(rig_tensor *t, const rig *r, kernel_by by, size_t n_row,
                     size_t width, uint64_t seed);
void rig_tensor_fini(rig_tensor *t);
/* Index of an element in host and want. */
size_t rig_at(const rig_tensor *t, size_t item, size_t row, size_t col);
double rig_in(const rig_tensor *t, size_t item, size_t row, size_t col);
void rig_want(rig_tensor *t, size_t item, size_t row, size_t col, double value);
/* Uploads host again, after a test has changed it. */
void rig_upload(const rig_tensor *t, const rig *r);
/* Reads the tensor back, F32 or BF16: wanted values within `tolerance` of the
 * larger of 1 and the value, after one rounding to its type; everything else as
 * it was, bit by bit.  Under rig_every_way() all bits are the same on every way
 * of one device. */
void rig_check(const rig_tensor *t, const rig *r, double tolerance);

/* Stores the tensor, a weight or an A, as another type instead; host then has
 * what the rounded elements stand for, KERNEL_I8 without a scale. */
void rig_narrow(rig_tensor *t, const rig *r, kernel_type type);

/* The item and the first row of a cell in a tensor, as kernel.h says. */
size_t rig_item(const rig_tensor *t, const rig *r, uint32_t place);
size_t rig_row0(const rig_tensor *t, const rig *r, uint32_t place,
                kernel_rows rows);
size_t rig_rows(const kernel_cell *cell, kernel_rows rows);

float rig_random(uint64_t *seed); /* in (-1, 1) */

/* Runs test(rig) on every way. */
void rig_every_way(void (*test)(rig *r));

#endif
