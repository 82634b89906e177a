/* SPDX-License-Identifier: Apache-2.0 */
/* Documents in the journal, and checkpoints of those that are being read. */
#include "daemon/journal_impl.h"

static status
run_store(helper_task *task)
{
    journal_work *w = (journal_work *)task;

    return store_end_document(w->owner->s, &w->doc, &w->record.row);
}

status
journal_store(journal *j, const document *doc, const job *of)
{
    journal_work *w;
    status st;

    TRY(journal_work_new(&w, j, JOURNAL_STORED, doc->id));
    w->doc = *doc;
    journal_row(&w->record.row, of);
    journal_work_push(w, run_store);
fail:
    return st;
}

static status
run_hashes(helper_task *task)
{
    journal_work *w = (journal_work *)task;

    return store_note_hashes(w->owner->s, &w->doc);
}

status
journal_hashes(journal *j, const document *doc)
{
    journal_work *w;
    status st;

    TRY(journal_work_new(&w, j, JOURNAL_NOTE, doc->id));
    w->doc = *doc;
    w->task.run = run_hashes;
    helper_push_later(j->thread, &w->task);
fail:
    return st;
}

static status
run_remove(helper_task *task)
{
    journal_work *w = (journal_work *)task;

    return store_remove_document(w->owner->s, w->report.id);
}

status
journal_remove(journal *j, uint64_t id)
{
    journal_work *w;
    status st;

    TRY(journal_work_new(&w, j, JOURNAL_REMOVED, id));
    journal_work_push(w, run_remove);
fail:
    return st;
}

static status
run_checkpoint(helper_task *task)
{
    journal_work *w = (journal_work *)task;

    w->checkpoint.crcs = w->crcs;
    return store_add_checkpoint(w->owner->s, &w->checkpoint);
}

status
journal_checkpoint(journal *j, const store_checkpoint *k, uint32_t **crcs)
{
    journal_work *w;
    status st;

    TRY(journal_work_new(&w, j, JOURNAL_CHECKPOINT, k->job));
    w->checkpoint = *k;
    w->report.number = k->segment;
    w->report.attempt = k->attempt;
    w->crcs = *crcs;
    *crcs = NULL;
    journal_work_push(w, run_checkpoint);
fail:
    return st;
}

static status
run_drop(helper_task *task)
{
    journal_work *w = (journal_work *)task;

    return store_drop_checkpoint(w->owner->s, w->report.id, w->report.number,
                                 w->report.attempt);
}

status
journal_drop(journal *j, uint64_t id, const job_checkpoint *k)
{
    journal_work *w;
    status st;

    TRY(journal_work_new(&w, j, JOURNAL_DROPPED, id));
    w->report.number = k->segment;
    w->report.attempt = k->attempt;
    journal_work_push(w, run_drop);
fail:
    return st;
}
