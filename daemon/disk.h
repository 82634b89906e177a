/* SPDX-License-Identifier: Apache-2.0 */
/* Files of the daemon, written in order on a helper thread.
 *
 * What somebody waits for comes back as a report, and is durable then.  The
 * functions are the loop thread's and never block; one that fails (ST_NOMEM)
 * has asked for nothing, and what it would take stays the caller's. */
#ifndef DAEMON_DISK_H
#define DAEMON_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/status.h"
#include "daemon/catalog.h"
#include "daemon/datadir.h"
#include "daemon/job.h"
#include "daemon/spool.h"
#include "daemon/store.h"
#include "proto/snapshot.h"

typedef struct disk disk;
typedef struct disk_input disk_input;           /* one that comes in */
typedef struct disk_snapshot disk_snapshot;     /* likewise */
typedef struct disk_checkpoint disk_checkpoint; /* likewise */

typedef enum disk_report_kind {
    DISK_INPUT = 0,   /* of job `id`: `number` bytes are in place */
    DISK_STORED,      /* files of document `id` */
    DISK_PART_FAILED, /* of the snapshot of job `id`; the rest is dropped */
    DISK_CHECKPOINT,  /* `checkpoint` and `crcs`; or a part of it failed */
    DISK_QUIET        /* nobody waits */
} disk_report_kind;

typedef struct disk_report {
    disk_report_kind kind;
    uint64_t id, number;
    bool last;
    uint8_t hash[HASH_BYTES]; /* of the whole input, with the last report */
    uint32_t attempt;         /* PART_FAILED, CHECKPOINT */
    store_checkpoint checkpoint;
    uint32_t **crcs; /* may be taken */
    status st;
    const char *text;
    const document *doc; /* STORED: with its norms, during the call */
} disk_report;
typedef void disk_report_fn(void *ctx, const disk_report *r);

/* Borrows `dir`. */
status disk_new(disk **out, datadir *dir) MUST_USE;
void disk_on_report(disk *d, disk_report_fn *fn, void *ctx);
/* Does what is left to do, reports it, ends. */
void disk_free(disk *d);
int disk_fd(const disk *d); /* readable: call disk_collect() */
void disk_collect(disk *d);

/* ---- the input of a job ---- */
status disk_input_new(disk_input **out, disk *d, uint64_t job) MUST_USE;
/* Takes *data. */
status disk_input_add(disk_input *in, uint8_t **data, size_t len,
                      bool last) MUST_USE;
/* Lets go; `keep`: the file stays once it is whole.  NULL is fine. */
void disk_input_end(disk_input *in, bool keep);
status disk_input_remove(disk *d, uint64_t job) MUST_USE;

/* ---- a document ---- */
status disk_snapshot_new(disk_snapshot **out, disk *d, uint64_t id,
                         uint32_t attempt) MUST_USE;
/* Takes *data.  `sum`: hash of the whole, with the last part; else NULL. */
status disk_snapshot_add(disk_snapshot *s, uint8_t **data, size_t len,
                         const uint8_t *sum) MUST_USE;
void disk_snapshot_drop(disk_snapshot *s); /* NULL is fine */
/* Makes a document's files durable: snapshot (taken; NULL for one segment) and
 * last ids (the end of `ids`, held meanwhile). */
status disk_store(disk *d, const document *doc, spool *ids,
                  disk_snapshot **snapshot) MUST_USE;
status disk_remove(disk *d, uint64_t id) MUST_USE;

/* ---- a checkpoint ---- */
typedef struct disk_shard {
    uint64_t place;         /* of the layer in the states of all; bytes */
    uint64_t offset, total; /* in its layer, and the layer's bytes */
    uint32_t layer, crc;
} disk_shard;
/* `info`: what its header will say.  It is whole when its states are; layers
 * without a state have no shard, and shards do not overlap. */
status disk_checkpoint_new(disk_checkpoint **out, disk *d, const job *of,
                           uint64_t segment,
                           const snapshot_info *info) MUST_USE;
uint64_t disk_checkpoint_segment(const disk_checkpoint *k);
/* Takes *data. */
status disk_checkpoint_add(disk_checkpoint *k, const disk_shard *at,
                           uint8_t **data, size_t len) MUST_USE;
/* Lets go; it is finished if it is whole.  NULL is fine. */
void disk_checkpoint_end(disk_checkpoint *k);
status disk_checkpoint_remove(disk *d, uint64_t job,
                              const job_checkpoint *k) MUST_USE;

#endif
