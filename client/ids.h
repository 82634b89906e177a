/* SPDX-License-Identifier: Apache-2.0 */
/* Where the tensor `input_ids` lies in a safetensors file. */
#ifndef CLIENT_IDS_H
#define CLIENT_IDS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

typedef struct ids_place {
    uint64_t start; /* byte of the file */
    uint64_t n;     /* ids */
    bool wide;      /* I64, otherwise I32; little-endian */
} ids_place;

/* Reads the header of a file of `size` bytes and checks it against that size.
 * ST_ARG: no safetensors file, or no tensor `input_ids` of type I32 or I64 and
 * shape [n]; ST_LIMIT: a header over 16 MiB; ST_IO. */
status ids_find(ids_place *out, int fd, uint64_t size) MUST_USE;

#endif
