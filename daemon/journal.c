/* SPDX-License-Identifier: Apache-2.0 */
/* The journal's thread and its tasks; incidents, and the daemon's age. */
#include "daemon/journal.h"

#include "base/fault.h"
#include "base/file.h"
#include "base/mem.h"
#include "daemon/journal_impl.h"

/* ------------------------------------------------------ the helper's side ---
 */

static status
begin(void *ctx)
{
    journal *j = ctx;

    if (file_sync_failed())
        return status_fail(ST_IO, "the journal: its disk has failed");
    return store_begin(j->s);
}

/* After a failed fsync the kernel may have thrown away what it could not
 * write and say nothing the next time. */
static status
commit(void *ctx)
{
    journal *j = ctx;
    status st;

    FAULT_POINT(COMMIT_BEGIN);
    st = store_commit(j->s);
    FAULT_POINT(COMMIT_END);
    return st;
}

/* -------------------------------------------------------- the loop's side ---
 */

static void
done(helper_task *task, status st, const char *text)
{
    journal_work *w = (journal_work *)task;
    journal *j = w->owner;
    journal_report r = w->report;

    r.st = st;
    r.text = text;
    r.data = &w->data;
    r.len = w->len;
    r.record = &w->record;
    r.checkpoint = &w->checkpoint;
    j->fn(j->ctx, &r);
    store_record_fini(&w->record);
    mem_free(w->data);
    mem_free(w->crcs);
    mem_free(w);
}

status
journal_work_new(journal_work **out, journal *j, journal_kind kind, uint64_t id)
{
    journal_work *w;
    status st;

    TRY(mem_new(&w, 1, sizeof(*w)));
    w->owner = j;
    w->report.kind = kind;
    w->report.id = id;
    w->task.done = done;
    *out = w;
fail:
    return st;
}

void
journal_work_push(journal_work *w, status (*run)(helper_task *))
{
    w->task.run = run;
    helper_push(w->owner->thread, &w->task);
}

void
journal_work_free(journal_work *w)
{
    if (!w)
        return;
    store_record_fini(&w->record);
    mem_free(w);
}

status
journal_new(journal **out, store *s)
{
    journal *j = NULL;
    helper_frame frame = {.begin = begin, .end = commit};
    status st;

    TRY(mem_new(&j, 1, sizeof(*j)));
    j->s = s;
    frame.ctx = j;
    TRY(helper_new_framed(&j->thread, &frame));
    *out = j;
    return ST_OK;
fail:
    journal_free(j);
    return st;
}

void
journal_on_report(journal *j, journal_report_fn *fn, void *ctx)
{
    j->fn = fn;
    j->ctx = ctx;
}

void
journal_free(journal *j)
{
    if (!j)
        return;
    helper_free(j->thread);
    mem_free(j);
}

int
journal_fd(const journal *j)
{
    return helper_fd(j->thread);
}

void
journal_collect(journal *j)
{
    helper_collect(j->thread);
}

void
journal_flush(journal *j)
{
    helper_flush(j->thread);
}

/* ----------------------------------------------------------------- notes ---
 */

static status
run_incident(helper_task *task)
{
    journal_work *w = (journal_work *)task;

    return store_add_incident(w->owner->s, w->wall_ms, w->report.id,
                              w->record.text);
}

status
journal_incident(journal *j, int64_t wall_ms, uint64_t id, const char *text)
{
    journal_work *w = NULL;
    status st;

    TRY(journal_work_new(&w, j, JOURNAL_NOTE, id));
    w->wall_ms = wall_ms;
    TRY(mem_strdup(&w->record.text, text));
    journal_work_push(w, run_incident);
    return ST_OK;
fail:
    journal_work_free(w);
    return st;
}

static status
run_age(helper_task *task)
{
    journal_work *w = (journal_work *)task;
    status st;

    TRY(store_set_number(w->owner->s, "age", w->report.number));
    TRY(store_forget_jobs(w->owner->s, w->keep_s));
fail:
    return st;
}

status
journal_age(journal *j, uint64_t age_s, uint64_t keep_s)
{
    journal_work *w;
    status st;

    TRY(journal_work_new(&w, j, JOURNAL_NOTE, 0));
    w->report.number = age_s;
    w->keep_s = keep_s;
    journal_work_push(w, run_age);
fail:
    return st;
}
