/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes that a request sends: a text, a file, or token ids.
 *
 * Ids leave as little-endian int32, whatever the file has.  A feed is read at
 * any offset, so that an upload can be cut where credit ends. */
#ifndef CLIENT_FEED_H
#define CLIENT_FEED_H

#include "proto/client_message.h"

typedef struct feed {
    client_input kind;
    uint64_t bytes;   /* in all */
    const char *text; /* borrowed; NULL: fd */
    int fd;
    uint64_t start; /* of the data in fd */
    bool wide;      /* int64 in the file */
} feed;

/* `text` lives as long as the feed. */
void feed_init_text(feed *f, const char *text);
/* A file of text.  "-" is stdin; what is no regular file is copied to a
 * temporary one first, since its length must be known.  ST_NOTFOUND, ST_IO,
 * ST_ARG (a directory). */
status feed_open_file(feed *f, const char *path) MUST_USE;
/* The tensor `input_ids` of a safetensors file; also ids_find()'s codes. */
status feed_open_ids(feed *f, const char *path) MUST_USE;
void feed_close(feed *f); /* fine for all of these, and for a failed open */

/* Fills out[len], which must lie inside the feed, from byte `offset`; for ids
 * both are multiples of 4.  ST_IO: the file became shorter; ST_ARG: an id does
 * not fit in int32. */
status feed_read(const feed *f, void *out, size_t len,
                 uint64_t offset) MUST_USE;

#endif
