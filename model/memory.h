/* SPDX-License-Identifier: Apache-2.0 */
/* A layer's memory of earlier segments: one of the three tables of functions.
 *
 * Its state is config_state_size() numbers a layer, zero in a fresh document,
 * changed by write() alone.  A memory is one file that ends with its table;
 * model.c lists them. */
#ifndef MODEL_MEMORY_H
#define MODEL_MEMORY_H

#include "model/phase.h"

typedef struct memory {
    const char *name;
    /* Takes what read() and write() take; the larger of the two is wanted, so
     * each is measured on its own. */
    void (*measure_read)(phase *p);
    void (*measure_write)(phase *p);
    /* x += what the state holds for x, for every cell that is not fresh. */
    status (*read)(phase *p, kernel_queue *q);
    /* The state takes in the memory rows of x.  Enqueue-only, both. */
    status (*write)(phase *p, kernel_queue *q);
} memory;

extern const memory memory_assoc;

#endif
