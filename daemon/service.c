/* SPDX-License-Identifier: Apache-2.0 */
/* The loop of longwaved: events to the core, its actions to the parts. */
#include "daemon/service.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/service_state.h"

enum {
    TICK_MS = 50,
    WORLD_GRACE_MS = 2000, /* for a world that was told to stop */
    LOOK_MS = 1000,
    AGE_MS = 60000,
    FLUSH_MS = 500,
    GONE_A_TURN = 4 /* clients, each of which is a walk over all jobs */
};
static const double DISK_FULL = 0.95; /* of the file system */

/* ---------------------------------------------------------------- actions ---
 */

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

/* Nobody waits for these. */
static void
note(status st, const char *what)
{
    if (st != ST_OK)
        log_error("%s is not recorded: %s", what, status_text());
}

static void
drop_checkpoint(service *v, const core_action *a)
{
    note(journal_drop(v->journal, a->job->id, a->number), "a checkpoint's end");
    note(disk_checkpoint_remove(v->writer, a->job->id, a->number),
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
        note(journal_record(v->journal, j), "a job's state");
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
        note(journal_incident(v->journal, clock_wall_ms(), a->number, a->text),
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
    put_off(v, JOURNAL_SUBMITTED, a->job->id, service_job_submit(v, a));
}

static void
end_world(service *v, uint64_t token)
{
    if (v->launch)
        launch_kill(v->launch, token);
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
        put_off(v, JOURNAL_INPUT, a->job->id, service_job_open(v, a));
        break;
    case CORE_INPUT_DATA:
        service_job_input(v, a);
        break;
    case CORE_SUBMIT:
        submit(v, a);
        break;
    case CORE_PREPARE:
        put_off(v, JOURNAL_INPUT, a->job->id, service_job_prepare(v, a));
        break;
    case CORE_FEED_OPEN:
        service_job_feed(v, a);
        break;
    case CORE_FEED_ALLOW:
        service_job_allow(v, a);
        break;
    case CORE_SNAPSHOT_PART:
        service_job_part(v, a);
        break;
    case CORE_CHECKPOINT_PART:
        service_job_shard(v, a);
        break;
    case CORE_CHECKPOINT_DROP:
        drop_checkpoint(v, a);
        break;
    case CORE_STORE:
        FAULT_POINT(RESULT_HEARD);
        put_off(v, JOURNAL_STORED, a->job->id, service_job_store(v, a));
        break;
    case CORE_ATTEMPT_DROP:
        service_job_drop_attempt(v, a->job->id);
        break;
    case CORE_JOB_DROP:
        service_job_drop(v, a->job->id);
        break;
    case CORE_WORLD_END:
        end_world(v, a->number);
        break;
    case CORE_LEAVE:
        v->closing = true;
        v->code = a->number != 0;
        break;
    default:
        act_journal(v, a);
        break;
    }
}

/* ----------------------------------------------------------------- events ---
 */

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
    } while (service_job_settle(v) || v->n_late > 0);
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

    service_job_drained(v, world);
    service_begin(v);
    service_settle(v);
}

