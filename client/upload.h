/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes that a request sends: a text, a file, or token ids.
 *
 * Ids leave as little-endian int32, whatever the file has.  An upload is read
 * at any offset, so that an upload can be cut where credit ends. */
#ifndef CLIENT_UPLOAD_H
#define CLIENT_UPLOAD_H

#include "proto/client_message.h"

typedef struct upload {
    client_input kind;
    uint64_t bytes;   /* in all */
    const char *text; /* borrowed; NULL: fd */
    int fd;
    uint64_t start; /* of the data in fd */
    bool wide;      /* int64 in the file */
} upload;

/* `text` lives as long as the upload. */
void upload_init_text(upload *u, const char *text);
/* A file of text of at most `most` bytes.  "-" is stdin; what is no regular
 * file is copied to a temporary one first, since its length must be known, but
 * no further than that.  ST_NOTFOUND, ST_IO, ST_ARG (a directory), ST_LIMIT. */
status upload_open_file(upload *u, const char *path, uint64_t most) MUST_USE;
/* The tensor `input_ids` of a safetensors file, of at most `most` bytes as it
 * is sent; also ids_find()'s codes. */
status upload_open_ids(upload *u, const char *path, uint64_t most) MUST_USE;
void upload_close(upload *u); /* fine for all of these, and for a failed open */

/* Fills out[len], which must lie inside the upload, from byte `offset`; for ids
 * both are multiples of 4.  ST_IO: the file became shorter; ST_ARG: an id does
 * not fit in int32. */
status upload_read(const upload *u, void *out, size_t len,
                   uint64_t offset) MUST_USE;

#endif
