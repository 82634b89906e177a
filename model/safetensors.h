/* SPDX-License-Identifier: Apache-2.0 */
/* Read-only view of a checkpoint: one safetensors file, or shards with an
 * index (model.safetensors.index.json), mapped.
 *
 * Files are hostile until every field of every header was checked against the
 * file's size, which happens in safetensors_open(): header at most 16 MiB and
 * 100,000 tensors, offsets in order, contiguous, inside the file and ending at
 * its end, shape x type == bytes, no name twice.  Header metadata that names
 * an alias ("dropped name": "kept name") adds that name.  Text library. */
#ifndef MODEL_SAFETENSORS_H
#define MODEL_SAFETENSORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

enum { SAFETENSORS_MAX_DIM = 8 };

typedef enum safetensors_type {
    SAFETENSORS_F32 = 0,
    SAFETENSORS_F16,
    SAFETENSORS_BF16,
    SAFETENSORS_I32,
    SAFETENSORS_I64,
    SAFETENSORS_OTHER /* listed, not readable */
} safetensors_type;

typedef struct safetensors_tensor {
    const char *name;
    safetensors_type type;
    uint32_t n_dim;
    size_t dim[SAFETENSORS_MAX_DIM];
    const void *data; /* in the map; unaligned */
    size_t bytes;
    int fd; /* of its file, where its data is `at` */
    uint64_t at;
} safetensors_tensor;

typedef struct safetensors safetensors;

/* `path`: a .safetensors file, or a model directory.  ST_NOTFOUND, ST_ARG
 * (malformed, said in one sentence), ST_IO, ST_NOMEM. */
status safetensors_open(safetensors **out, const char *path) MUST_USE;
void safetensors_close(safetensors *st);

size_t safetensors_count(const safetensors *st);
/* Tensors in name order, aliases left out.  i < count. */
const safetensors_tensor *safetensors_at(const safetensors *st, size_t i);
/* NULL: no such name. */
const safetensors_tensor *safetensors_find(const safetensors *st,
                                           const char *name);

/* out[n] = elements first .. first + n - 1 converted to fp32 (exact for every
 * float type).  ST_ARG for integer types or a range outside. */
status safetensors_read_f32(const safetensors_tensor *t, float *out,
                            size_t first, size_t n) MUST_USE;
/* Integers (I32, I64) that fit in int32; ST_ARG otherwise. */
status safetensors_read_i32(const safetensors_tensor *t, int32_t *out,
                            size_t first, size_t n) MUST_USE;
/* out[t->bytes] = the whole tensor as it is stored, not by way of the map.
 * ST_IO, also where the file is shorter than it was. */
status safetensors_read_raw(const safetensors_tensor *t, void *out) MUST_USE;

/* The whole tensor will be read soon. */
void safetensors_expect(const safetensors_tensor *t);
/* The elements first .. first + n - 1 were read and need not stay in memory
 * for it; reading them again works. */
void safetensors_forget(const safetensors_tensor *t, size_t first, size_t n);

/* Writing: tensors in the order given, nothing that depends on time or place,
 * so the same tensors are the same bytes.  Usage: new, add all (names and
 * shapes, F32, BF16 or I32), begin, then data in order in any pieces, close. */
typedef struct safetensors_writer safetensors_writer;
status safetensors_writer_new(safetensors_writer **out,
                              const char *path) MUST_USE;
status safetensors_writer_add(safetensors_writer *w, const char *name,
                              safetensors_type type, const size_t *dim,
                              uint32_t n_dim) MUST_USE;
status safetensors_writer_begin(safetensors_writer *w) MUST_USE;
status safetensors_writer_data(safetensors_writer *w, const void *data,
                               size_t bytes) MUST_USE;
/* Completes the file (tmp, then rename); ST_STATE if data is missing. */
status safetensors_writer_finish(safetensors_writer *w) MUST_USE;
void safetensors_writer_free(safetensors_writer *w); /* drops an unfinished
                                                        file */

#endif
