/* SPDX-License-Identifier: Apache-2.0 */
/* One kind of task for each kind of change. */
#include "daemon/journal.h"

#include <stdio.h>
#include <string.h>

#include "base/fault.h"
#include "base/file.h"
#include "base/mem.h"
#include "daemon/helper.h"

struct journal {
    helper *thread;
    store *s;
    journal_report_fn *fn;
    void *ctx;
};

typedef struct work {
    helper_task task; /* first: a task is its work */
    journal *owner;
    journal_report report;
    store_record record; /* row, and what goes in or comes out beside it */
    uint64_t first;      /* of the record's ids */
    uint8_t *data;
    size_t len;
    document doc;
    store_checkpoint checkpoint;
    uint32_t *crcs;
    int64_t wall_ms;
    uint64_t keep_s;
} work;

void
journal_row(store_job *out, const job *j)
{
    *out = (store_job){.id = j->id,
                       .kind = j->kind,
                       .state = j->ending    ? j->end_state
                                : j->storing ? CLIENT_STATE_DONE
                                             : j->state,
                       .document_id = j->document_id,
                       .created_ms = j->created_ms,
                       .ended_ms = j->ended_ms,
                       .input = j->input,
                       .bytes = j->bytes,
                       .sampling = j->sampling,
                       .tokens = j->tokens,
                       .pending = j->pending,
                       .first_segment = j->first_segment,
                       .snapshot_bytes = j->snapshot_bytes,
                       .segments_done = j->segments_done,
                       .segments_total = j->n_write,
                       .redone = j->redone,
                       .attempt = j->attempt,
                       .strikes = j->strikes,
                       .st = j->st};
    memcpy(out->owner, j->owner, sizeof(out->owner));
    memcpy(out->key, j->key, sizeof(out->key));
    memcpy(out->document, j->document, sizeof(out->document));
    memcpy(out->hash, j->hash, sizeof(out->hash));
    memcpy(out->fingerprint, j->fingerprint, sizeof(out->fingerprint));
    (void)snprintf(out->device, sizeof(out->device), "%s", j->device);
    memcpy(out->text, j->text, sizeof(out->text));
    memcpy(out->finish, j->finish, sizeof(out->finish));
}

/* ------------------------------------------------------ the helper's side ---
 */

static status
run_submit(helper_task *task)
{
    work *w = (work *)task;
    const store_record *r = &w->record;

    status st = store_insert_job(w->owner->s, &r->row, r->stops, r->stops_len,
                                 w->data, w->len);

    FAULT_POINT(SUBMIT_ROW);
    return st;
}

static status
run_record(helper_task *task)
{
    work *w = (work *)task;

    return store_update_job(w->owner->s, &w->record.row);
}

static status
run_tokens(helper_task *task)
{
    work *w = (work *)task;

    return store_add_tokens(w->owner->s, w->report.id, w->first, &w->record);
}

static status
run_end(helper_task *task)
{
    work *w = (work *)task;
    const store_record *r = &w->record;
    status st;

    TRY(run_tokens(task));
    TRY(store_end_job(w->owner->s, &r->row, r->text, r->text_len));
fail:
    return st;
}

static status
run_store(helper_task *task)
{
    work *w = (work *)task;

    return store_end_document(w->owner->s, &w->doc, &w->record.row);
}

static status
run_remove(helper_task *task)
{
    work *w = (work *)task;

    return store_remove_document(w->owner->s, w->report.id);
}

static status
run_hashes(helper_task *task)
{
    work *w = (work *)task;

    return store_note_hashes(w->owner->s, &w->doc);
}

static status
run_checkpoint(helper_task *task)
{
    work *w = (work *)task;

    w->checkpoint.crcs = w->crcs;
    return store_add_checkpoint(w->owner->s, &w->checkpoint);
}

static status
run_drop(helper_task *task)
{
    work *w = (work *)task;

    return store_drop_checkpoint(w->owner->s, w->report.id, w->report.number,
                                 w->report.attempt);
}

static status
run_input(helper_task *task)
{
    work *w = (work *)task;

    return store_read_input(w->owner->s, w->report.id, w->record.row.hash,
                            &w->data, &w->len);
}

static status
run_find(helper_task *task)
{
    work *w = (work *)task;
    store_job asked = w->record.row;

    return store_find_key(w->owner->s, &w->record, asked.owner, asked.key);
}

static status
run_fetch(helper_task *task)
{
    work *w = (work *)task;

    return store_get_job(w->owner->s, &w->record, w->report.id);
}

static status
run_incident(helper_task *task)
{
    work *w = (work *)task;

    return store_add_incident(w->owner->s, w->wall_ms, w->report.id,
                              w->record.text);
}

static status
run_age(helper_task *task)
{
    work *w = (work *)task;
    status st;

    TRY(store_set_number(w->owner->s, "age", w->report.number));
    TRY(store_forget_jobs(w->owner->s, w->keep_s));
fail:
    return st;
}

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
    work *w = (work *)task;
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

