/* SPDX-License-Identifier: Apache-2.0 */
/* What clients ask of the core: each request is answered or refused at once,
 * and a refusal changes nothing. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/hash.h"
#include "base/mem.h"
#include "daemon/core_state.h"

/* ------------------------------------------------------------ accepting --- */

static status
check_open(const core *c)
{
    if (c->stopping)
        return status_fail(ST_STATE, "the daemon is shutting down");
    if (job_table_active(c->jobs) >= c->cfg.max_queue)
        return status_fail(ST_LIMIT, "the queue is full: %u jobs",
                           c->cfg.max_queue);
    if (c->launch == CORE_LAUNCH_GAVE_UP && c->n_world == 0)
        return status_fail(ST_STATE, "no world is left to run it: %.400s",
                           c->last_error);
    return ST_OK;
}

static status
check_input(const core *c, client_input input, uint64_t bytes, const char *what)
{
    if (bytes == 0)
        return status_fail(ST_ARG, "the %s is empty", what);
    if (bytes > c->cfg.max_input)
        return status_fail(
            ST_LIMIT, "the %s has %llu bytes, and the limit is %llu", what,
            (unsigned long long)bytes, (unsigned long long)c->cfg.max_input);
    if (input == CLIENT_TEXT && !c->cfg.tok)
        return status_fail(ST_UNSUPPORTED, "the model has no tokenizer, so it "
                                           "takes token ids only");
    return ST_OK;
}

/* Add.model is empty, the model's name, or its fingerprint. */
static status
check_model(const core *c, const char *model)
{
    char hex[2 * HASH_BYTES + 1];

    if (*model == '\0' || strcmp(model, c->cfg.model) == 0)
        return ST_OK;
    hash_hex(hex, c->fingerprint);
    if (c->has_fingerprint && strcasecmp(model, hex) == 0)
        return ST_OK;
    return status_fail(ST_STATE, "this daemon serves the model '%s', not '%s'",
                       c->cfg.model, model);
}

static status
check_name(const core *c, const char *name)
{
    if (catalog_find(c->docs, name))
        return status_fail(ST_STATE, "a document named '%s' is there already",
                           name);
    for (size_t i = 0; i < job_table_count(c->jobs); i++) {
        const job *j = job_table_at(c->jobs, i);

        if (job_is_active(j) && j->kind == JOB_ADD &&
            strcmp(j->document, name) == 0)
            return status_fail(ST_STATE,
                               "job %llu is adding a document named '%s'",
                               (unsigned long long)j->id, name);
    }
    if (catalog_count(c->docs) >= CATALOG_MAX)
        return status_fail(ST_LIMIT, "there are %d documents already",
                           CATALOG_MAX);
    return ST_OK;
}

static status
check_document(const core *c, const char *name)
{
    const document *doc = catalog_find(c->docs, name);

    if (!doc || doc->removing)
        return status_fail(ST_NOTFOUND, "there is no document named '%s'",
                           name);
    return ST_OK;
}

static status
check_intact(const core *c, const char *name)
{
    if (catalog_find(c->docs, name)->damaged)
        return status_fail(ST_IO,
                           "the files of document '%s' are damaged: it can "
                           "only be removed",
                           name);
    return ST_OK;
}

/* The job is made: the client may send its input. */
static void
accept(core *c, job *j, const job_watcher *from)
{
    client_message m = {.kind = CLIENT_ACCEPTED};

    (void)snprintf(j->owner, sizeof(j->owner), "%s", c->owner);
    j->sender = *from;
    j->watcher[0] = *from;
    j->n_watcher = 1;
    core_job_receive(c, j);
    m.u.accepted.job = j->id;
    m.u.accepted.input_credit = j->credit;
    core_tell(c, from, &m);
}

static status
add(core *c, const job_watcher *from, const client_message *m)
{
    job *j;
    status st;

    TRY(check_open(c));
    TRY(check_input(c, m->u.add.input, m->u.add.bytes, "document"));
    TRY(check_model(c, m->u.add.model));
    TRY(check_name(c, m->u.add.name));
    TRY(job_table_add(c->jobs, &j));
    j->kind = JOB_ADD;
    (void)snprintf(j->document, sizeof(j->document), "%s", m->u.add.name);
    j->document_id = j->id;
    j->input = m->u.add.input;
    j->bytes = m->u.add.bytes;
    accept(c, j, from);
fail:
    return st;
}

