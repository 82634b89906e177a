/* SPDX-License-Identifier: Apache-2.0 */
/* The data directory: who may use it, which files it has, and the order in
 * which a document becomes durable.
 *
 *   lock             held by the one daemon that uses the directory
 *   longwave.db      the index (store.h)
 *   documents/N.snap the states after all but the last segment
 *   documents/N.ids  the tokens of the last segment, little-endian int32
 *   tmp/             inputs of running jobs, emptied at start
 *
 * A document is there when its row is: files without a row are what a crash
 * left and are deleted at start.  After opening, one thread at a time;
 * everything blocks. */
#ifndef DAEMON_DATADIR_H
#define DAEMON_DATADIR_H

#include <stdint.h>

#include "base/status.h"
#include "daemon/spool.h"
#include "daemon/store.h"

typedef struct datadir datadir;

/* Creates the directory (0700) if it is not there.  ST_STATE: in use by
 * another daemon. */
status datadir_open(datadir **out, const char *dir) MUST_USE;
void datadir_close(datadir *d);

store *datadir_store(datadir *d);
const char *datadir_tmp(const datadir *d);
/* Paths of a document's files; mem_free(). */
status datadir_snapshot_path(const datadir *d, char **out,
                             uint64_t id) MUST_USE;
status datadir_ids_path(const datadir *d, char **out, uint64_t id) MUST_USE;

/* Ids of the last segment (the end of `ids`), then the row.  The snapshot, if
 * the document has one, is in place. */
status datadir_add_document(datadir *d, const document *doc,
                            const spool *ids) MUST_USE;
/* The row, then the files. */
status datadir_remove_document(datadir *d, uint64_t id) MUST_USE;
/* Deletes files of documents that have no row; those in `keep`, ascending,
 * have one. */
status datadir_sweep(datadir *d, const uint64_t *keep, size_t n_keep) MUST_USE;
/* The document's files are there and have the right sizes. */
status datadir_check_document(const datadir *d, const document *doc) MUST_USE;

#endif
