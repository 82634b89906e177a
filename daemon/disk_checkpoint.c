/* SPDX-License-Identifier: Apache-2.0 */
/* A checkpoint from its shards: a file with the place of every layer known
 * from the start, that becomes a snapshot when the last shard is in. */
#include <string.h>

#include "base/crc.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/mem.h"
#include "daemon/disk_impl.h"

typedef struct shard {
    uint64_t have; /* bytes, in order */
    uint32_t crc;  /* of them */
} shard;

struct disk_checkpoint {
    disk *owner;
    store_checkpoint row;
    snapshot_info info;
    helper_task end;
    uint8_t *data; /* the helper's, and what follows: the whole snapshot */
    size_t len;
    shard *shard;
    uint64_t n_byte; /* of layers that are whole */
    status failed;
};

static status
open_data(disk_checkpoint *k)
{
    status st = ST_OK;

    if (k->data)
        return ST_OK;
    TRY(snapshot_bytes(&k->len, k->info.state_bytes));
    TRY(mem_new(&k->shard, k->info.n_layer, sizeof(*k->shard)));
    TRY(mem_new(&k->data, k->len, 1));
fail:
    return st;
}

/* The parts of one layer come in order; layers come in any. */
static status
take(disk_checkpoint *k, const disk_work *w)
{
    const disk_shard *at = &w->shard;
    uint64_t all = k->info.state_bytes;
    shard *s = &k->shard[at->layer];

    if (at->place > all || at->total > all - at->place ||
        at->offset != s->have || s->have > at->total ||
        w->len > at->total - s->have)
        return status_fail(ST_WIRE, "a shard of the checkpoint is out of "
                                    "place");
    memcpy(k->data + SNAPSHOT_HEADER + at->place + at->offset, w->data, w->len);
    s->crc = crc_add(s->crc, w->data, w->len);
    s->have += w->len;
    if (s->have < at->total)
        return ST_OK;
    if (s->crc != at->crc)
        return status_fail(ST_WIRE,
                           "layer %u of the checkpoint was damaged on its way",
                           at->layer);
    k->n_byte += at->total;
    return ST_OK;
}

/* All layers of one place are in: what is written is checked to be finite
 * numbers, too. */
static status
finish(disk_checkpoint *k, disk_work *w)
{
    char *path = NULL;
    snapshot_info info;
    status st;

    TRY(snapshot_seal(k->data, k->len, &k->info));
    TRY(snapshot_check(&info, k->data, k->len));
    TRY(mem_new(&w->crcs, k->info.n_layer, sizeof(*w->crcs)));
    TRY(datadir_checkpoint_path(k->owner->dir, &path, k->row.job,
                                k->row.segment, k->row.attempt));
    TRY(file_write(path, k->data, k->len));
    FAULT_POINT(CHECKPOINT_FILE);
    k->row.bytes = k->len;
    k->row.n_layer = k->info.n_layer;
    hash_of(k->row.hash, k->data, k->len);
    for (uint32_t layer = 0; layer < k->info.n_layer; layer++)
        w->crcs[layer] = k->shard[layer].crc;
    w->report.checkpoint = k->row;
    w->report.last = true;
fail:
    mem_free(path);
    return st;
}

/* After the first failure the parts that follow are dropped in silence. */
static status
run_shard(helper_task *task)
{
    disk_work *w = (disk_work *)task;
    disk_checkpoint *k = w->checkpoint;
    status st;

    if (k->failed != ST_OK)
        return ST_OK;
    TRY(open_data(k));
    TRY(take(k, w));
    if (k->n_byte == k->info.state_bytes)
        TRY(finish(k, w));
    return ST_OK;
fail:
    k->failed = st;
    return st;
}

static disk_checkpoint *
of_task(helper_task *task)
{
    return (disk_checkpoint *)((char *)task - offsetof(disk_checkpoint, end));
}

static status
run_end(helper_task *task)
{
    disk_checkpoint *k = of_task(task);

    mem_free(k->data);
    mem_free(k->shard);
    return ST_OK;
}

static void
done_end(helper_task *task, status st, const char *text)
{
    (void)st;
    (void)text;
    mem_free(of_task(task));
}

status
disk_checkpoint_new(disk_checkpoint **out, disk *d, const job *of,
                    uint64_t segment, const snapshot_info *info)
{
    disk_checkpoint *k;
    status st;

    TRY(mem_new(&k, 1, sizeof(*k)));
    k->owner = d;
    k->info = *info;
    k->row = (store_checkpoint){
        .job = of->id, .segment = segment, .attempt = of->attempt};
    k->end.run = run_end;
    k->end.done = done_end;
    *out = k;
fail:
    return st;
}

uint64_t
disk_checkpoint_segment(const disk_checkpoint *k)
{
    return k->row.segment;
}

status
disk_checkpoint_add(disk_checkpoint *k, const disk_shard *at, uint8_t **data,
                    size_t len)
{
    disk_work *w;
    status st;

    TRY(disk_work_new(&w, k->owner, DISK_CHECKPOINT, k->row.job));
    w->report.number = k->row.segment;
    w->report.attempt = k->row.attempt;
    w->report.checkpoint = k->row;
    w->checkpoint = k;
    w->shard = *at;
    w->data = *data;
    w->len = len;
    *data = NULL;
    disk_work_push(w, run_shard);
fail:
    return st;
}

void
disk_checkpoint_end(disk_checkpoint *k)
{
    if (k)
        helper_push(k->owner->thread, &k->end);
}

static status
run_remove(helper_task *task)
{
    disk_work *w = (disk_work *)task;
    char *path = NULL;
    status st;

    TRY(datadir_checkpoint_path(w->owner->dir, &path, w->report.id,
                                w->report.number, w->report.attempt));
    TRY(file_remove(path));
fail:
    mem_free(path);
    return st;
}

status
disk_checkpoint_remove(disk *d, uint64_t id, const job_checkpoint *k)
{
    disk_work *w;
    status st;

    TRY(disk_work_new(&w, d, DISK_QUIET, id));
    w->report.number = k->segment;
    w->report.attempt = k->attempt;
    disk_work_push(w, run_remove);
fail:
    return st;
}
