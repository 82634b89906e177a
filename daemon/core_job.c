/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a job, its end, and what its watchers hear. */
#include <stdio.h>
#include <string.h>

#include "daemon/core_state.h"
#include "daemon/strain.h"
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
    for (size_t i = 0; i < j->n_seat; i++)
        core_tell(c, &j->seat[i].who, m);
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

/* -------------------------------------------------------------- counting ---
 */

status
core_job_count(core *c, const job *j)
{
    status st;

    TRY(shares_add(c->shares, j->owner));
    shares_move(c->shares, j->owner, 0, j->bytes);
    c->n_active++;
    c->bytes += j->bytes;
fail:
    return st;
}

static void
uncount(core *c, const job *j)
{
    shares_remove(c->shares, j->owner, j->bytes);
    c->n_active--;
    c->bytes -= j->bytes;
}

status
core_job_add(core *c, job **out, job_kind kind)
{
    job *j = NULL;
    status st;

    TRY(job_table_add(c->jobs, &j));
    j->kind = kind;
    (void)snprintf(j->owner, sizeof(j->owner), "%s", c->owner);
    j->accepted_ns = j->heard_ns = j->told_ns = c->time.now_ns;
    j->created_ms = c->time.wall_ms;
    TRY(core_job_count(c, j));
    *out = j;
    return ST_OK;
fail:
    if (j)
        job_table_remove(c->jobs, j);
    return st;
}

void
core_job_remove(core *c, job *j)
{
    uncount(c, j);
    if (j->stage != JOB_RAW)
        c->n_ahead[j->kind]--;
    job_table_remove(c->jobs, j);
}

void
core_job_bytes(core *c, job *j, uint64_t bytes)
{
    shares_move(c->shares, j->owner, j->bytes, bytes);
    c->bytes += bytes - j->bytes;
    j->bytes = bytes;
}

status
core_job_answer(core *c, job *j)
{
    const char *stop[CLIENT_MAX_STOP];
    size_t n = 0;

    for (size_t at = 0; at < j->stops_len && n < CLIENT_MAX_STOP;
         at += strlen(j->stops + at) + 1)
        stop[n++] = j->stops + at;
    return answer_new(&j->answer, c->cfg.tok, stop, n);
}

void
core_job_state(core *c, job *j, client_state state)
{
    bool was = job_is_active(j);

    c->n_running += state == CLIENT_RUNNING;
    c->n_running -= j->state == CLIENT_RUNNING;
    job_table_state(c->jobs, j, state);
    j->changed = true;
    if (was && !job_is_active(j))
        uncount(c, j);
}

