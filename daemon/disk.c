/* SPDX-License-Identifier: Apache-2.0 */
/* One kind of task for each kind of disk work: inputs and documents. */
#include "daemon/disk.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "daemon/disk_impl.h"
#include "daemon/intake.h"

struct disk_input {
    disk *owner;
    uint64_t job;
    helper_task end;
    bool keep;
    file_writer writer; /* the helper's, and what follows */
    hash sum;
    uint64_t bytes;
    bool whole;
};

struct disk_snapshot {
    disk *owner;
    uint64_t job;
    uint32_t attempt;
    helper_task drop;
    intake *in; /* the helper's, and what follows: the first failure */
    status failed;
    char why[256];
};

/* ----------------------------------------------------------------- tasks ---
 */

/* Nobody waits for a part that went well. */
static bool
is_wanted(const disk_report *r)
{
    if (r->kind == DISK_CHECKPOINT)
        return r->st != ST_OK || r->last;
    return r->st != ST_OK || r->kind == DISK_STORED || r->kind == DISK_INPUT;
}

static void
done(helper_task *task, status st, const char *text)
{
    disk_work *w = (disk_work *)task;
    disk *d = w->owner;
    disk_report r = w->report;
    uint32_t *crcs = w->crcs;

    r.st = st;
    r.text = text;
    r.crcs = &crcs;
    if (r.kind == DISK_STORED) {
        mem_free(w->snapshot);
        spool_free(w->ids);
    }
    r.doc = &w->doc;
    if (is_wanted(&r))
        d->fn(d->ctx, &r);
    mem_free(crcs);
    mem_free(w->data);
    mem_free(w);
}

status
disk_work_new(disk_work **out, disk *d, disk_report_kind kind, uint64_t id)
{
    disk_work *w;
    status st;

    TRY(mem_new(&w, 1, sizeof(*w)));
    w->owner = d;
    w->report.kind = kind;
    w->report.id = id;
    w->task.done = done;
    *out = w;
fail:
    return st;
}

void
disk_work_push(disk_work *w, status (*run)(helper_task *))
{
    w->task.run = run;
    helper_push(w->owner->thread, &w->task);
}

status
disk_new(disk **out, datadir *dir)
{
    disk *d = NULL;
    status st;

    TRY(mem_new(&d, 1, sizeof(*d)));
    d->dir = dir;
    TRY(helper_new(&d->thread));
    *out = d;
    return ST_OK;
fail:
    disk_free(d);
    return st;
}

void
disk_on_report(disk *d, disk_report_fn *fn, void *ctx)
{
    d->fn = fn;
    d->ctx = ctx;
}

void
disk_free(disk *d)
{
    if (!d)
        return;
    helper_free(d->thread);
    mem_free(d);
}

int
disk_fd(const disk *d)
{
    return helper_fd(d->thread);
}

void
disk_collect(disk *d)
{
    helper_collect(d->thread);
}

/* ---------------------------------------------------------------- inputs ---
 */

static status
open_input(disk_input *in)
{
    char *path = NULL;
    status st = ST_OK;

    if (in->writer.path)
        return ST_OK;
    TRY(datadir_input_path(in->owner->dir, &path, in->job));
    TRY(file_writer_open(&in->writer, path));
    hash_init(&in->sum);
fail:
    mem_free(path);
    return st;
}

static status
run_input(helper_task *task)
{
    disk_work *w = (disk_work *)task;
    disk_input *in = w->input;
    status st;

    TRY(open_input(in));
    TRY(file_writer_add(&in->writer, w->data, w->len));
    hash_add(&in->sum, w->data, w->len);
    in->bytes += w->len;
    if (w->last) {
        hash_end(&in->sum, w->report.hash);
        TRY(file_writer_finish(&in->writer, true));
        in->whole = true;
    }
    w->report.number = in->bytes;
    w->report.last = w->last;
fail:
    return st;
}

static disk_input *
input_of(helper_task *task)
{
    return (disk_input *)((char *)task - offsetof(disk_input, end));
}

static status
run_input_end(helper_task *task)
{
    disk_input *in = input_of(task);
    char *path = NULL;
    status st = ST_OK;

    file_writer_close(&in->writer);
    if (!in->whole || in->keep)
        return ST_OK;
    TRY(datadir_input_path(in->owner->dir, &path, in->job));
    TRY(file_remove(path));
fail:
    mem_free(path);
    return st;
}

static void
done_input_end(helper_task *task, status st, const char *text)
{
    (void)st;
    (void)text;
    mem_free(input_of(task));
}

status
disk_input_new(disk_input **out, disk *d, uint64_t id)
{
    disk_input *in;
    status st;

    TRY(mem_new(&in, 1, sizeof(*in)));
    in->owner = d;
    in->job = id;
    in->writer.fd = -1;
    in->end.run = run_input_end;
    in->end.done = done_input_end;
    *out = in;
fail:
    return st;
}