static status
work_new(work **out, journal *j, journal_kind kind, uint64_t id)
{
    work *w;
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

static void
push(work *w, status (*run)(helper_task *))
{
    w->task.run = run;
    helper_push(w->owner->thread, &w->task);
}

static void
work_free(work *w)
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

/* -------------------------------------------------------------- requests ---
 */

status
journal_submit(journal *j, const job *of, const uint8_t hash[32],
               uint8_t **input, size_t len)
{
    work *w = NULL;
    status st;

    TRY(work_new(&w, j, JOURNAL_SUBMITTED, of->id));
    journal_row(&w->record.row, of);
    w->record.row.state = CLIENT_QUEUED;
    memcpy(w->record.row.hash, hash, sizeof(w->record.row.hash));
    TRY(mem_new(&w->record.stops, of->stops_len, 1));
    if (of->stops_len > 0)
        memcpy(w->record.stops, of->stops, of->stops_len);
    w->record.stops_len = of->stops_len;
    if (input) {
        w->data = *input;
        w->len = len;
        *input = NULL;
    }
    push(w, run_submit);
    return ST_OK;
fail:
    work_free(w);
    return st;
}

status
journal_record(journal *j, const job *of)
{
    work *w;
    status st;

    TRY(work_new(&w, j, JOURNAL_RECORDED, of->id));
    journal_row(&w->record.row, of);
    w->task.run = run_record;
    helper_push_later(j->thread, &w->task);
fail:
    return st;
}

void
journal_flush(journal *j)
{
    helper_flush(j->thread);
}

/* The tokens that are not durable yet. */
static status
copy_tokens(work *w, const job *of)
{
    size_t n_id = 0;
    const int32_t *ids;
    status st = ST_OK;

    w->first = of->kept;
    if (!of->answer)
        return ST_OK;
    ids = answer_ids(of->answer, &n_id);
    if (n_id <= of->kept)
        return ST_OK;
    w->record.n_id = n_id - of->kept;
    TRY(mem_new(&w->record.ids, w->record.n_id, sizeof(*ids)));
    memcpy(w->record.ids, ids + of->kept, w->record.n_id * sizeof(*ids));
    TRY(mem_new(&w->record.logprobs, w->record.n_id, sizeof(float)));
    memcpy(w->record.logprobs, answer_logprobs(of->answer) + of->kept,
           w->record.n_id * sizeof(float));
fail:
    return st;
}

status
journal_tokens(journal *j, const job *of)
{
    work *w = NULL;
    status st;

    TRY(work_new(&w, j, JOURNAL_TOKENS, of->id));
    TRY(copy_tokens(w, of));
    w->report.number = w->first + w->record.n_id;
    push(w, run_tokens);
    return ST_OK;
fail:
    work_free(w);
    return st;
}

status
journal_end(journal *j, const job *of)
{
    work *w = NULL;
    const char *text;
    size_t len = 0;
    status st;

    TRY(work_new(&w, j, JOURNAL_ENDED, of->id));
    journal_row(&w->record.row, of);
    TRY(copy_tokens(w, of));
    if (of->answer) {
        text = answer_text(of->answer, &len);
        TRY(mem_new(&w->record.text, len, 1));
        if (len > 0)
            memcpy(w->record.text, text, len);
        w->record.text_len = len;
    }
    push(w, run_end);
    return ST_OK;
fail:
    work_free(w);
    return st;
}

status
journal_store(journal *j, const document *doc, const job *of)
{
    work *w;
    status st;

    TRY(work_new(&w, j, JOURNAL_STORED, doc->id));
    w->doc = *doc;
    journal_row(&w->record.row, of);
    push(w, run_store);
fail:
    return st;
}

status
journal_hashes(journal *j, const document *doc)
{
    work *w;
    status st;

    TRY(work_new(&w, j, JOURNAL_NOTE, doc->id));
    w->doc = *doc;
    w->task.run = run_hashes;
    helper_push_later(j->thread, &w->task);
fail:
    return st;
}

status
journal_remove(journal *j, uint64_t id)
{
    work *w;
    status st;

    TRY(work_new(&w, j, JOURNAL_REMOVED, id));
    push(w, run_remove);
fail:
    return st;
}

status
journal_checkpoint(journal *j, const store_checkpoint *k, uint32_t **crcs)
{
    work *w;
    status st;

    TRY(work_new(&w, j, JOURNAL_CHECKPOINT, k->job));
    w->checkpoint = *k;
    w->report.number = k->segment;
    w->report.attempt = k->attempt;
    w->crcs = *crcs;
    *crcs = NULL;
    push(w, run_checkpoint);
fail:
    return st;
}

status
journal_drop(journal *j, uint64_t id, const job_checkpoint *k)
{
    work *w;
    status st;

    TRY(work_new(&w, j, JOURNAL_DROPPED, id));
    w->report.number = k->segment;
    w->report.attempt = k->attempt;
    push(w, run_drop);
fail:
    return st;
}

status
journal_input(journal *j, uint64_t id)
{
    work *w;
    status st;

    TRY(work_new(&w, j, JOURNAL_INPUT, id));
    push(w, run_input);
fail:
    return st;
}

status
journal_find(journal *j, const job *of)
{
    work *w;
    status st;

    TRY(work_new(&w, j, JOURNAL_FOUND, of->id));
    journal_row(&w->record.row, of);
    push(w, run_find);
fail:
    return st;
}

status
journal_fetch(journal *j, uint64_t id, const job_watcher *to)
{
    work *w;
    status st;

    TRY(work_new(&w, j, JOURNAL_FETCHED, id));
    w->report.watcher = *to;
    push(w, run_fetch);
fail:
    return st;
}

status
journal_incident(journal *j, int64_t wall_ms, uint64_t id, const char *text)
{
    work *w = NULL;
    status st;

    TRY(work_new(&w, j, JOURNAL_NOTE, id));
    w->wall_ms = wall_ms;
    TRY(mem_strdup(&w->record.text, text));
    push(w, run_incident);
    return ST_OK;
fail:
    work_free(w);
    return st;
}

status
journal_age(journal *j, uint64_t age_s, uint64_t keep_s)
{
    work *w;
    status st;

    TRY(work_new(&w, j, JOURNAL_NOTE, 0));
    w->report.number = age_s;
    w->keep_s = keep_s;
    push(w, run_age);
fail:
    return st;
}