void
core_job_stage(core *c, job *j, job_stage stage)
{
    c->n_ahead[j->kind] += stage != JOB_RAW;
    c->n_ahead[j->kind] -= j->stage != JOB_RAW;
    j->stage = stage;
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
    m->u.progress.segments_done = job_segments_through(j);
    m->u.progress.segments_total = job_segments(j);
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

/* Texts that a message about a job's end borrows. */
typedef struct ended_text {
    char code[32], warning[CLIENT_MAX_WARNING + 1];
} ended_text;

static void
done_message(const core *c, const job *j, client_message *m,
             char warning[CLIENT_MAX_WARNING + 1])
{
    uint32_t size = c->cfg.segment_size;
    const document *doc = catalog_by_id(c->docs, j->document_id);

    *m = (client_message){.kind = CLIENT_DONE};
    m->u.done.job = j->id;
    m->u.done.document = lend(j->document);
    m->u.done.finish = lend(j->finish);
    m->u.done.tokens = j->tokens - j->pending;
    m->u.done.segments = segment_count(j->tokens, size);
    m->u.done.seconds = j->accepted_ns
                            ? seconds_between(j->accepted_ns, j->ended_ns)
                            : (double)(j->ended_ms - j->created_ms) * 1e-3;
    if (m->u.done.seconds < 0)
        m->u.done.seconds = 0; /* the wall clock was set back */
    m->u.done.tokens_per_second = job_tokens_per_second(j, j->ended_ns, size);
    m->u.done.snapshot_bytes = j->snapshot_bytes;
    if (doc) {
        strain_sentence(warning, doc, c->cfg.trained_norm,
                        c->cfg.n_trained_norm);
        m->u.done.warning = warning;
    }
    if (j->first_token_ns && j->accepted_ns)
        m->u.done.seconds_to_first_token =
            seconds_between(j->accepted_ns, j->first_token_ns);
    if (!j->answer)
        return;
    m->u.done.ids =
        (int32_t *)(uintptr_t)answer_ids(j->answer, &m->u.done.n_id);
    m->u.done.text = lend(answer_text(j->answer, &m->u.done.text_len));
    if (!j->sampling.logprobs)
        return;
    m->u.done.logprobs = (float *)(uintptr_t)answer_logprobs(j->answer);
    m->u.done.n_logprob = m->u.done.n_id;
}

static void
ended_message(const core *c, const job *j, client_message *m, ended_text *t)
{
    if (j->state == CLIENT_STATE_DONE) {
        done_message(c, j, m, t->warning);
        return;
    }
    *m = (client_message){.kind = CLIENT_REFUSED};
    (void)snprintf(t->code, sizeof(t->code), "%s", status_name(j->st));
    m->u.refused.code = t->code;
    m->u.refused.text = lend(j->text);
    m->u.refused.job = j->id;
}

void
core_job_report(core *c, const job *j, const job_watcher *to)
{
    client_message m;
    ended_text text;

    if (job_is_active(j))
        progress_message(c, j, &m);
    else
        ended_message(c, j, &m, &text);
    core_tell(c, to, &m);
}

/* ---------------------------------------------------------------- tokens ---
 */

static void
tell_tokens(core *c, job *j)
{
    size_t n_id;
    const int32_t *ids = answer_ids(j->answer, &n_id);
    const float *logprobs = answer_logprobs(j->answer);

    for (; j->told < j->kept && j->told < n_id; j->told++) {
        client_message m = {.kind = CLIENT_TOKEN};

        if (!j->first_token_ns)
            j->first_token_ns = c->time.now_ns;
        m.u.token.job = j->id;
        m.u.token.index = (uint32_t)j->told;
        m.u.token.id = ids[j->told];
        m.u.token.logprob = logprobs[j->told];
        m.u.token.text =
            lend(answer_piece(j->answer, j->told, &m.u.token.text_len));
        tell_all(c, j, &m);
    }
}

void
core_job_tokens(core *c, job *j)
{
    size_t n_id = 0;

    if (!j->answer || j->tokens_out || j->ending)
        return;
    (void)answer_ids(j->answer, &n_id);
    if (n_id <= j->kept)
        return;
    j->tokens_out = true;
    act(c, CORE_TOKENS, j, NULL);
}

void
core_tokens_kept(core *c, uint64_t id, uint64_t n, status st)
{
    job *j = job_table_find(c->jobs, id);

    if (!j || !j->tokens_out)
        return;
    j->tokens_out = false;
    if (st != ST_OK) {
        j->again_ns = c->time.now_ns + (uint64_t)CORE_AGAIN_MS * 1000000;
        return;
    }
    if (n > j->kept)
        j->kept = n;
    tell_tokens(c, j);
    core_job_tokens(c, j);
    core_leave_if_idle(c);
}

/* -------------------------------------------------------------- the end ---
 */

/* The end is durable, or the job never was: its watchers hear it. */
static void
finish(core *c, job *j)
{
    client_message m = {.kind = CLIENT_DONE};
    ended_text text;

    j->ending = j->end_out = false;
    core_job_state(c, j, j->end_state);
    if (j->answer && j->state == CLIENT_STATE_DONE) {
        size_t n_id;

        (void)answer_ids(j->answer, &n_id);
        j->kept = n_id;
        tell_tokens(c, j);
    }
    ended_message(c, j, &m, &text);
    tell_all(c, j, &m);
    job_table_unwatch(c->jobs, j, NULL);
    if (j->has_canceler) {
        m = (client_message){.kind = CLIENT_DONE};
        m.u.done.job = j->id;
        m.u.done.document = j->document;
        core_tell(c, &j->canceler, &m);
        j->has_canceler = false;
    }
    core_leave_if_idle(c);
}

static void
learn_duration(core *c, const job *j)
{
    double s = seconds_between(j->begun_ns, c->time.now_ns);
    double *mean = &c->job_s[j->kind];

    if (j->begun_ns)
        *mean = *mean > 0 ? 0.875 * *mean + 0.125 * s : s;
}

/* Whatever way a job ends: what it held is given back, and the end goes into
 * the journal, if the job is there. */
static void
end(core *c, job *j, client_state state)
{
    document *doc = catalog_by_id(c->docs, j->document_id);

    if (j->holds && doc)
        doc->users--;
    j->holds = false;
    j->ended_ns = c->time.now_ns;
    j->ended_ms = c->time.wall_ms;
    j->end_state = state;
    j->ending = true;
    job_table_unqueue(c->jobs, j);
    core_job_stage(c, j, JOB_RAW);
    learn_duration(c, j);
    core_checkpoint_drop_all(c, j);
    act(c, CORE_JOB_DROP, j, NULL);
    if (j->state != CLIENT_RECEIVING) {
        j->end_out = true;
        act(c, CORE_END, j, NULL);
    } else if (!j->submitted) {
        finish(c, j);
    }
}

void
core_ended(core *c, uint64_t id, status st, const char *text)
{
    job *j = job_table_find(c->jobs, id);

    if (!j || !j->end_out)
        return;
    j->end_out = false;
    if (st == ST_NOTFOUND) { /* nor will it be found the next time */
        core_incident(c, j, "%s", text);
        j->st = ST_IO;
        (void)snprintf(j->text, sizeof(j->text), "%s", text);
        j->end_state = CLIENT_FAILED;
    }
    if (st == ST_OK || st == ST_NOTFOUND)
        finish(c, j);
    else
        j->again_ns = c->time.now_ns + (uint64_t)CORE_AGAIN_MS * 1000000;
}

void
core_job_again(core *c, job *j)
{
    if (c->time.now_ns < j->again_ns)
        return;
    if (!j->ending) {
        core_job_tokens(c, j);
        return;
    }
    if (j->end_out || j->submitted)
        return;
    if (j->state == CLIENT_RECEIVING) {
        finish(c, j);
        return;
    }
    j->end_out = true;
    act(c, CORE_END, j, NULL);
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

/* ------------------------------------------------------------ once more ---
 */

static void
strike(core *c, job *j, const char *why)
{
    char text[512];

    j->strikes++;
    core_incident(c, j, "attempt %u ended with its world: %.300s", j->attempt,
                  why);
    if (j->strikes < JOB_MAX_STRIKE)
        return;
    (void)snprintf(text, sizeof(text),
                   "the world that ran the job ended %u times: %.400s",
                   j->strikes, why);
    core_job_fail(c, j, ST_POISON, text);
}

void
core_job_retry(core *c, job *j, bool struck, const char *why)
{
    uint64_t from =
        j->n_checkpoint > 0 ? j->checkpoint[j->n_checkpoint - 1].segment : 0;

    j->incarnation = 0;
    if (struck)
        strike(c, j, why);
    if (j->ending)
        return;
    act(c, CORE_ATTEMPT_DROP, j, NULL);
    if (j->kind == JOB_ADD && j->segments_done > from)
        j->redone += j->segments_done - from;
    core_job_state(c, j, CLIENT_QUEUED);
    j->segments_done = j->base = j->kind == JOB_ADD ? from : 0;
    j->allowed = j->snapshot_at = 0;
    j->snapshot_done = j->world_done = false;
    j->begun_ns = 0;
    if (j->kind == JOB_ADD)
        j->snapshot_bytes = 0;
    act(c, CORE_RECORD, j, NULL);
}

/* ---------------------------------------------------------------- input --- */

/* All but the last segment are written: the last one of a document stays
 * pending, the last one of a question is the prompt. */
static void
ready(core *c, job *j)
{
    j->n_write = segment_count(j->tokens, c->cfg.segment_size) - 1;
    core_job_stage(c, j, JOB_READY);
    j->changed = true;
    if (j->kind == JOB_ADD && j->n_write == 0) {
        core_job_state(c, j, CLIENT_RUNNING);
        j->snapshot_done = j->world_done = true;
        core_job_complete(c, j);
    }
}

void
core_tokenized(core *c, uint64_t id, uint64_t tokens, bool done)
{
    job *j = job_table_find(c->jobs, id);
    char text[128];

    if (!j || !job_is_open(j) || j->stage != JOB_PREPARING)
        return;
    j->tokens = tokens;
    j->changed = true;
    if (c->cfg.max_tokens && tokens > c->cfg.max_tokens) {
        (void)snprintf(text, sizeof(text),
                       "the input has more than %llu tokens",
                       (unsigned long long)c->cfg.max_tokens);
        core_job_fail(c, j, ST_LIMIT, text);
    } else if (done) {
        ready(c, j);
    }
    if (done)
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
    memcpy(doc.owner, j->owner, sizeof(doc.owner));
    if (j->n_write > 0)
        memcpy(doc.fingerprint, j->fingerprint, sizeof(doc.fingerprint));
    if (j->n_write > 0)
        doc.n_norm = c->cfg.n_norm;
    if (j->input == CLIENT_TEXT)
        memcpy(doc.template, c->cfg.template, sizeof(doc.template));
    doc.pending = segment_tokens(j->n_write, j->tokens, c->cfg.segment_size);
    return doc;
}

void
core_job_complete(core *c, job *j)
{
    document doc;
    status st;

    if (!j->snapshot_done || !j->world_done)
        return;
    /* Once it is durable it must not fail any more. */
    st = catalog_reserve(c->docs, 1 + c->n_storing);
    if (st != ST_OK) {
        core_job_fail(c, j, st, status_text());
        return;
    }
    doc = document_of(c, j);
    j->storing = true;
    c->n_storing++;
    j->incarnation = 0;
    j->ended_ns = c->time.now_ns;
    j->ended_ms = c->time.wall_ms;
    act(c, CORE_STORE, j, &doc);
}

/* The document's row and the end of its job became durable together. */
void
core_stored(core *c, uint64_t id, status st, const char *text,
            const document *measured)
{
    job *j = job_table_find(c->jobs, id);
    document doc;

    if (!j || !j->storing)
        return;
    j->storing = false;
    c->n_storing--;
    if (st == ST_OK) {
        doc = document_of(c, j);
        doc.n_norm = measured ? measured->n_norm : 0;
        if (measured) {
            memcpy(doc.norm, measured->norm, sizeof(doc.norm));
            memcpy(doc.hash, measured->hash, sizeof(doc.hash));
            memcpy(doc.ids_hash, measured->ids_hash, sizeof(doc.ids_hash));
        }
        st = catalog_add(c->docs, &doc);
        text = status_text();
    }
    if (st == ST_OK)
        shares_add_document(c->shares, j->owner);
    if (st != ST_OK) {
        core_job_fail(c, j, st, text);
    } else {
        learn_duration(c, j);
        core_job_stage(c, j, JOB_RAW);
        core_checkpoint_drop_all(c, j);
        act(c, CORE_JOB_DROP, j, NULL);
        j->end_state = CLIENT_STATE_DONE;
        finish(c, j);
    }
    core_dispatch(c);
}

void
core_hashed(core *c, uint64_t id, const uint8_t sum[HASH_BYTES])
{
    document *doc = catalog_by_id(c->docs, id);

    if (doc)
        memcpy(doc->hash, sum, sizeof(doc->hash));
}
