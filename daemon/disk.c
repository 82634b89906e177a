/* SPDX-License-Identifier: Apache-2.0 */
/* One kind of task for each kind of disk work. */
#include "daemon/disk.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "daemon/helper.h"
#include "daemon/intake.h"

struct disk {
    helper *thread;
    datadir *dir;
    disk_report_fn *fn;
    void *ctx;
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

typedef struct work {
    helper_task task; /* first: a task is its work */
    disk *owner;
    disk_report report;
    disk_snapshot *snapshot;
    uint8_t *data;
    size_t len;
    bool last;
    uint8_t hash[HASH_BYTES];
    store_job row;
    document doc;
    spool *ids;
} work;

/* ------------------------------------------------------ the helper's side ---
 */

static status
run_record(helper_task *task)
{
    work *w = (work *)task;

    return store_put_job(datadir_store(w->owner->dir), &w->row);
}

static status
run_remove(helper_task *task)
{
    work *w = (work *)task;

    return datadir_remove_document(w->owner->dir, w->report.id);
}

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
    work *w = (work *)task;
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
    work *w = (work *)task;
    disk_snapshot *s = w->snapshot;
    status st;

    if (s && s->failed != ST_OK)
        TRY(status_fail(s->failed, "%s", s->why));
    if (s)
        TRY(intake_finish(s->in, w->doc.fingerprint, w->doc.segments - 1));
    TRY(datadir_add_document(w->owner->dir, &w->doc, w->ids));
fail:
    if (s)
        intake_free(s->in);
    return st;
}

static status
run_drop(helper_task *task)
{
    disk_snapshot *s =
        (disk_snapshot *)((char *)task - offsetof(disk_snapshot, drop));

    intake_free(s->in);
    s->in = NULL;
    return ST_OK;
}

/* -------------------------------------------------------- the loop's side ---
 */

static void
done_drop(helper_task *task, status st, const char *text)
{
    disk_snapshot *s =
        (disk_snapshot *)((char *)task - offsetof(disk_snapshot, drop));

    (void)st;
    (void)text;
    mem_free(s);
}

/* Nobody waits for a row or a part that went well. */
static bool
is_wanted(const disk_report *r)
{
    return r->st != ST_OK || r->kind == DISK_STORED || r->kind == DISK_REMOVED;
}

static void
done(helper_task *task, status st, const char *text)
{
    work *w = (work *)task;
    disk *d = w->owner;
    disk_report r = w->report;

    r.st = st;
    r.text = text;
    if (r.kind == DISK_STORED) {
        mem_free(w->snapshot);
        spool_free(w->ids);
    }
    mem_free(w->data);
    mem_free(w);
    if (is_wanted(&r))
        d->fn(d->ctx, &r);
}

static status
work_new(work **out, disk *d, disk_report_kind kind, uint64_t id)
{
    work *w;
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

static void
push(work *w, status (*run)(helper_task *))
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

status
disk_record(disk *d, const job *j)
{
    work *w;
    status st;

    TRY(work_new(&w, d, DISK_RECORD_FAILED, j->id));
    w->row = (store_job){.id = j->id,
                         .kind = j->kind,
                         .state = j->state,
                         .created_ms = j->created_ms,
                         .tokens = j->tokens,
                         .segments_done = j->segments_done,
                         .segments_total = j->n_write,
                         .st = j->st};
    memcpy(w->row.document, j->document, sizeof(w->row.document));
    memcpy(w->row.text, j->text, sizeof(w->row.text));
    push(w, run_record);
fail:
    return st;
}

status
disk_remove(disk *d, uint64_t id)
{
    work *w;
    status st;

    TRY(work_new(&w, d, DISK_REMOVED, id));
    push(w, run_remove);
fail:
    return st;
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
    work *w;
    status st;

    TRY(work_new(&w, s->owner, DISK_PART_FAILED, s->job));
    w->report.attempt = s->attempt;
    w->snapshot = s;
    w->data = *data;
    w->len = len;
    *data = NULL;
    if (sum) {
        w->last = true;
        memcpy(w->hash, sum, sizeof(w->hash));
    }
    push(w, run_part);
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
    work *w;
    status st;

    TRY(work_new(&w, d, DISK_STORED, doc->id));
    w->doc = *doc;
    w->ids = spool_hold(ids);
    w->snapshot = *snapshot;
    *snapshot = NULL;
    push(w, run_store);
fail:
    return st;
}
