/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a job after it was accepted, and what its watchers hear. */
#include <stdio.h>
#include <string.h>

#include "daemon/core_state.h"
#include "sched/segment.h"

static void
act(core *c, core_action_kind kind, const job *j, const document *doc)
{
    core_action a = {.kind = kind, .job = j, .document = doc};

    core_act(c, &a);
}

static void
tell_all(core *c, job *j, client_message *m)
{
    for (size_t i = 0; i < j->n_watcher; i++)
        core_tell(c, &j->watcher[i], m);
}

/* A message owns its texts; one that is only told borrows them. */
static char *
lend(const char *text)
{
    return (char *)(uintptr_t)text;
}

static double
seconds_between(uint64_t from, uint64_t to)
{
    return to > from ? (double)(to - from) * 1e-9 : 0;
}

/* ------------------------------------------------------------- telling --- */

static void
progress_message(const core *c, const job *j, client_message *m)
{
    double rate = job_tokens_per_second(j, c->time.now_ns, c->cfg.segment_size);
    uint64_t left = j->n_write - j->segments_done;

    *m = (client_message){.kind = CLIENT_PROGRESS};
    m->u.progress.job = j->id;
    m->u.progress.state = j->state;
    m->u.progress.tokens_in = j->tokens;
    m->u.progress.segments_done = j->segments_done;
    m->u.progress.segments_total = j->n_write;
    m->u.progress.tokens_per_second = rate;
    m->u.progress.seconds_left =
        rate > 0 ? (double)left * c->cfg.segment_size / rate : -1;
}

void
core_job_progress(core *c, job *j)
{
    client_message m;

    progress_message(c, j, &m);
    j->changed = false;
    j->told_ns = c->time.now_ns;
    tell_all(c, j, &m);
}

static void
done_message(const core *c, const job *j, client_message *m)
{
    uint32_t size = c->cfg.segment_size;

    *m = (client_message){.kind = CLIENT_DONE};
    m->u.done.job = j->id;
    m->u.done.document = lend(j->document);
    m->u.done.finish = lend(j->finish);
    m->u.done.tokens = j->tokens - j->pending;
    m->u.done.segments = segment_count(j->tokens, size);
    m->u.done.seconds = seconds_between(j->accepted_ns, j->ended_ns);
    m->u.done.tokens_per_second = job_tokens_per_second(j, j->ended_ns, size);
    m->u.done.snapshot_bytes = j->snapshot_bytes;
    if (j->first_token_ns)
        m->u.done.seconds_to_first_token =
            seconds_between(j->accepted_ns, j->first_token_ns);
    if (!j->answer)
        return;
    m->u.done.ids =
        (int32_t *)(uintptr_t)answer_ids(j->answer, &m->u.done.n_id);
    m->u.done.text = lend(answer_text(j->answer, &m->u.done.text_len));
}

static void
ended_message(const core *c, const job *j, client_message *m, char code[32])
{
    if (j->state == CLIENT_STATE_DONE) {
        done_message(c, j, m);
        return;
    }
    *m = (client_message){.kind = CLIENT_REFUSED};
    (void)snprintf(code, 32, "%s", status_name(j->st));
    m->u.refused.code = code;
    m->u.refused.text = lend(j->text);
    m->u.refused.job = j->id;
}

void
core_job_report(core *c, const job *j, const job_watcher *to)
{
    client_message m;
    char code[32];

    if (job_is_active(j))
        progress_message(c, j, &m);
    else
        ended_message(c, j, &m, code);
    core_tell(c, to, &m);
}

/* -------------------------------------------------------------- the end --- */

/* Whatever way a job ends: its watchers hear it last, when all it held has
 * been given back and its row is on the way. */
static void
end(core *c, job *j, client_state state)
{
    document *doc = catalog_by_id(c->docs, j->document_id);
    client_message m;
    char code[32];

    if (j->kind == JOB_ASK && doc)
        doc->users--;
    j->state = state;
    j->ended_ns = c->time.now_ns;
    act(c, CORE_JOB_DROP, j, NULL);
    act(c, CORE_RECORD, j, NULL);
    ended_message(c, j, &m, code);
    tell_all(c, j, &m);
    j->n_watcher = 0;
    core_leave_if_idle(c);
}

void
core_job_done(core *c, job *j)
{
    end(c, j, CLIENT_STATE_DONE);
}

void
core_job_fail(core *c, job *j, status st, const char *text)
{
    core_dispatch_cancel(c, j);
    j->st = st;
    (void)snprintf(j->text, sizeof(j->text), "%s", text);
    end(c, j, st == ST_CANCELED ? CLIENT_CANCELED : CLIENT_FAILED);
}

