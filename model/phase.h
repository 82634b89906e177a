/* SPDX-License-Identifier: Apache-2.0 */
/* What a block or a memory works on while a group is being enqueued, and the
 * calls that all of them make.
 *
 * A value on the stack of model_run().  Scratch is laid out anew by every
 * phase, so phases share the same bytes: what one leaves there, the next one
 * overwrites. */
#ifndef MODEL_PHASE_H
#define MODEL_PHASE_H

#include "model/model.h"

struct block;
struct memory;

typedef struct phase {
    const model_config *cfg;
    const struct block *block;
    const struct memory *memory;
    const weights *w;
    const model_buffers *buf;
    bool frozen;
    kernel_type compute;
    kernel_buf *scratch; /* NULL while sizes are being counted */
    size_t item;         /* bytes of one item of scratch */
    size_t max_row;      /* rows of the largest cell */
    size_t used;         /* bytes that this phase took so far */
} phase;

/* A matrix [n_row, n_col] of its own in each cell's scratch. */
kernel_view phase_take(phase *p, kernel_type type, size_t n_row, size_t n_col);

/* The columns of `view` from `col` on. */
kernel_view phase_columns(kernel_view view, size_t col);

/* out = in w^T + bias of a kind of weight; added to x where out is x. */
status phase_project(const phase *p, kernel_queue *q, kernel_view out,
                     kernel_view in, weights_kind kind,
                     kernel_rows rows) MUST_USE;

/* out = the block's norm of x with a kind of weight (and its bias). */
status phase_norm(const phase *p, kernel_queue *q, kernel_view out,
                  weights_kind kind, kernel_rows rows) MUST_USE;

#endif
