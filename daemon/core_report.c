/* SPDX-License-Identifier: Apache-2.0 */
/* What the core tells about itself: documents, jobs, status. */
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "daemon/core_state.h"
#include "daemon/strain.h"
#include "sched/segment.h"

enum {
    HEX = 2 * HASH_BYTES + 1,
    MAX_JOBS = 4000,
    JOB_BYTES = 192, /* of an entry beside its texts, at most */
    MAX_JOBS_BYTES = CLIENT_MAX_MESSAGE - (8 << 10)
};

/* A message owns its texts; one that is only told borrows them. */
static char *
lend(const char *text)
{
    return (char *)(uintptr_t)text;
}

static void
describe_document(const document *doc, client_document *out, char *hex)
{
    hash_hex(hex, doc->fingerprint);
    *out = (client_document){.name = lend(doc->name),
                             .owner = lend(doc->owner),
                             .model = document_has_model(doc) ? hex : NULL,
                             .tokens = doc->tokens,
                             .segments = doc->segments,
                             .snapshot_bytes = doc->snapshot_bytes,
                             .created_ms = doc->created_ms,
                             .pending_tokens = doc->pending};
}

/* Of one document alone: a list of them would not fit in a message. */
static void
describe_states(const core *c, const document *doc, client_document *out,
                char warning[CLIENT_MAX_WARNING + 1])
{
    strain_sentence(warning, doc, c->cfg.trained_norm, c->cfg.n_trained_norm);
    out->warning = warning;
    out->state_norm = (float *)(uintptr_t)doc->norm;
    out->n_norm = doc->n_norm;
}

status
core_report_documents(core *c, const job_watcher *to, const document *only)
{
    char warning[CLIENT_MAX_WARNING + 1];
    client_message m = {.kind = CLIENT_DOCUMENTS};
    size_t n = only ? 1 : catalog_count(c->docs);
    client_document *item = NULL;
    char(*hex)[HEX] = NULL;
    status st;

    TRY(mem_new(&item, n, sizeof(*item)));
    TRY(mem_new(&hex, n, sizeof(*hex)));
    for (size_t i = 0; i < n; i++) {
        const document *doc = only ? only : catalog_at(c->docs, i);
        size_t at = m.u.documents.n;

        if (doc->removing || !core_sees(to, doc->owner))
            continue;
        describe_document(doc, &item[at], hex[at]);
        if (only)
            describe_states(c, doc, &item[at], warning);
        m.u.documents.n++;
    }
    m.u.documents.item = item;
    core_tell(c, to, &m);
fail:
    mem_free(item);
    mem_free(hex);
    return st;
}

static void
describe_job(const job *j, client_job *out)
{
    *out = (client_job){.job = j->id,
                        .kind = lend(job_kind_name(j->kind)),
                        .document = lend(j->document),
                        .owner = lend(j->owner),
                        .state = j->state,
                        .created_ms = j->created_ms,
                        .tokens = j->tokens - j->pending * (j->tokens > 0),
                        .segments_done = job_segments_through(j),
                        .segments_total = job_segments(j),
                        .attempts = j->attempt,
                        .redone_segments = j->redone};
    if (j->n_checkpoint > 0)
        out->checkpoint_segments = j->checkpoint[j->n_checkpoint - 1].segment;
    if (j->st == ST_OK && !j->waits)
        return;
    out->code = lend(status_name(j->st == ST_OK ? ST_STATE : j->st));
    out->text = lend(j->text);
}