void
core_job_cancel(core *c, job *j)
{
    char text[64];

    (void)snprintf(text, sizeof(text), "job %llu was canceled",
                   (unsigned long long)j->id);
    core_job_fail(c, j, ST_CANCELED, text);
}

void
core_job_retry(core *c, job *j, const char *why)
{
    char text[512];

    j->incarnation = 0;
    if (j->attempt >= JOB_MAX_ATTEMPT || c->stopping) {
        (void)snprintf(text, sizeof(text),
                       "the world that ran the job went away, on attempt %u "
                       "too: %.400s",
                       j->attempt, why);
        core_job_fail(c, j, ST_STATE, text);
        return;
    }
    act(c, CORE_ATTEMPT_DROP, j, NULL);
    j->state = CLIENT_QUEUED;
    j->segments_done = j->allowed = j->snapshot_at = 0;
    j->snapshot_done = j->world_done = false;
    j->begun_ns = 0;
    if (j->kind == JOB_ADD)
        j->snapshot_bytes = 0;
    j->changed = true;
}

/* ---------------------------------------------------------------- input --- */

void
core_job_receive(core *c, job *j)
{
    j->accepted_ns = j->heard_ns = j->told_ns = c->time.now_ns;
    j->created_ms = c->time.wall_ms;
    j->credit = j->bytes < c->cfg.input_window ? j->bytes : c->cfg.input_window;
    act(c, CORE_RECORD, j, NULL);
    act(c, CORE_INPUT_OPEN, j,
        j->kind == JOB_ASK ? catalog_by_id(c->docs, j->document_id) : NULL);
}

/* All but the last segment are written: the last one of a document stays
 * pending, the last one of a question is the prompt. */
static void
queue(core *c, job *j)
{
    j->n_write = segment_count(j->tokens, c->cfg.segment_size) - 1;
    j->state = CLIENT_QUEUED;
    j->changed = true;
    if (j->kind == JOB_ADD && j->n_write == 0) {
        j->state = CLIENT_RUNNING;
        j->snapshot_done = j->world_done = true;
        core_job_complete(c, j);
    }
}

static void
more_input(core *c, job *j)
{
    uint64_t credit = j->consumed + c->cfg.input_window;
    client_message m = {.kind = CLIENT_MORE_INPUT};

    if (credit > j->bytes)
        credit = j->bytes;
    if (credit <= j->credit)
        return;
    j->credit = credit;
    m.u.accepted.input_credit = credit;
    core_tell(c, &j->sender, &m);
}

void
core_tokenized(core *c, uint64_t id, uint64_t bytes, uint64_t tokens, bool done)
{
    job *j = job_table_find(c->jobs, id);

    if (!j || j->state != CLIENT_RECEIVING)
        return;
    j->consumed = bytes;
    j->heard_ns = c->time.now_ns;
    j->tokens = tokens;
    j->changed = true;
    if (!done) {
        more_input(c, j);
        return;
    }
    queue(c, j);
    core_dispatch(c);
}

/* -------------------------------------------------------------- storing --- */

static document
document_of(const core *c, const job *j)
{
    document doc = {.id = j->id,
                    .tokens = j->tokens,
                    .segments = j->n_write + 1,
                    .snapshot_bytes = j->snapshot_bytes,
                    .created_ms = j->created_ms};

    memcpy(doc.name, j->document, sizeof(doc.name));
    if (j->n_write > 0)
        memcpy(doc.fingerprint, c->fingerprint, sizeof(doc.fingerprint));
    doc.pending = segment_tokens(j->n_write, j->tokens, c->cfg.segment_size);
    return doc;
}

void
core_job_complete(core *c, job *j)
{
    document doc;

    if (!j->snapshot_done || !j->world_done)
        return;
    doc = document_of(c, j);
    j->storing = true;
    j->incarnation = 0;
    act(c, CORE_STORE, j, &doc);
}

void
core_stored(core *c, uint64_t id, status st, const char *text)
{
    job *j = job_table_find(c->jobs, id);
    document doc;

    if (!j || !j->storing)
        return;
    j->storing = false;
    if (st == ST_OK) {
        doc = document_of(c, j);
        st = catalog_add(c->docs, &doc);
        text = status_text();
    }
    if (st == ST_OK)
        core_job_done(c, j);
    else
        core_job_fail(c, j, st, text);
    core_dispatch(c);
}
