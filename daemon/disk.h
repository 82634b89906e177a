/* SPDX-License-Identifier: Apache-2.0 */
/* Disk work of the daemon, in order, on a helper thread.
 *
 * Everything that writes goes through here; what somebody waits for comes back
 * as a report.  The functions are the loop thread's and never block. */
#ifndef DAEMON_DISK_H
#define DAEMON_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "daemon/catalog.h"
#include "daemon/datadir.h"
#include "daemon/job.h"
#include "daemon/spool.h"

typedef struct disk disk;
typedef struct disk_snapshot disk_snapshot; /* one that comes in */

typedef enum disk_report_kind {
    DISK_STORED = 0,  /* document `id` is durable, or could not be stored */
    DISK_REMOVED,     /* document `id` is gone, or could not be removed */
    DISK_PART_FAILED, /* of the snapshot of job `id`; the rest is dropped */
    DISK_RECORD_FAILED
} disk_report_kind;

typedef struct disk_report {
    disk_report_kind kind;
    uint64_t id;
    uint32_t attempt; /* PART_FAILED */
    status st;
    const char *text;
} disk_report;
typedef void disk_report_fn(void *ctx, const disk_report *r);

/* Borrows `dir`, which only the helper's thread uses from now on. */
status disk_new(disk **out, datadir *dir) MUST_USE;
void disk_on_report(disk *d, disk_report_fn *fn, void *ctx);
/* Does what is left to do, reports it, ends. */
void disk_free(disk *d);
int disk_fd(const disk *d); /* readable: call disk_collect() */
void disk_collect(disk *d);

/* The row of a job. */
status disk_record(disk *d, const job *j) MUST_USE;
/* DISK_REMOVED follows. */
status disk_remove(disk *d, uint64_t id) MUST_USE;

status disk_snapshot_new(disk_snapshot **out, disk *d, uint64_t id,
                         uint32_t attempt) MUST_USE;
/* Takes *data.  `sum`: hash of the whole, with the last part; else NULL. */
status disk_snapshot_add(disk_snapshot *s, uint8_t **data, size_t len,
                         const uint8_t *sum) MUST_USE;
void disk_snapshot_drop(disk_snapshot *s); /* NULL is fine */

/* Makes a document durable: snapshot (taken; NULL for one segment), last ids
 * (the end of `ids`, held meanwhile), row.  DISK_STORED follows. */
status disk_store(disk *d, const document *doc, spool *ids,
                  disk_snapshot **snapshot) MUST_USE;

#endif
