/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a job: it counts, gets ready, is tried once more, and ends. */
#include <stdio.h>
#include <string.h>

#include "daemon/core_state.h"
#include "sched/segment.h"

static void
act(core *c, core_action_kind kind, const job *j)
{
    core_action a = {.kind = kind, .job = j};

    core_act(c, &a);
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

/* -------------------------------------------------------------- the end ---
 */

/* The end is durable, or the job never was: its watchers hear it. */
static void
finish(core *c, job *j)
{
    j->ending = j->end_out = false;
    core_job_state(c, j, j->end_state);
    core_watch_end(c, j);
    core_leave_if_idle(c);
}

static void
learn_duration(core *c, const job *j)
{
    double s = (double)(c->time.now_ns - j->begun_ns) * 1e-9;
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
    act(c, CORE_JOB_DROP, j);
    if (j->state != CLIENT_RECEIVING) {
        j->end_out = true;
        act(c, CORE_END, j);
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
        core_watch_tokens(c, j);
        return;
    }
    if (j->end_out || j->submitted)
        return;
    if (j->state == CLIENT_RECEIVING) {
        finish(c, j);
        return;
    }
    j->end_out = true;
    act(c, CORE_END, j);
}

void
core_job_done(core *c, job *j)
{
    end(c, j, CLIENT_STATE_DONE);
}

void
core_job_stored(core *c, job *j)
{
    learn_duration(c, j);
    core_job_stage(c, j, JOB_RAW);
    core_checkpoint_drop_all(c, j);
    act(c, CORE_JOB_DROP, j);
    j->end_state = CLIENT_STATE_DONE;
    finish(c, j);
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
    act(c, CORE_ATTEMPT_DROP, j);
    if (j->kind == JOB_ADD && j->segments_done > from)
        j->redone += j->segments_done - from;
    core_job_state(c, j, CLIENT_QUEUED);
    j->segments_done = j->base = j->kind == JOB_ADD ? from : 0;
    j->allowed = j->snapshot_at = 0;
    j->snapshot_done = j->world_done = false;
    j->begun_ns = 0;
    if (j->kind == JOB_ADD)
        j->snapshot_bytes = 0;
    act(c, CORE_RECORD, j);
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
        core_store_if_whole(c, j);
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
