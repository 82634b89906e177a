/* SPDX-License-Identifier: Apache-2.0 */
/* A checkpoint of a known model: mapped files, and for each tensor that the
 * model has, where it is in them.
 *
 * Opening finds and checks the tensors of all layers, so that a bad file is
 * refused by every rank in the same words; reading a part touches only that
 * part. */
#ifndef MODEL_CHECKPOINT_H
#define MODEL_CHECKPOINT_H

#include "model/names.h"
#include "model/safetensors.h"

/* A tensor of the model: in one piece, or with LoRA parts beside it. */
typedef struct checkpoint_tensor {
    const safetensors_tensor *whole; /* NULL: a bare layer's, or none */
    const safetensors_tensor *lora_a, *lora_b;
    bool base; /* `whole` is named as what LoRA is added to */
} checkpoint_tensor;

typedef struct checkpoint {
    const model_config *cfg; /* borrowed */
    safetensors *file;
    names_table names;
    checkpoint_tensor *tensor; /* [n_layer, names.n]; single ones in row 0 */
    size_t n_ignored;          /* buffers that are computed here */
    const char *ignored;       /* the first of them */
    size_t n_lora;             /* tensors with LoRA parts */
} checkpoint;

/* The checkpoint of `dir`, whose config is *cfg, which must outlive it.
 * ST_ARG: missing, unexpected or misshapen tensors, the first ten by name, how
 * many more, and the names that were tried; LoRA parts without lora_alpha.
 * ST_NOTFOUND, ST_UNSUPPORTED (what the tensors need), ST_IO. */
status checkpoint_open(checkpoint *c, const model_config *cfg,
                       const char *dir) MUST_USE;
void checkpoint_close(checkpoint *c); /* zeroed is fine */

/* The tensor of an entry; a tied head and its table stand for each other. */
const checkpoint_tensor *checkpoint_find(const checkpoint *c, size_t entry,
                                         uint32_t layer);

/* The types that this checkpoint's weights are kept in on a device that
 * computes in `compute`.  The same on every rank, whatever part it holds. */
void checkpoint_types(const checkpoint *c, weights_types *out,
                      kernel_type compute, weights_want want);

#endif
