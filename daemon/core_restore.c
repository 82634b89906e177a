/* SPDX-License-Identifier: Apache-2.0 */
/* What an earlier run left in the journal. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "daemon/core_state.h"

status
core_restore_document(core *c, const document *doc)
{
    status st;

    TRY(catalog_add(c->docs, doc));
    TRY(shares_add(c->shares, doc->owner)); /* one that is known */
    shares_add_document(c->shares, doc->owner);
    shares_remove(c->shares, doc->owner, 0);
fail:
    return st;
}

static void
fill(job *j, const store_job *row)
{
    *j = (job){.id = row->id,
               .kind = row->kind,
               .state = row->state,
               .document_id = row->document_id,
               .created_ms = row->created_ms,
               .ended_ms = row->ended_ms,
               .input = row->input,
               .bytes = row->bytes,
               .received = row->bytes,
               .written = row->bytes,
               .credit = row->bytes,
               .tokens = row->tokens,
               .pending = row->pending,
               .first_segment = row->first_segment,
               .n_write = row->segments_total,
               .snapshot_bytes = row->snapshot_bytes,
               .segments_done = row->segments_done,
               .sampling = row->sampling,
               .attempt = row->attempt,
               .strikes = row->strikes,
               .redone = row->redone,
               .st = row->st,
               .is_row = true,
               .damaged = row->damaged};
    memcpy(j->owner, row->owner, sizeof(j->owner));
    memcpy(j->key, row->key, sizeof(j->key));
    memcpy(j->document, row->document, sizeof(j->document));
    memcpy(j->fingerprint, row->fingerprint, sizeof(j->fingerprint));
    memcpy(j->device, row->device, sizeof(j->device));
    memcpy(j->text, row->text, sizeof(j->text));
    memcpy(j->finish, row->finish, sizeof(j->finish));
}

status
core_restore_finished(core *c, const store_job *row)
{
    job j;

    fill(&j, row);
    return job_table_restore(c->jobs, &j);
}

/* The tokens that were journalled were perhaps told: they stand. */
static status
restore_answer(core *c, job *j, const store_record *r)
{
    answer_step step = {.fresh = true};
    status st;

    TRY(core_job_answer(c, j));
    for (size_t i = 0; i < r->n_id; i++)
        TRY(answer_push(j->answer, &step, (uint32_t)i, r->ids[i],
                        r->logprobs ? r->logprobs[i] : 0));
    j->kept = j->told = r->n_id;
fail:
    return st;
}

static status
restore_ask(core *c, job *j, const store_record *r)
{
    document *doc = catalog_by_id(c->docs, j->document_id);
    status st;

    TRY(restore_answer(c, j, r));
    if (doc) {
        doc->users++;
        j->holds = true;
    }
fail:
    return st;
}

status
core_restore_unfinished(core *c, const store_record *r)
{
    job j;
    job *kept;
    status st;

    fill(&j, &r->row);
    j.is_row = false;
    j.segments_done = 0;
    j.state = CLIENT_RECEIVING;
    j.stops_len = r->stops_len;
    TRY(mem_new(&j.stops, r->stops_len, 1));
    if (r->stops_len > 0)
        memcpy(j.stops, r->stops, r->stops_len);
    if (j.kind == JOB_ASK)
        TRY(restore_ask(c, &j, r));
    TRY(core_job_count(c, &j)); /* a failure is the end of the start */
    TRY(job_table_restore(c->jobs, &j));
    kept = job_table_find(c->jobs, r->row.id);
    core_job_state(c, kept, CLIENT_QUEUED);
    if (kept->kind == JOB_ADD)
        job_table_index_name(c->jobs, kept);
    return ST_OK;
fail:
    mem_free(j.stops);
    answer_free(j.answer);
    return st;
}

void
core_restore_error(core *c, const char *text)
{
    (void)snprintf(c->last_error, sizeof(c->last_error), "%s", text);
}
