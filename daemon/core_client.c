/* SPDX-License-Identifier: Apache-2.0 */
/* What clients ask of the core: each request is answered or refused at once,
 * and a refusal changes nothing. */
#include <stdio.h>
#include <string.h>

#include "daemon/core_state.h"

document *
core_client_document(const core *c, status *st, const job_watcher *who,
                     const char *name)
{
    document *doc = catalog_find(c->docs, who->owner, name);
    size_t n = 1;

    if (!doc && who->admin)
        doc = catalog_find_any(c->docs, &n, name);
    if (doc && n == 1 && !doc->removing)
        return doc;
    *st = n > 1 ? status_fail(ST_ARG,
                              "several owners have a document named '%s'", name)
                : status_fail(ST_NOTFOUND, "there is no document named '%s'",
                              name);
    return NULL;
}

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
    status st = ST_OK;

    doc = core_client_document(c, &st, from, name);
    if (!doc)
        return st;
    if (doc->users > 0)
        return status_fail(ST_STATE, "'%s' is being asked by %u jobs", name,
                           doc->users);
    c->later = c->n_removal == CORE_MAX_REMOVAL;
    if (c->later)
        return status_fail(ST_LIMIT, "too many documents are being removed");
    c->removal[c->n_removal++] =
        (core_removal){.document = doc->id, .client = *from};
    doc->removing = true;
    a.document = doc;
    core_act(c, &a);
    return ST_OK;
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
    if (st == ST_OK) {
        shares_remove_document(c->shares, doc->owner);
        catalog_remove(c->docs, id);
    }
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
no_job(uint64_t id)
{
    return status_fail(ST_NOTFOUND, "there is no job %llu",
                       (unsigned long long)id);
}

static status
cancel(core *c, const job_watcher *from, const client_message *m)
{
    job_watcher earlier = {.client = from->client,
                           .request = m->u.job.submission};
    uint64_t id = m->u.job.job;
    job *j = id ? job_table_find(c->jobs, id)
                : job_table_by_sender(c->jobs, &earlier);
    char text[64];

    if (!j || !core_sees(from, j->owner))
        return no_job(id);
    id = j->id;
    if (!job_is_active(j))
        return status_fail(ST_STATE, "job %llu has ended: %s",
                           (unsigned long long)id, client_state_name(j->state));
    if (!job_is_open(j))
        return status_fail(ST_STATE, "job %llu is about to end: too late",
                           (unsigned long long)id);
    (void)snprintf(text, sizeof(text), "job %llu was canceled",
                   (unsigned long long)id);
    j->has_canceler = true;
    j->canceler = *from;
    core_job_fail(c, j, ST_CANCELED, text);
    core_dispatch(c);
    return ST_OK;
}

/* What is not in memory may still be in the journal. */
static status
watch(core *c, const job_watcher *from, uint64_t id)
{
    job *j = job_table_find(c->jobs, id);
    core_action fetch = {.kind = CORE_FETCH, .watcher = from, .number = id};
    status st = ST_OK;

    if (j && !core_sees(from, j->owner))
        return no_job(id);
    if (!j || (!job_is_active(j) && j->is_row)) {
        core_act(c, &fetch);
        return ST_OK;
    }
    if (job_is_active(j)) {
        TRY(core_model_resumes(c, j));
        TRY(job_table_watch(c->jobs, j, &from->client, from->request));
    }
    core_watch_report(c, j, from);
fail:
    return st;
}

void
core_fetched(core *c, const job_watcher *to, status st, const store_record *r,
             const char *text)
{
    if (st == ST_OK && !core_sees(to, r->row.owner))
        core_refuse(c, to, no_job(r->row.id));
    else if (st == ST_OK)
        core_report_record(c, to, r);
    else
        core_refuse(c, to, status_fail(st, "%s", text));
}

static status
show(core *c, const job_watcher *from, const char *name)
{
    status st = ST_OK;
    const document *doc = core_client_document(c, &st, from, name);

    return doc ? core_report_documents(c, from, doc) : st;
}

static status
request(core *c, const job_watcher *from, const client_message *m,
        const core_raw *raw)
{
    switch ((int)m->kind) {
    case CLIENT_ADD:
        return core_submit_add(c, from, m, raw);
    case CLIENT_ASK:
        return core_submit_ask(c, from, m, raw);
    case CLIENT_LIST:
        return core_report_documents(c, from, NULL);
    case CLIENT_SHOW:
        return show(c, from, m->u.name.document);
    case CLIENT_REMOVE:
        return remove_document(c, from, m->u.name.document);
    case CLIENT_JOBS:
        return core_report_jobs(c, from);
    case CLIENT_CANCEL:
        return cancel(c, from, m);
    case CLIENT_GET_STATUS:
        return core_report_status(c, from);
    case CLIENT_SHUTDOWN:
        if (!from->admin)
            return status_fail(ST_DENIED, "only an admin may stop the daemon");
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
core_client_event(core *c, const core_caller *caller, const client_message *m,
                  const core_raw *raw)
{
    job_watcher from = {.client = *caller->client,
                        .request = m->request,
                        .admin = caller->admin};
    status st;

    (void)snprintf(from.owner, sizeof(from.owner), "%s", caller->owner);
    c->owner = caller->owner;
    c->later = false;
    if (m->kind == CLIENT_CHUNK) {
        core_input_chunk(c, &from, m, raw);
        return;
    }
    st = request(c, &from, m, raw);
    if (st != ST_OK)
        core_refuse(c, &from, st);
}

void
core_client_gone(core *c, const zsocket_peer *client)
{
    job *j;

    while ((j = job_table_watched(c->jobs, client)) != NULL) {
        bool is_sender = job_same_peer(&j->sender.client, client);

        job_table_unwatch(c->jobs, j, client);
        if (is_sender && job_is_open(j) && j->state == CLIENT_RECEIVING &&
            j->received < j->bytes)
            core_job_fail(c, j, ST_IO,
                          "the client left before its input was complete");
    }
    core_dispatch(c);
}