status
disk_input_add(disk_input *in, uint8_t **data, size_t len, bool last)
{
    disk_work *w;
    status st;

    TRY(disk_work_new(&w, in->owner, DISK_INPUT, in->job));
    w->input = in;
    w->data = *data;
    w->len = len;
    w->last = last;
    *data = NULL;
    disk_work_push(w, run_input);
fail:
    return st;
}

void
disk_input_end(disk_input *in, bool keep)
{
    if (!in)
        return;
    in->keep = keep;
    helper_push(in->owner->thread, &in->end);
}

static status
run_input_remove(helper_task *task)
{
    disk_work *w = (disk_work *)task;
    char *path = NULL;
    status st;

    TRY(datadir_input_path(w->owner->dir, &path, w->report.id));
    TRY(file_remove(path));
fail:
    mem_free(path);
    return st;
}

status
disk_input_remove(disk *d, uint64_t id)
{
    disk_work *w;
    status st;

    TRY(disk_work_new(&w, d, DISK_QUIET, id));
    disk_work_push(w, run_input_remove);
fail:
    return st;
}

/* ------------------------------------------------------------- documents ---
 */

static status
open_intake(disk_snapshot *s)
{
    char *path = NULL;
    status st = ST_OK;

    if (s->in)
        return ST_OK;
    TRY(datadir_snapshot_path(s->owner->dir, &path, s->job));
    TRY(intake_new(&s->in, path));
fail:
    mem_free(path);
    return st;
}

/* After the first failure the parts that follow are dropped in silence. */
static status
run_part(helper_task *task)
{
    disk_work *w = (disk_work *)task;
    disk_snapshot *s = w->snapshot;
    status st = ST_OK;

    if (s->failed != ST_OK)
        return ST_OK;
    TRY(open_intake(s));
    TRY(intake_add(s->in, w->data, w->len));
    if (w->last)
        TRY(intake_check(s->in, w->hash));
    return ST_OK;
fail:
    s->failed = st;
    (void)snprintf(s->why, sizeof(s->why), "%s", status_text());
    return st;
}

static status
run_store(helper_task *task)
{
    disk_work *w = (disk_work *)task;
    disk_snapshot *s = w->snapshot;
    status st;

    if (s && s->failed != ST_OK)
        TRY(status_fail(s->failed, "%s", s->why));
    if (s)
        TRY(intake_finish(s->in, &w->doc));
    TRY(datadir_write_ids(w->owner->dir, &w->doc, w->ids));
fail:
    if (s)
        intake_free(s->in);
    return st;
}

static status
run_remove(helper_task *task)
{
    disk_work *w = (disk_work *)task;

    return datadir_remove_document(w->owner->dir, w->report.id);
}

static disk_snapshot *
snapshot_of(helper_task *task)
{
    return (disk_snapshot *)((char *)task - offsetof(disk_snapshot, drop));
}

static status
run_drop(helper_task *task)
{
    intake_free(snapshot_of(task)->in);
    return ST_OK;
}

static void
done_drop(helper_task *task, status st, const char *text)
{
    (void)st;
    (void)text;
    mem_free(snapshot_of(task));
}

status
disk_snapshot_new(disk_snapshot **out, disk *d, uint64_t id, uint32_t attempt)
{
    disk_snapshot *s;
    status st;

    TRY(mem_new(&s, 1, sizeof(*s)));
    s->owner = d;
    s->job = id;
    s->attempt = attempt;
    s->drop.run = run_drop;
    s->drop.done = done_drop;
    *out = s;
fail:
    return st;
}

status
disk_snapshot_add(disk_snapshot *s, uint8_t **data, size_t len,
                  const uint8_t *sum)
{
    disk_work *w;
    status st;

    TRY(disk_work_new(&w, s->owner, DISK_PART_FAILED, s->job));
    w->report.attempt = s->attempt;
    w->snapshot = s;
    w->data = *data;
    w->len = len;
    *data = NULL;
    if (sum) {
        w->last = true;
        memcpy(w->hash, sum, sizeof(w->hash));
    }
    disk_work_push(w, run_part);
fail:
    return st;
}

void
disk_snapshot_drop(disk_snapshot *s)
{
    if (s)
        helper_push(s->owner->thread, &s->drop);
}

status
disk_store(disk *d, const document *doc, spool *ids, disk_snapshot **snapshot)
{
    disk_work *w;
    status st;

    TRY(disk_work_new(&w, d, DISK_STORED, doc->id));
    w->doc = *doc;
    w->ids = spool_hold(ids);
    w->snapshot = *snapshot;
    *snapshot = NULL;
    disk_work_push(w, run_store);
fail:
    return st;
}

status
disk_remove(disk *d, uint64_t id)
{
    disk_work *w;
    status st;

    TRY(disk_work_new(&w, d, DISK_QUIET, id));
    disk_work_push(w, run_remove);
fail:
    return st;
}
