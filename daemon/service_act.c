/* SPDX-License-Identifier: Apache-2.0 */
/* The core's actions to the parts that carry them out. */
#include <stdio.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "daemon/service_state.h"

enum { LEFT_GRACE_MS = 500 }; /* for a world whose connection is gone */

/* What could not even be asked for is answered when the core is done. */
static void
put_off(service *v, journal_kind kind, uint64_t id, status st)
{
    service_late *l = &v->late[v->n_late];

    if (st == ST_OK)
        return;
    if (v->n_late == SERVICE_MAX_LATE) {
        log_error("out of memory: the daemon cannot go on");
        v->code = 1;
        loop_stop(v->l);
        return;
    }
    v->n_late++;
    *l = (service_late){.kind = kind, .id = id, .st = st};
    (void)snprintf(l->text, sizeof(l->text), "%s", status_text());
}

void
service_note(status st, const char *what)
{
    if (st != ST_OK)
        log_error("%s is not recorded: %s", what, status_text());
}

static void
drop_checkpoint(service *v, const core_action *a)
{
    service_note(journal_drop(v->journal, a->job->id, a->checkpoint),
                 "a checkpoint's end");
    service_note(disk_checkpoint_remove(v->writer, a->job->id, a->checkpoint),
                 "a checkpoint's end");
}

static void
fetch(service *v, const core_action *a)
{
    status st = journal_fetch(v->journal, a->number, a->watcher);

    put_off(v, JOURNAL_FETCHED, a->number, st);
    if (st != ST_OK && v->n_late > 0)
        v->late[v->n_late - 1].watcher = *a->watcher;
}

/* What goes into the journal alone. */
static void
act_journal(service *v, const core_action *a)
{
    const job *j = a->job;

    switch ((int)a->kind) {
    case CORE_LOOKUP:
        put_off(v, JOURNAL_FOUND, j->id, journal_find(v->journal, j));
        break;
    case CORE_RECORD:
        service_note(journal_record(v->journal, j), "a job's state");
        break;
    case CORE_TOKENS:
        put_off(v, JOURNAL_TOKENS, j->id, journal_tokens(v->journal, j));
        break;
    case CORE_END:
        put_off(v, JOURNAL_ENDED, j->id, journal_end(v->journal, j));
        break;
    case CORE_FETCH:
        fetch(v, a);
        break;
    case CORE_REMOVE:
        put_off(v, JOURNAL_REMOVED, a->document->id,
                journal_remove(v->journal, a->document->id));
        break;
    case CORE_INCIDENT:
        log_warn("%s", a->text);
        service_note(
            journal_incident(v->journal, clock_wall_ms(), a->number, a->text),
            "an incident");
        break;
    }
}

static void
tell_world(service *v, const core_action *a)
{
    if (a->world->kind == WORLD_BEGIN)
        FAULT_POINT(DISPATCH_BEFORE);
    worlds_tell(v->worlds, a->peer, a->world, a->raw.data ? *a->raw.data : NULL,
                a->raw.len);
    if (a->world->kind == WORLD_BEGIN)
        FAULT_POINT(DISPATCH_AFTER);
}

static void
tell_client(service *v, const core_action *a)
{
    if (a->client->kind == CLIENT_ACCEPTED)
        FAULT_POINT(ACK_BEFORE);
    clients_tell(v->clients, a->peer, a->client);
    if (a->client->kind == CLIENT_ACCEPTED)
        FAULT_POINT(ACK_AFTER);
    if (a->client->kind == CLIENT_DONE)
        FAULT_POINT(RESULT_SENT);
}

static void
submit(service *v, const core_action *a)
{
    FAULT_POINT(SUBMIT_HEARD);
    put_off(v, JOURNAL_SUBMITTED, a->job->id, service_input_submit(v, a));
}

static void
keep(service *v, const core_action *a)
{
    FAULT_POINT(RESULT_HEARD);
    put_off(v, JOURNAL_STORED, a->job->id, service_document_store(v, a));
}

static void
end_world(service *v, const core_action *a)
{
    uint32_t grace_ms = a->kind == CORE_WORLD_LEFT ? LEFT_GRACE_MS : 0;

    if (v->launch && a->kind == CORE_WORLD_AWAY)
        launch_await(v->launch, a->number);
    else if (v->launch)
        launch_kill(v->launch, a->number, grace_ms);
}

static void
leave(service *v, const core_action *a)
{
    v->closing = true;
    v->code = a->number != 0;
}

void
service_act(void *ctx, const core_action *a)
{
    service *v = ctx;

    switch ((int)a->kind) {
    case CORE_TELL_CLIENT:
        tell_client(v, a);
        break;
    case CORE_TELL_WORLD:
        tell_world(v, a);
        break;
    case CORE_INPUT_OPEN:
        put_off(v, JOURNAL_INPUT, a->job->id, service_input_open(v, a));
        break;
    case CORE_INPUT_DATA:
        service_input_add(v, a);
        break;
    case CORE_SUBMIT:
        submit(v, a);
        break;
    case CORE_PREPARE:
        put_off(v, JOURNAL_INPUT, a->job->id, service_input_prepare(v, a));
        break;
    case CORE_FEED_OPEN:
        service_feed_open(v, a);
        break;
    case CORE_FEED_ALLOW:
        service_feed_allow(v, a);
        break;
    case CORE_SNAPSHOT_PART:
        service_document_part(v, a);
        break;
    case CORE_CHECKPOINT_PART:
        service_checkpoint_add(v, a);
        break;
    case CORE_CHECKPOINT_DROP:
        drop_checkpoint(v, a);
        break;
    case CORE_STORE:
        keep(v, a);
        break;
    case CORE_ATTEMPT_DROP:
        service_holding_drop_attempt(v, a->job->id);
        break;
    case CORE_JOB_DROP:
        service_holding_drop(v, a->job->id);
        break;
    case CORE_WORLD_END:
    case CORE_WORLD_LEFT:
    case CORE_WORLD_AWAY:
        end_world(v, a);
        break;
    case CORE_LEAVE:
        leave(v, a);
        break;
    default:
        act_journal(v, a);
        break;
    }
}
