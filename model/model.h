/* SPDX-License-Identifier: Apache-2.0 */
/* One group of cells as a straight list of kernel calls.
 *
 * Three phases per cell, in this order (Rodkin et al. 2024,
 * arXiv:2407.04841, section 3):
 *   read   x += f(Wq x) A / (z . f(Wq x) + 1e-5)          associative memory
 *   block  x  = decoder layer (norm, attention, norm, MLP, residuals)
 *   write  A, z from the last n_mem rows of the block's output
 * The hidden state x of a cell stays in place: item `slot` of the buffer
 * `x`, rows of d_model; the layer's output replaces its input. */
#ifndef MODEL_MODEL_H
#define MODEL_MODEL_H

#include "kernels/kernel_ops.h"
#include "model/config.h"
#include "model/weights.h"

typedef struct model model;

enum { MODEL_READ = 1, MODEL_BLOCK = 2, MODEL_WRITE = 4, MODEL_ALL = 7 };

/* The buffers that survive a group; the caller owns them. */
typedef struct model_buffers {
    kernel_view x;     /* by slot, compute type, ld d_model */
    kernel_view state; /* by state, F32; what is there is the memory's
                          (memory.h) */
    kernel_view kv;    /* by kv, compute type: rows [k | v], ld 2 d_kv, of
                          frozen runs; buf NULL when no cell is frozen, and
                          where the state has their rows */
} model_buffers;

/* ST_UNSUPPORTED names what a device like this has no kernel for: the only
 * models that a GPU cannot run are those with very large heads. */
status model_supported(const model_config *cfg,
                       const kernel_info *info) MUST_USE;

/* Takes over `w` on success; ST_UNSUPPORTED as above.  Scratch for groups of at
 * most max_cell cells is allocated here. */
status model_new(model **out, kernel_device *dev, const model_config *cfg,
                 weights *w, uint32_t max_cell) MUST_USE;
void model_free(model *m);

const model_config *model_config_of(const model *m);
const weights_part *model_part_of(const model *m);
const weights *model_weights_of(const model *m);
/* Of device memory: every cell of the largest group has its own on a GPU, every
 * thread on a CPU, of which one is counted. */
size_t model_scratch_bytes(const model *m);
/* What model_new() will take of a device, for each cell of the largest group.
 */
size_t model_cell_bytes(const model_config *cfg, kernel_type compute);

/* x of each cell from ids (I32 by slot) and the rows that are no tokens.  A
 * group of its own. */
status model_embed(model *m, kernel_queue *q, const model_buffers *buf,
                   kernel_view ids, const kernel_cell *cells,
                   uint32_t n_cell) MUST_USE;

/* The phases named in `phases` for every cell, as one group; what the memory
 * fills in of a cell is memory.h's place().  cell.layer counts from the part's
 * first layer.  `frozen` holds for the whole group: keys and values go to a
 * cache and rows attend there, and no memory is written. */
status model_run(model *m, kernel_queue *q, const model_buffers *buf,
                 const kernel_cell *cells, uint32_t n_cell, bool frozen,
                 unsigned phases) MUST_USE;

/* logits[n_row, n_vocab] F32 by cell = head(final norm(x rows row0 ..)), and
 * with `draw` not NULL the next id of each cell (kernel_sample(); logits and
 * n_vocab are filled in here).  A group of its own; x is not changed. */
status model_head(model *m, kernel_queue *q, const model_buffers *buf,
                  const kernel_cell *cells, uint32_t n_cell, kernel_view logits,
                  const kernel_sample_op *draw) MUST_USE;

#endif