static status
check_sampling(const core *c, const client_sampling *s)
{
    if (s->max_tokens == 0)
        return status_fail(ST_ARG, "an answer has at least one token");
    if (s->n_stop > 0 && !c->cfg.tok)
        return status_fail(ST_UNSUPPORTED, "the model has no tokenizer, so "
                                           "there are no stop strings");
    return ST_OK;
}

static status
fill_ask(core *c, job *j, const client_message *m)
{
    const client_sampling *s = &m->u.ask.sampling;
    const document *doc = catalog_find(c->docs, m->u.ask.document);
    const char *stop[CLIENT_MAX_STOP];
    status st;

    j->kind = JOB_ASK;
    memcpy(j->document, doc->name, sizeof(j->document));
    j->document_id = doc->id;
    j->pending = doc->pending;
    j->first_segment = doc->segments - 1;
    j->snapshot_bytes = doc->snapshot_bytes;
    j->input = m->u.ask.input;
    j->bytes = m->u.ask.bytes;
    j->sampling = *s;
    j->sampling.n_stop = 0;
    memset(j->sampling.stop, 0, sizeof(j->sampling.stop));
    for (uint32_t i = 0; i < s->n_stop; i++)
        stop[i] = s->stop[i];
    TRY(core_dispatch_possible(c, j));
    TRY(answer_new(&j->answer, c->cfg.tok, stop, s->n_stop));
fail:
    return st;
}

static status
ask(core *c, const job_watcher *from, const client_message *m)
{
    job *j = NULL;
    status st;

    TRY(check_document(c, m->u.ask.document));
    TRY(check_intact(c, m->u.ask.document));
    TRY(check_open(c));
    TRY(check_input(c, m->u.ask.input, m->u.ask.bytes, "question"));
    TRY(check_sampling(c, &m->u.ask.sampling));
    TRY(job_table_add(c->jobs, &j));
    TRY(fill_ask(c, j, m));
    catalog_by_id(c->docs, j->document_id)->users++;
    accept(c, j, from);
    return ST_OK;
fail:
    if (j)
        job_table_undo(c->jobs, j);
    return st;
}

/* ---------------------------------------------------------------- input --- */

static job *
job_of(core *c, const job_watcher *from)
{
    for (size_t i = job_table_count(c->jobs); i > 0; i--) {
        job *j = job_table_at(c->jobs, i - 1);

        if (j->sender.request == from->request &&
            job_same_peer(&j->sender.client, &from->client))
            return j;
    }
    return NULL;
}

static status
check_chunk(const job *j, uint64_t offset, size_t len)
{
    if (len == 0 || len > CLIENT_MAX_CHUNK)
        return status_fail(ST_WIRE, "a chunk has 1 to %d bytes",
                           CLIENT_MAX_CHUNK);
    if (offset != j->received)
        return status_fail(
            ST_WIRE, "a chunk at byte %llu came where byte %llu was due",
            (unsigned long long)offset, (unsigned long long)j->received);
    if (len > j->bytes - j->received)
        return status_fail(ST_WIRE, "more input came than was announced");
    if (len > j->credit - j->received)
        return status_fail(ST_LIMIT,
                           "input came before there was credit for it");
    return ST_OK;
}

/* A chunk for a job that has ended is dropped: its client was told why. */
static void
chunk(core *c, const job_watcher *from, const client_message *m,
      const core_raw *raw)
{
    job *j = job_of(c, from);
    core_action a = {.kind = CORE_INPUT_DATA, .job = j, .raw = *raw};
    status st;

    if (!j || j->state != CLIENT_RECEIVING)
        return;
    st = check_chunk(j, m->u.chunk.offset, raw->len);
    if (st != ST_OK) {
        core_job_fail(c, j, st, status_text());
        return;
    }
    j->received += raw->len;
    j->heard_ns = c->time.now_ns;
    core_act(c, &a);
}

/* ------------------------------------------------------- small requests --- */

static void
finished(core *c, const job_watcher *to, uint64_t id, const char *name)
{
    client_message m = {.kind = CLIENT_DONE};

    m.u.done.job = id;
    m.u.done.document = (char *)(uintptr_t)name;
    core_tell(c, to, &m);
}

