/* SPDX-License-Identifier: Apache-2.0 */
/* A directory for checkpoint files that tests make by hand. */
#ifndef TESTS_MODEL_FILES_RIG_H
#define TESTS_MODEL_FILES_RIG_H

#include "model/safetensors.h"

/* A tensor of a header. */
#define FILES_RIG_T(dtype, shape, offsets)                                     \
    "{\"dtype\":\"" dtype "\",\"shape\":[" shape                               \
    "],\"data_offsets\":[" offsets "]}"

extern char files_rig_dir[];

/* A file in it; valid until the next call. */
const char *files_rig_path(const char *name);
/* A file in it with these bytes. */
void files_rig_write(const char *name, const void *data, size_t len);
/* A file with this header and `n_data` bytes 0, 1, 2, ... behind it. */
void files_rig_tensors(const char *name, const char *header, size_t n_data);
/* A typed error, and no memory beyond the file's size and `memory`. */
void files_rig_refused_within(size_t memory, const char *path, const char *what,
                              const char *sentence);
/* Likewise, within 16 MiB. */
void files_rig_refused(const char *path, const char *what,
                       const char *sentence);
/* Makes the directory, of a group of tests. */
int files_rig_open(void **state);
/* Fails when something was left that no test made by name. */
int files_rig_close(void **state);

#endif
