/* SPDX-License-Identifier: Apache-2.0 */
/* The data directory: who may use it, which files it has, and the order in
 * which a document becomes durable.
 *
 *   lock             held by the one daemon that uses the directory
 *   longwave.db      the index (store.h)
 *   documents/N.snap the states after all but the last segment
 *   documents/N.ids  the tokens of the last segment, little-endian int32
 *   inputs/N.in      long inputs of unfinished jobs
 *   checkpoints/N.S.A.snap  states of job N after S segments, of attempt A
 *   tmp/             ids of running jobs, emptied at start
 *
 * A file is there when its row is: files with such names and without a row are
 * what a crash left and are deleted at start.  After opening, one thread at a
 * time; everything blocks. */
#ifndef DAEMON_DATADIR_H
#define DAEMON_DATADIR_H

#include <stdint.h>

#include "base/status.h"
#include "daemon/spool.h"
#include "daemon/store.h"

typedef struct datadir datadir;

/* Creates the directory (0700) if it is not there.  ST_STATE: in use by
 * another daemon, or its journal is gone and files of documents or inputs are
 * there. */
status datadir_open(datadir **out, const char *dir) MUST_USE;
void datadir_close(datadir *d);

store *datadir_store(datadir *d);
const char *datadir_tmp(const datadir *d);
/* Paths of a document's files; mem_free(). */
status datadir_snapshot_path(const datadir *d, char **out,
                             uint64_t id) MUST_USE;
status datadir_ids_path(const datadir *d, char **out, uint64_t id) MUST_USE;

status datadir_input_path(const datadir *d, char **out, uint64_t job) MUST_USE;
/* Each attempt at a job has files of its own: what an earlier one still has on
 * its way is never in a later one's place. */
status datadir_checkpoint_path(const datadir *d, char **out, uint64_t job,
                               uint64_t segment, uint32_t attempt) MUST_USE;
/* Gives a file from before its name had the attempt the name that it has now;
 * nothing where there is none. */
status datadir_name_checkpoint(const datadir *d,
                               const store_checkpoint *k) MUST_USE;

/* Writes the ids of the last segment (the end of `ids`), and sets their hash.
 */
status datadir_write_ids(datadir *d, document *doc, const spool *ids) MUST_USE;
/* Of the file that is there. */
status datadir_hash_ids(const datadir *d, document *doc) MUST_USE;
status datadir_remove_document(datadir *d, uint64_t id) MUST_USE;

/* Deletes files of a daemon that nobody knows.  `kind` is "snap" or "ids" of a
 * document, "in" of an input, or "checkpoint", which alone has a segment and an
 * attempt.
 */
typedef bool datadir_known_fn(void *ctx, const char *kind, uint64_t id,
                              uint64_t segment, uint32_t attempt);
status datadir_sweep(datadir *d, datadir_known_fn *known, void *ctx) MUST_USE;
/* The document's files are there and have the right sizes. */
status datadir_check_document(const datadir *d, const document *doc) MUST_USE;

#endif