static void
checkpoint_kept(service *v, const journal_report *r)
{
    job_checkpoint k = {.segment = r->number, .bytes = r->bytes};

    FAULT_POINT(CHECKPOINT_ROW);
    core_checkpointed(v->core, r->id, r->attempt, &k, r->st, r->text);
    if (r->st == ST_OK && v->launch)
        launch_progress(v->launch);
    if (r->st != ST_OK)
        note(disk_checkpoint_remove(v->writer, r->id, r->number),
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
        note(disk_input_remove(v->writer, r->id), "an input's end");
}

static void
removed(service *v, const journal_report *r)
{
    core_removed(v->core, r->id, r->st, r->text);
    if (r->st == ST_OK)
        note(disk_remove(v->writer, r->id), "a document's end");
}

void
service_on_journal(void *ctx, const journal_report *r)
{
    service *v = ctx;

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
        service_job_stored(v, r);
        break;
    case JOURNAL_REMOVED:
        removed(v, r);
        break;
    case JOURNAL_CHECKPOINT:
        checkpoint_kept(v, r);
        break;
    case JOURNAL_INPUT:
        service_job_loaded(v, r);
        break;
    case JOURNAL_FOUND:
        core_looked_up(v->core, r->id, r->st, &r->record->row, r->text);
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
        service_job_written(v, r);
        break;
    case DISK_STORED:
        service_job_files_stored(v, r);
        break;
    case DISK_PART_FAILED:
        core_job_failed(v->core, r->id, r->attempt, r->st, r->text);
        break;
    case DISK_CHECKPOINT:
        service_job_checkpoint(v, r);
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

/* ------------------------------------------------------------------- loop ---
 */

/* A disk that loses what it was given cannot be trusted with anything more. */
static bool
is_broken(service *v)
{
    if (!file_sync_failed())
        return false;
    if (v->code == SERVICE_DISK)
        return true;
    log_error("the disk of the data directory failed: nothing more can be "
              "promised");
    v->code = SERVICE_DISK;
    loop_stop(v->l);
    return true;
}

static void
collect_journal(void *ctx, int fd)
{
    service *v = ctx;

    (void)fd;
    if (is_broken(v))
        return; /* nothing is acknowledged any more */
    journal_collect(v->journal);
    (void)is_broken(v);
}

static void
collect_disk(void *ctx, int fd)
{
    service *v = ctx;

    (void)fd;
    disk_collect(v->writer);
    (void)is_broken(v);
}

static void
collect_tokens(void *ctx, int fd)
{
    service *v = ctx;

    (void)fd;
    tokens_collect(v->tokens);
}

static void
collect_reader(void *ctx, int fd)
{
    service *v = ctx;

    (void)fd;
    helper_collect(v->reader);
    service_begin(v);
    service_settle(v);
}

/* --------------------------------------------------------------- the end ---
 */

static void
shut_down(service *v)
{
    if (v->leave_ns)
        return;
    v->leave_ns = clock_ns();
    log_info("shutting down");
    service_begin(v);
    core_shutdown(v->core);
    service_settle(v);
}

/* A client's Shutdown reaches the core first: it is noticed here. */
static void
leave(service *v)
{
    if (!v->closing)
        return;
    if (v->launch)
        launch_stop(v->launch, WORLD_GRACE_MS);
    if (!v->launch || !launch_is_running(v->launch))
        loop_stop(v->l);
}

/* Now and then: room on the disk, and the age that old jobs are forgotten by.
 */
static void
look_at_disk(service *v)
{
    uint64_t now = clock_ns();
    struct statvfs fs;

    if (now < v->look_ns)
        return;
    v->look_ns = now + (uint64_t)LOOK_MS * 1000000;
    if (statvfs(v->set->data, &fs) == 0 && fs.f_blocks > 0)
        core_disk_full(v->core, (double)fs.f_bavail <
                                    (1 - DISK_FULL) * (double)fs.f_blocks);
    if (now < v->age_ns)
        return;
    v->age_ns = now + (uint64_t)AGE_MS * 1000000;
    note(journal_age(v->journal,
                     v->age_s + (now - v->start_ns) / UINT64_C(1000000000),
                     v->set->keep * UINT64_C(86400)),
         "the daemon's age");
}

/* A scheduler would rather have the machines back. */
static void
check_hopeless(service *v)
{
    if (!v->set->exit_without_world || !launch_is_hopeless(v->launch) ||
        v->closing)
        return;
    log_error("the world cannot be kept up");
    v->code = 1;
    loop_stop(v->l);
}

static void
tick(void *ctx)
{
    service *v = ctx;

    door_tick(v->door, clock_ns());
    if (v->launch) {
        launch_tick(v->launch);
        check_hopeless(v);
    }
    service_begin(v);
    look_at_disk(v);
    core_tick(v->core);
    service_settle(v);
    journal_flush(v->journal);
    leave(v);
}

static void
on_signal(void *ctx, int fd)
{
    service *v = ctx;
    struct signalfd_siginfo info;

    while (read(fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (info.ssi_signo == SIGCHLD) {
            if (v->launch)
                launch_reap(v->launch);
        } else {
            shut_down(v);
        }
    }
    leave(v);
}

status
service_join_loop(service *v)
{
    status st;

    TRY(clients_listen(v->clients, service_on_client, v));
    TRY(worlds_listen(v->worlds, service_on_world, v));
    TRY(loop_add_fd(v->l, disk_fd(v->writer), collect_disk, v));
    TRY(loop_add_fd(v->l, journal_fd(v->journal), collect_journal, v));
    TRY(loop_add_fd(v->l, tokens_fd(v->tokens), collect_tokens, v));
    TRY(loop_add_fd(v->l, helper_fd(v->reader), collect_reader, v));
    TRY(loop_add_fd(v->l, v->signals, on_signal, v));
    TRY(loop_add_timer(v->l, TICK_MS, tick, v, &v->timer));
fail:
    return st;
}

/* Reports of the threads that end here find the core with every job over. */
void
service_free(service *v)
{
    if (!v)
        return;
    service_job_drop_all(v);
    launch_free(v->launch);
    tokens_free(v->tokens);
    helper_free(v->reader);
    disk_free(v->writer);
    journal_free(v->journal);
    worlds_close(v->worlds, FLUSH_MS);
    clients_close(v->clients, FLUSH_MS);
    core_free(v->core);
    loop_free(v->l);
    door_close(v->door);
    zcontext_free(v->z);
    datadir_close(v->dir);
    template_close(v->chat);
    tokenizer_close(v->tok);
    mem_free(v->name);
    if (v->signals >= 0)
        (void)close(v->signals);
    mem_free(v);
}

status
service_run(service *v)
{
    service_begin(v);
    if (v->launch)
        launch_start(v->launch);
    return loop_run(v->l);
}

int
service_code(const service *v)
{
    return v->code;
}

const char *
service_endpoint(const service *v)
{
    return clients_endpoint(v->clients);
}

const char *
service_world_endpoint(const service *v)
{
    return worlds_endpoint(v->worlds);
}