/* The latest, as many as surely fit in a message. */
status
core_report_jobs(core *c, const job_watcher *to)
{
    client_message m = {.kind = CLIENT_JOB_LIST};
    size_t count = job_table_count(c->jobs);
    size_t first = count;
    size_t bytes = 0;
    size_t n = 0;
    status st;

    while (first > 0 && n < MAX_JOBS && bytes < MAX_JOBS_BYTES) {
        const job *j = job_table_at(c->jobs, --first);

        if (!core_sees(to, j->owner))
            continue;
        bytes += strlen(j->document) + strlen(j->text) + JOB_BYTES;
        n++;
    }
    TRY(mem_new(&m.u.jobs.item, n, sizeof(*m.u.jobs.item)));
    for (; first < count; first++) {
        const job *j = job_table_at(c->jobs, first);

        if (core_sees(to, j->owner))
            describe_job(j, &m.u.jobs.item[m.u.jobs.n++]);
    }
    core_tell(c, to, &m);
fail:
    mem_free(m.u.jobs.item);
    return st;
}

/* A job that is in the journal alone. */
void
core_report_record(core *c, const job_watcher *to, const store_record *r)
{
    const store_job *row = &r->row;
    client_message m = {.kind = CLIENT_DONE};
    char code[32];

    if (row->state != CLIENT_STATE_DONE) {
        (void)snprintf(code, sizeof(code), "%s", status_name(row->st));
        m.kind = CLIENT_REFUSED;
        m.u.refused.code = code;
        m.u.refused.text = lend(row->text);
        m.u.refused.job = row->id;
        core_tell(c, to, &m);
        return;
    }
    m.u.done.job = row->id;
    m.u.done.document = lend(row->document);
    m.u.done.finish = lend(row->finish);
    m.u.done.tokens = row->tokens - row->pending;
    m.u.done.segments = segment_count(row->tokens, c->cfg.segment_size);
    m.u.done.snapshot_bytes = row->snapshot_bytes;
    if (row->ended_ms > row->created_ms)
        m.u.done.seconds = (double)(row->ended_ms - row->created_ms) * 1e-3;
    m.u.done.ids = r->ids;
    m.u.done.n_id = r->n_id;
    m.u.done.logprobs = r->logprobs;
    m.u.done.n_logprob = row->sampling.logprobs && r->logprobs ? r->n_id : 0;
    m.u.done.text = r->text;
    m.u.done.text_len = r->text_len;
    core_tell(c, to, &m);
}

static void
describe_world(const core *c, const core_world *w, client_world *out)
{
    *out = (client_world){.incarnation = w->incarnation,
                          .model = lend(c->cfg.model),
                          .placement = lend(w->placement),
                          .device = lend(w->device),
                          .state = lend("ready"),
                          .ranks = w->ranks,
                          .threads = w->threads,
                          .streams = w->n_slot,
                          .streams_busy = w->n_busy,
                          .tokens_per_second = w->tokens_per_second,
                          .measured = w->measured,
                          .hop_s = w->hop_s,
                          .hop_hidden_s = w->hop_hidden_s};
}

status
core_report_status(core *c, const job_watcher *to)
{
    client_world world[CORE_MAX_WORLD + 1] = {0};
    client_message m = {.kind = CLIENT_STATUS};
    size_t n = 0;

    for (; n < c->n_world; n++)
        describe_world(c, c->world[n], &world[n]);
    if (c->launch != CORE_LAUNCH_NONE)
        world[n++] =
            (client_world){.model = lend(c->cfg.model),
                           .state = lend(c->launch == CORE_LAUNCH_STARTING
                                             ? "starting"
                                             : "gone: to be started again")};
    m.u.status.jobs_running = (uint32_t)c->n_running;
    m.u.status.jobs_queued = (uint32_t)(c->n_active - c->n_running);
    m.u.status.version = lend(LONGWAVE_VERSION);
    m.u.status.last_error = c->last_error;
    m.u.status.uptime_seconds = (double)(c->time.now_ns - c->started_ns) * 1e-9;
    m.u.status.epoch = c->cfg.epoch;
    m.u.status.max_input = c->cfg.max_input;
    m.u.status.longest_turn_ms = c->time.longest_turn_ms;
    m.u.status.documents = (uint32_t)catalog_count(c->docs);
    m.u.status.world = world;
    m.u.status.n_world = n;
    core_tell(c, to, &m);
    return ST_OK;
}
