/* SPDX-License-Identifier: Apache-2.0 */
/* What those who watch a job are told: how far it is, its tokens, its end. */
#include <stdio.h>

#include "daemon/core_state.h"
#include "daemon/strain.h"
#include "sched/segment.h"

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
core_watch_progress(core *c, job *j)
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
core_watch_report(core *c, const job *j, const job_watcher *to)
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
core_watch_tokens(core *c, job *j)
{
    core_action a = {.kind = CORE_TOKENS, .job = j};
    size_t n_id = 0;

    if (!j->answer || j->tokens_out || j->ending)
        return;
    (void)answer_ids(j->answer, &n_id);
    if (n_id <= j->kept)
        return;
    j->tokens_out = true;
    core_act(c, &a);
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
    core_watch_tokens(c, j);
    core_leave_if_idle(c);
}

/* -------------------------------------------------------------- the end ---
 */

void
core_watch_end(core *c, job *j)
{
    client_message m;
    ended_text text;

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
}
