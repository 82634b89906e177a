/* SPDX-License-Identifier: Apache-2.0 */
/* A job's input: from the client to the journal or a file, and from there to
 * ids when the job's turn is near. */
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "daemon/service_state.h"

static bool
is_short(const job *j)
{
    return j->bytes <= CLIENT_MAX_INLINE;
}

status
service_input_open(service *v, const core_action *a)
{
    holding *h;
    status st;

    TRY(service_holding_keep(v, &h, a->job->id));
    if (is_short(a->job))
        TRY(mem_new(&h->buffer, (size_t)a->job->bytes, 1));
    else
        TRY(disk_input_new(&h->file, v->writer, a->job->id));
fail:
    return st;
}

void
service_input_add(service *v, const core_action *a)
{
    holding *h = service_holding_find(v, a->job->id);
    const core_raw *raw = &a->raw;
    status st = ST_OK;

    if (!h)
        return;
    if (h->buffer && raw->len <= a->job->bytes - h->len) {
        memcpy(h->buffer + h->len, *raw->data, raw->len);
        h->len += raw->len;
    } else if (h->file) {
        st = disk_input_add(h->file, raw->data, raw->len,
                            a->job->received == a->job->bytes);
    }
    if (st != ST_OK)
        service_holding_fail(v, h, 0, st, status_text());
}

void
service_input_written(service *v, const disk_report *r)
{
    holding *h = service_holding_find(v, r->id);

    if (!h || !h->file)
        return;
    if (r->st != ST_OK) {
        core_job_failed(v->core, r->id, 0, r->st, r->text);
        return;
    }
    if (r->last)
        memcpy(h->hash, r->hash, sizeof(h->hash));
    core_input_written(v->core, r->id, r->number);
}

/* What can be known of an input at once. */
static status
check_input(holding *h, const job *j)
{
    hash sum;

    if (h->buffer) {
        hash_init(&sum);
        hash_add(&sum, h->buffer, h->len);
        hash_end(&sum, h->hash);
    }
    if (j->has_hash && memcmp(h->hash, j->hash, sizeof(h->hash)) != 0)
        return status_fail(ST_ARG, "the input is not what its hash says");
    if (h->buffer && j->input == CLIENT_TEXT)
        return utf8_check((const char *)h->buffer, h->len);
    return ST_OK;
}

/* Queued jobs hold nothing: what they need is read when their turn is near. */
status
service_input_submit(service *v, const core_action *a)
{
    const job *j = a->job;
    holding *h = service_holding_find(v, j->id);
    status st;

    if (!h || h->failed != ST_OK)
        return status_fail(ST_NOMEM, "%s",
                           h ? h->text_of_failure : "out of memory");
    TRY(check_input(h, j));
    TRY(journal_submit(v->journal, j, h->hash, h->buffer ? &h->buffer : NULL,
                       h->len));
    disk_input_end(h->file, true);
    h->file = NULL;
    service_holding_drop(v, j->id);
fail:
    return st;
}

static status
prepare(service *v, holding *h, const core_action *a)
{
    status st = ST_OK;

    h->text = a->job->input == CLIENT_TEXT;
    h->ask = a->job->kind == JOB_ASK;
    h->bytes = a->job->bytes;
    if (h->ask && !a->document)
        TRY(status_fail(ST_NOTFOUND, "the document '%s' is gone",
                        a->job->document));
    if (h->ask) {
        TRY(datadir_ids_path(v->dir, &h->pending, a->document->id));
        h->n_pending = a->document->pending;
        memcpy(h->pending_hash, a->document->ids_hash, sizeof(h->pending_hash));
    }
    st = journal_input(v->journal, h->job);
    if (st != ST_OK && again_after(&h->again, st))
        return ST_OK;
fail:
    return st;
}

status
service_input_prepare(service *v, const core_action *a)
{
    holding *h;
    status st;

    TRY(service_holding_keep(v, &h, a->job->id));
    TRY(prepare(v, h, a));
fail:
    return st;
}

static status
start_tokens(service *v, holding *h, const journal_report *r)
{
    char *path = NULL;
    tokens_setup setup = {
        .job = h->job,
        .text = h->text,
        .bytes = h->bytes,
        .begin = !h->ask,
        .question = h->ask,
        .pending = h->pending,
        .n_pending = h->n_pending,
        .max_tokens = h->ask ? v->set->max_question : UINT64_MAX,
    };
    status st;

    memcpy(setup.hash, r->record->row.hash, sizeof(setup.hash));
    memcpy(setup.pending_hash, h->pending_hash, sizeof(setup.pending_hash));
    if (!*r->data)
        TRY(datadir_input_path(v->dir, &path, h->job));
    setup.path = path;
    TRY(tokens_input_new(&h->input, v->tokens, &setup));
    if (!path)
        TRY(tokens_input_push(h->input, r->data, r->len, true));
    mem_free(path);
    return ST_OK;
fail:
    mem_free(path);
    tokens_input_cancel(h->input);
    h->input = NULL;
    return st;
}

void
service_input_loaded(service *v, const journal_report *r)
{
    holding *h = service_holding_find(v, r->id);
    status st = r->st;
    const char *text = r->text;

    if (!h || h->input || h->ids)
        return;
    if (st == ST_OK) {
        st = start_tokens(v, h, r);
        text = status_text();
    }
    if (!again_after(&h->again, st) && st != ST_OK)
        core_job_failed(v->core, r->id, 0, st, text);
}

void
service_input_tokenized(void *ctx, const tokens_report *r)
{
    service *v = ctx;
    holding *h = service_holding_find(v, r->job);

    service_begin(v);
    if (h && (r->done || r->st != ST_OK)) {
        h->input = NULL; /* its last report */
        h->ids = r->ids;
    }
    if (r->st != ST_OK)
        core_job_failed(v->core, r->job, 0, r->st, r->text);
    else
        core_tokenized(v->core, r->job, r->count, r->done);
    service_settle(v);
}

void
service_input_again(service *v, holding *h)
{
    status st = journal_input(v->journal, h->job);

    if (st != ST_OK && !again_after(&h->again, st))
        service_holding_fail(v, h, 0, st, status_text());
}
