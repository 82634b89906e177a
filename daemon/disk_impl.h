/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the disk share; private to daemon/disk*.c. */
#ifndef DAEMON_DISK_IMPL_H
#define DAEMON_DISK_IMPL_H

#include "daemon/disk.h"
#include "daemon/helper.h"

struct disk {
    helper *thread;
    datadir *dir;
    disk_report_fn *fn;
    void *ctx;
};

/* A task, and what it works on. */
typedef struct disk_work {
    helper_task task; /* first: a task is its work */
    disk *owner;
    disk_report report;
    disk_input *input;
    disk_snapshot *snapshot;
    disk_checkpoint *checkpoint;
    disk_shard shard;
    uint8_t *data;
    size_t len;
    bool last;
    uint8_t hash[HASH_BYTES];
    document doc;
    spool *ids;
    uint32_t *crcs;
} disk_work;

status disk_work_new(disk_work **out, disk *d, disk_report_kind kind,
                     uint64_t id) MUST_USE;
void disk_work_push(disk_work *w, status (*run)(helper_task *));

#endif
