/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts report, as events to the core. */
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "daemon/service_state.h"

enum {
    GONE_A_TURN = 64 /* clients: to tell the others may find more gone */
};

void
service_begin(service *v)
{
    core_time t = {.now_ns = clock_ns(),
                   .wall_ms = clock_wall_ms(),
                   .longest_turn_ms = loop_longest_turn_ms(v->l)};

    core_set_time(v->core, &t);
}

static void
answer_late(service *v, const service_late *l)
{
    switch ((int)l->kind) {
    case JOURNAL_SUBMITTED:
        core_submitted(v->core, l->id, l->st, l->text);
        break;
    case JOURNAL_FOUND:
        core_looked_up(v->core, l->id, l->st, NULL, l->text);
        break;
    case JOURNAL_TOKENS:
        core_tokens_kept(v->core, l->id, 0, l->st);
        break;
    case JOURNAL_ENDED:
        core_ended(v->core, l->id, l->st, l->text);
        break;
    case JOURNAL_STORED:
        core_stored(v->core, l->id, l->st, l->text, NULL);
        break;
    case JOURNAL_REMOVED:
        core_removed(v->core, l->id, l->st, l->text);
        break;
    case JOURNAL_FETCHED:
        core_fetched(v->core, &l->watcher, l->st, NULL, l->text);
        break;
    case JOURNAL_INPUT:
        core_job_failed(v->core, l->id, 0, l->st, l->text);
        break;
    }
}

static bool
settle_late(service *v)
{
    service_late l;

    if (v->n_late == 0)
        return false;
    l = v->late[0];
    v->n_late--;
    memmove(v->late, v->late + 1, v->n_late * sizeof(l));
    answer_late(v, &l);
    return true;
}

/* What happened while the core could not be called.  Each of these may make
 * more of them, but every one takes something away. */
void
service_settle(service *v)
{
    zsocket_peer peer;
    const char *why;

    do {
        while (settle_late(v))
            ;
        for (int n = 0;
             n < GONE_A_TURN && clients_take_gone(v->clients, &peer, &why);
             n++) {
            log_debug("a client is gone: %s", why);
            core_client_gone(v->core, &peer);
        }
        while (worlds_take_gone(v->worlds, &peer, &why)) {
            log_debug("a world is gone: %s", why);
            core_world_gone(v->core, &peer, "the world left");
        }
    } while (service_holding_settle(v) || v->n_late > 0);
}

void
service_on_client(void *ctx, const clients_caller *from,
                  const client_message *m, uint8_t **raw, size_t raw_len)
{
    service *v = ctx;
    core_raw frame = {.data = raw, .len = raw_len};
    core_caller caller = {
        .client = from->peer, .owner = from->owner, .admin = from->admin};

    service_begin(v);
    core_client_event(v->core, &caller, m, &frame);
    service_settle(v);
}

void
service_on_world(void *ctx, const zsocket_peer *world, const world_message *m,
                 uint8_t **raw, size_t raw_len)
{
    service *v = ctx;
    core_raw frame = {.data = raw, .len = raw_len};

    if (v->launch && m->kind == WORLD_HELLO)
        launch_joined(v->launch, m->u.hello.launch);
    service_begin(v);
    service_settle(v); /* a message before this one may have been lost */
    core_world_event(v->core, world, m, &frame);
    service_settle(v);
}

void
service_on_drained(void *ctx, const zsocket_peer *world)
{
    service *v = ctx;

    service_feed_drained(v, world);
    service_begin(v);
    service_settle(v);
}

static void
checkpoint_kept(service *v, const journal_report *r)
{
    job_checkpoint k = {.segment = r->number,
                        .bytes = r->checkpoint->bytes,
                        .attempt = r->attempt};

    memcpy(k.hash, r->checkpoint->hash, sizeof(k.hash));
    FAULT_POINT(CHECKPOINT_ROW);
    core_checkpointed(v->core, r->id, &k, r->st, r->text);
    if (r->st == ST_OK && v->launch)
        launch_progress(v->launch);
    if (r->st != ST_OK)
        service_note(disk_checkpoint_remove(v->writer, r->id, &k),
                     "a checkpoint's end");
}

/* The row is durable: what only served to get there can go. */
static void
ended(service *v, const journal_report *r)
{
    FAULT_POINT(RESULT_ROW);
    if (r->st == ST_OK && v->launch &&
        r->record->row.state == CLIENT_STATE_DONE)
        launch_progress(v->launch);
    if (r->st == ST_OK && r->record->row.bytes > CLIENT_MAX_INLINE)
        service_note(disk_input_remove(v->writer, r->id), "an input's end");
}

static void
removed(service *v, const journal_report *r)
{
    core_removed(v->core, r->id, r->st, r->text);
    if (r->st == ST_OK)
        service_note(disk_remove(v->writer, r->id), "a document's end");
}

void
service_on_journal(void *ctx, const journal_report *r)
{
    service *v = ctx;

    if (!v->writer) /* the end: the next start finds what is durable */
        return;
    service_begin(v);
    switch (r->kind) {
    case JOURNAL_SUBMITTED:
        core_submitted(v->core, r->id, r->st, r->text);
        break;
    case JOURNAL_TOKENS:
        core_tokens_kept(v->core, r->id, r->number, r->st);
        break;
    case JOURNAL_ENDED:
        ended(v, r);
        core_ended(v->core, r->id, r->st, r->text);
        break;
    case JOURNAL_STORED:
        ended(v, r);
        service_document_stored(v, r);
        break;
    case JOURNAL_REMOVED:
        removed(v, r);
        break;
    case JOURNAL_CHECKPOINT:
        checkpoint_kept(v, r);
        break;
    case JOURNAL_INPUT:
        service_input_loaded(v, r);
        break;
    case JOURNAL_FOUND:
        core_looked_up(v->core, r->id, r->st, r->record, r->text);
        break;
    case JOURNAL_FETCHED:
        core_fetched(v->core, &r->watcher, r->st, r->record, r->text);
        break;
    case JOURNAL_RECORDED:
    case JOURNAL_DROPPED:
    case JOURNAL_NOTE:
        if (r->st != ST_OK)
            log_error("the journal did not take a note: %s", r->text);
        break;
    }
    service_settle(v);
}

void
service_on_disk(void *ctx, const disk_report *r)
{
    service *v = ctx;

    service_begin(v);
    switch (r->kind) {
    case DISK_INPUT:
        service_input_written(v, r);
        break;
    case DISK_STORED:
        service_document_written(v, r);
        break;
    case DISK_PART_FAILED:
        core_job_failed(v->core, r->id, r->attempt, r->st, r->text);
        break;
    case DISK_CHECKPOINT:
        service_checkpoint_written(v, r);
        break;
    case DISK_QUIET:
        log_error("a file of job %" PRIu64 " stays until the next start: %s",
                  r->id, r->text);
        break;
    }
    service_settle(v);
}

void
service_on_launch(void *ctx, launch_state state, uint64_t token,
                  const char *why)
{
    service *v = ctx;

    service_begin(v);
    core_launch_event(v->core,
                      state == LAUNCH_STARTED ? CORE_LAUNCH_STARTING
                                              : CORE_LAUNCH_WAITING,
                      token, why);
    service_settle(v);
}
