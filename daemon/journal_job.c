/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs in the journal: their rows, inputs, tokens and ends, and how they are
 * found again. */
#include <stdio.h>
#include <string.h>

#include "base/fault.h"
#include "base/mem.h"
#include "daemon/journal_impl.h"

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

/* --------------------------------------------------------------- changes ---
 */

static status
run_submit(helper_task *task)
{
    journal_work *w = (journal_work *)task;
    const store_record *r = &w->record;

    status st = store_insert_job(w->owner->s, &r->row, r->stops, r->stops_len,
                                 w->data, w->len);

    FAULT_POINT(SUBMIT_ROW);
    return st;
}

status
journal_submit(journal *j, const job *of, const uint8_t hash[32],
               uint8_t **input, size_t len)
{
    journal_work *w = NULL;
    status st;

    TRY(journal_work_new(&w, j, JOURNAL_SUBMITTED, of->id));
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
    journal_work_push(w, run_submit);
    return ST_OK;
fail:
    journal_work_free(w);
    return st;
}

static status
run_record(helper_task *task)
{
    journal_work *w = (journal_work *)task;

    return store_update_job(w->owner->s, &w->record.row);
}

status
journal_record(journal *j, const job *of)
{
    journal_work *w;
    status st;

    TRY(journal_work_new(&w, j, JOURNAL_RECORDED, of->id));
    journal_row(&w->record.row, of);
    w->task.run = run_record;
    helper_push_later(j->thread, &w->task);
fail:
    return st;
}

/* The tokens that are not durable yet. */
static status
copy_tokens(journal_work *w, const job *of)
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

static status
run_tokens(helper_task *task)
{
    journal_work *w = (journal_work *)task;

    return store_add_tokens(w->owner->s, w->report.id, w->first, &w->record);
}

status
journal_tokens(journal *j, const job *of)
{
    journal_work *w = NULL;
    status st;

    TRY(journal_work_new(&w, j, JOURNAL_TOKENS, of->id));
    TRY(copy_tokens(w, of));
    w->report.number = w->first + w->record.n_id;
    journal_work_push(w, run_tokens);
    return ST_OK;
fail:
    journal_work_free(w);
    return st;
}

static status
run_end(helper_task *task)
{
    journal_work *w = (journal_work *)task;
    const store_record *r = &w->record;
    status st;

    TRY(run_tokens(task));
    TRY(store_end_job(w->owner->s, &r->row, r->text, r->text_len));
fail:
    return st;
}

status
journal_end(journal *j, const job *of)
{
    journal_work *w = NULL;
    const char *text;
    size_t len = 0;
    status st;

    TRY(journal_work_new(&w, j, JOURNAL_ENDED, of->id));
    journal_row(&w->record.row, of);
    TRY(copy_tokens(w, of));
    if (of->answer) {
        text = answer_text(of->answer, &len);
        TRY(mem_new(&w->record.text, len, 1));
        if (len > 0)
            memcpy(w->record.text, text, len);
        w->record.text_len = len;
    }
    journal_work_push(w, run_end);
    return ST_OK;
fail:
    journal_work_free(w);
    return st;
}

/* ------------------------------------------------------------- questions ---
 */

static status
run_input(helper_task *task)
{
    journal_work *w = (journal_work *)task;

    return store_read_input(w->owner->s, w->report.id, w->record.row.hash,
                            &w->data, &w->len);
}

status
journal_input(journal *j, uint64_t id)
{
    journal_work *w;
    status st;

    TRY(journal_work_new(&w, j, JOURNAL_INPUT, id));
    journal_work_push(w, run_input);
fail:
    return st;
}

static status
run_find(helper_task *task)
{
    journal_work *w = (journal_work *)task;
    store_job asked = w->record.row;

    return store_find_key(w->owner->s, &w->record, asked.owner, asked.key);
}

status
journal_find(journal *j, const job *of)
{
    journal_work *w;
    status st;

    TRY(journal_work_new(&w, j, JOURNAL_FOUND, of->id));
    journal_row(&w->record.row, of);
    journal_work_push(w, run_find);
fail:
    return st;
}

static status
run_fetch(helper_task *task)
{
    journal_work *w = (journal_work *)task;

    return store_get_job(w->owner->s, &w->record, w->report.id);
}

status
journal_fetch(journal *j, uint64_t id, const job_watcher *to)
{
    journal_work *w;
    status st;

    TRY(journal_work_new(&w, j, JOURNAL_FETCHED, id));
    w->report.watcher = *to;
    journal_work_push(w, run_fetch);
fail:
    return st;
}
