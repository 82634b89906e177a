/* SPDX-License-Identifier: Apache-2.0 */
/* The files that longwave-run writes: safetensors in F32, whose bytes depend on
 * the numbers alone. */
#ifndef WORKER_RUN_FILES_H
#define WORKER_RUN_FILES_H

#include "model/memory.h"
#include "model/safetensors.h"

/* Rows of logits, added as they come; a file only when all are there. */
typedef struct run_files {
    safetensors_writer *logits;
    uint32_t n_vocab;
} run_files;

/* Begins `path` with tensor `name` [n_row, n_vocab]. */
status run_files_open(run_files *f, const char *path, const char *name,
                      uint64_t n_row, uint32_t n_vocab) MUST_USE;
status run_files_add(run_files *f, const float *rows, uint32_t n_row) MUST_USE;
status run_files_finish(run_files *f) MUST_USE;
void run_files_close(run_files *f); /* drops what is not finished */

/* Writes the tensors of a memory's states after `past` as its declaration names
 * them: layers.N.NAME, or NAME where there is one for the document. */
status run_files_state(const char *path, const model_config *cfg,
                       kernel_type compute, const memory_past *past,
                       const void *states) MUST_USE;

#endif
