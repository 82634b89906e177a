/* SPDX-License-Identifier: Apache-2.0 */
/* One mapped safetensors file whose header was checked field by field.
 *
 * Internal to safetensors*.c.  A `safetensors_file` belongs to its caller;
 * the names and the data of its tensors live as long as it. */
#ifndef MODEL_SAFETENSORS_HEADER_H
#define MODEL_SAFETENSORS_HEADER_H

#include "base/file.h"
#include "model/safetensors.h"

enum {
    SAFETENSORS_MAX_HEADER = 16 << 20, /* bytes */
    SAFETENSORS_MAX_TENSOR = 100000
};

/* Metadata that may say that `name` is another name of tensor `kept`. */
typedef struct safetensors_alias {
    const char *name;
    const char *kept;
} safetensors_alias;

typedef struct safetensors_file {
    file_map map;
    char *text; /* all names, each NUL-terminated */
    size_t text_len;
    safetensors_tensor *tensor; /* in the order of their data */
    size_t n_tensor;
    safetensors_alias *alias; /* in file order */
    size_t n_alias;
} safetensors_file;

/* Maps and checks `path`.  ST_NOTFOUND, ST_IO, ST_NOMEM; ST_ARG with the
 * first thing that is wrong. */
status safetensors_file_open(safetensors_file *out, const char *path) MUST_USE;
void safetensors_file_close(safetensors_file *file); /* zeroed is fine */

/* Bytes of one number of a type; 0 for SAFETENSORS_OTHER. */
size_t safetensors_width(safetensors_type type);

#endif