static status
remove_document(core *c, const job_watcher *from, const char *name)
{
    core_action a = {.kind = CORE_REMOVE};
    document *doc;
    status st;

    TRY(check_document(c, name));
    doc = catalog_find(c->docs, name);
    if (doc->users > 0)
        return status_fail(ST_STATE, "'%s' is being asked by %u jobs", name,
                           doc->users);
    if (c->n_removal == CORE_MAX_REMOVAL)
        return status_fail(ST_LIMIT, "too many documents are being removed");
    c->removal[c->n_removal++] =
        (core_removal){.document = doc->id, .client = *from};
    doc->removing = true;
    a.document = doc;
    core_act(c, &a);
fail:
    return st;
}

void
core_removed(core *c, uint64_t id, status st, const char *text)
{
    document *doc = catalog_by_id(c->docs, id);
    char name[CLIENT_MAX_NAME + 1];

    if (!doc || !doc->removing)
        return;
    memcpy(name, doc->name, sizeof(name));
    doc->removing = false;
    if (st == ST_OK)
        catalog_remove(c->docs, id);
    for (size_t i = 0; i < c->n_removal; i++) {
        job_watcher to = c->removal[i].client;

        if (c->removal[i].document != id)
            continue;
        c->removal[i] = c->removal[--c->n_removal];
        if (st == ST_OK)
            finished(c, &to, 0, name);
        else
            core_refuse(c, &to, status_fail(st, "%s", text));
        break;
    }
    core_leave_if_idle(c);
}

static status
cancel(core *c, const job_watcher *from, uint64_t id)
{
    job *j = job_table_find(c->jobs, id);

    if (!j)
        return status_fail(ST_NOTFOUND, "there is no job %llu",
                           (unsigned long long)id);
    if (!job_is_active(j))
        return status_fail(ST_STATE, "job %llu has ended: %s",
                           (unsigned long long)id, client_state_name(j->state));
    if (j->storing)
        return status_fail(ST_STATE,
                           "job %llu is read and being stored: too late",
                           (unsigned long long)id);
    core_job_cancel(c, j);
    finished(c, from, id, j->document);
    core_dispatch(c);
    return ST_OK;
}

static status
watch(core *c, const job_watcher *from, uint64_t id)
{
    job *j = job_table_find(c->jobs, id);
    status st = ST_OK;

    if (!j)
        return status_fail(ST_NOTFOUND, "there is no job %llu",
                           (unsigned long long)id);
    if (job_is_active(j))
        TRY(job_watch(j, &from->client, from->request));
    core_job_report(c, j, from);
fail:
    return st;
}

static status
request(core *c, const job_watcher *from, const client_message *m)
{
    switch ((int)m->kind) {
    case CLIENT_ADD:
        return add(c, from, m);
    case CLIENT_ASK:
        return ask(c, from, m);
    case CLIENT_LIST:
        return core_report_documents(c, from, NULL);
    case CLIENT_SHOW: {
        status st = check_document(c, m->u.name.document);

        return st ? st : core_report_documents(c, from, m->u.name.document);
    }
    case CLIENT_REMOVE:
        return remove_document(c, from, m->u.name.document);
    case CLIENT_JOBS:
        return core_report_jobs(c, from);
    case CLIENT_CANCEL:
        return cancel(c, from, m->u.job.job);
    case CLIENT_GET_STATUS:
        return core_report_status(c, from);
    case CLIENT_SHUTDOWN:
        finished(c, from, 0, "");
        core_shutdown(c);
        return ST_OK;
    case CLIENT_WATCH:
        return watch(c, from, m->u.job.job);
    default:
        return status_fail(ST_WIRE, "message %d is not a client's to send",
                           (int)m->kind);
    }
}

void
core_client_event(core *c, const zsocket_peer *client, const char *owner,
                  const client_message *m, const core_raw *raw)
{
    job_watcher from = {.client = *client, .request = m->request};
    status st;

    c->owner = owner;
    if (m->kind == CLIENT_CHUNK) {
        chunk(c, &from, m, raw);
        return;
    }
    st = request(c, &from, m);
    if (st != ST_OK)
        core_refuse(c, &from, st);
}

void
core_client_gone(core *c, const zsocket_peer *client)
{
    for (size_t i = 0; i < job_table_count(c->jobs); i++) {
        job *j = job_table_at(c->jobs, i);
        bool sender = job_same_peer(&j->sender.client, client);

        job_unwatch(j, client);
        if (sender && j->state == CLIENT_RECEIVING && j->received < j->bytes)
            core_job_fail(c, j, ST_IO,
                          "the client left before its input was complete");
    }
    core_dispatch(c);
}
