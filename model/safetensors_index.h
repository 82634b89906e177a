/* SPDX-License-Identifier: Apache-2.0 */
/* model.safetensors.index.json: which shard has which tensor.
 *
 * Internal to safetensors*.c. */
#ifndef MODEL_SAFETENSORS_INDEX_H
#define MODEL_SAFETENSORS_INDEX_H

#include <stddef.h>
#include <stdint.h>

#include "base/json.h"
#include "base/status.h"

enum { SAFETENSORS_MAX_SHARD = 1024 };

typedef struct safetensors_place {
    const char *name;
    uint32_t shard; /* its number in `shard` */
} safetensors_place;

typedef struct safetensors_index {
    json_doc *doc; /* owns all names */
    safetensors_place *tensor;
    size_t n_tensor;
    const char **shard; /* plain file names, sorted, each once */
    uint32_t n_shard;
} safetensors_index;

/* Reads an index of at most 16 MiB.  ST_ARG: malformed, or a shard that is
 * not a plain file name of the same directory. */
status safetensors_index_open(safetensors_index **out,
                              const char *path) MUST_USE;
void safetensors_index_close(safetensors_index *index);

#endif
