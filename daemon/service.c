/* SPDX-License-Identifier: Apache-2.0 */
/* The loop of longwaved: events to the core, its actions to the parts. */
#include "daemon/service.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/service_state.h"

enum {
    TICK_MS = 50,
    WORLD_GRACE_MS = 2000, /* for a world that was told to stop */
    FLUSH_MS = 500
};

/* ---------------------------------------------------------------- actions ---
 */

static void
remove_document(service *v, const document *doc)
{
    if (disk_remove(v->writer, doc->id) != ST_OK)
        v->failed_removal = doc->id;
}

static void
record(service *v, const job *j)
{
    if (disk_record(v->writer, j) != ST_OK)
        log_error("job %" PRIu64 " is not recorded: %s", j->id, status_text());
}

static void
act(void *ctx, const core_action *a)
{
    service *v = ctx;

    switch (a->kind) {
    case CORE_TELL_CLIENT:
        clients_tell(v->clients, a->peer, a->client);
        break;
    case CORE_TELL_WORLD:
        worlds_tell(v->worlds, a->peer, a->world);
        break;
    case CORE_INPUT_OPEN:
        service_job_open(v, a);
        break;
    case CORE_INPUT_DATA:
        service_job_input(v, a);
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
    case CORE_STORE:
        service_job_store(v, a);
        break;
    case CORE_ATTEMPT_DROP:
        service_job_drop_attempt(v, a->job->id);
        break;
    case CORE_JOB_DROP:
        service_job_drop(v, a->job->id);
        break;
    case CORE_RECORD:
        record(v, a->job);
        break;
    case CORE_REMOVE:
        remove_document(v, a->document);
        break;
    case CORE_LEAVE:
        v->closing = true;
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
settle_removal(service *v)
{
    uint64_t id = v->failed_removal;

    v->failed_removal = 0;
    if (id)
        core_removed(v->core, id, ST_NOMEM, "out of memory");
}

/* What happened while the core could not be called.  Each of these may make
 * more of them, but every one takes something away. */
void
service_settle(service *v)
{
    zsocket_peer peer;
    const char *why;

    do {
        settle_removal(v);
        while (clients_take_gone(v->clients, &peer, &why)) {
            log_debug("a client is gone: %s", why);
            core_client_gone(v->core, &peer);
        }
        while (worlds_take_gone(v->worlds, &peer, &why)) {
            log_debug("a world is gone: %s", why);
            core_world_gone(v->core, &peer, "the world left");
        }
    } while (service_job_settle(v));
}

static void
on_client(void *ctx, const clients_caller *from, const client_message *m,
          uint8_t **raw, size_t raw_len)
{
    service *v = ctx;
    core_raw frame = {.data = raw, .len = raw_len};

    service_begin(v);
    core_client_event(v->core, from->peer, from->owner, m, &frame);
    service_settle(v);
}

static void
on_world(void *ctx, const zsocket_peer *world, const world_message *m,
         uint8_t **raw, size_t raw_len)
{
    service *v = ctx;
    core_raw frame = {.data = raw, .len = raw_len};

    service_begin(v);
    core_world_event(v->core, world, m, &frame);
    service_settle(v);
}

static void
on_drained(void *ctx, const zsocket_peer *world)
{
    service *v = ctx;

    service_job_drained(v, world);
    service_begin(v);
    service_settle(v);
}

static void
on_disk(void *ctx, const disk_report *r)
{
    service *v = ctx;

    service_begin(v);
    switch (r->kind) {
    case DISK_STORED:
        core_stored(v->core, r->id, r->st, r->text);
        break;
    case DISK_REMOVED:
        core_removed(v->core, r->id, r->st, r->text);
        break;
    case DISK_PART_FAILED:
        core_job_failed(v->core, r->id, r->attempt, r->st, r->text);
        break;
    case DISK_RECORD_FAILED:
        log_error("job %" PRIu64 " is not recorded: %s", r->id, r->text);
        break;
    }
    service_settle(v);
}

static void
on_launch(void *ctx, launch_state state, uint64_t token, const char *why)
{
    service *v = ctx;

    service_begin(v);
    core_launch_event(v->core,
                      state == LAUNCH_GAVE_UP ? CORE_LAUNCH_GAVE_UP
                                              : CORE_LAUNCH_STARTING,
                      token, why);
    service_settle(v);
}

static void
collect_disk(void *ctx, int fd)
{
    service *v = ctx;

    (void)fd;
    disk_collect(v->writer);
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

static void
tick(void *ctx)
{
    service *v = ctx;

    door_tick(v->door, clock_ns());
    if (v->launch)
        launch_tick(v->launch);
    service_begin(v);
    core_tick(v->core);
    service_settle(v);
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

/* ---------------------------------------------------------------- opening ---
 */

static status
open_signals(service *v)
{
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGCHLD);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0 ||
        signal(SIGPIPE, SIG_IGN) == SIG_ERR)
        return status_fail(ST_IO, "signals: %s", strerror(errno));
    v->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (v->signals < 0)
        return status_fail(ST_IO, "signalfd: %s", strerror(errno));
    return ST_OK;
}

/* The last part of the model directory's path is its name. */
static status
name_of(char **out, const char *dir)
{
    size_t end = strlen(dir);
    size_t start;
    status st;

    while (end > 1 && dir[end - 1] == '/')
        end--;
    start = end;
    while (start > 0 && dir[start - 1] != '/')
        start--;
    TRY(mem_new(out, end - start + 1, 1));
    memcpy(*out, dir + start, end - start);
fail:
    return st;
}

static status
open_model(service *v)
{
    status st;

    TRY(config_load(&v->model, v->set->model));
    TRY(name_of(&v->name, v->set->model));
    st = tokenizer_open(&v->tok, v->set->model);
    if (st == ST_NOTFOUND) {
        log_info("'%s' has no tokenizer.json: token ids only", v->set->model);
        st = ST_OK;
    }
fail:
    return st;
}

static status
restore_document(void *ctx, const document *doc)
{
    service *v = ctx;
    document copy = *doc;

    copy.damaged = datadir_check_document(v->dir, doc) != ST_OK;
    if (copy.damaged)
        log_error("document '%s' is damaged: %s", doc->name, status_text());
    return core_restore_document(v->core, &copy);
}

static status
restore_job(void *ctx, const store_job *row)
{
    service *v = ctx;
    job j = {.id = row->id,
             .kind = row->kind,
             .state = row->state,
             .created_ms = row->created_ms,
             .tokens = row->tokens,
             .segments_done = row->segments_done,
             .n_write = row->segments_total,
             .st = row->st};

    memcpy(j.document, row->document, sizeof(j.document));
    memcpy(j.text, row->text, sizeof(j.text));
    return core_restore_job(v->core, &j);
}

static status
sweep(service *v)
{
    const catalog *docs = core_catalog(v->core);
    size_t n = catalog_count(docs);
    uint64_t *id = NULL;
    status st;

    TRY(mem_new(&id, n, sizeof(*id)));
    for (size_t i = 0; i < n; i++)
        id[i] = catalog_at(docs, i)->id;
    TRY(datadir_sweep(v->dir, id, n));
fail:
    mem_free(id);
    return st;
}

static status
open_core(service *v)
{
    store *s = datadir_store(v->dir);
    core_config cfg = {
        .model = v->name,
        .tok = v->tok,
        .n_layer = v->model.n_layer,
        .segment_size = v->model.segment_size,
        .n_vocab = v->model.n_vocab,
        .n_eos = v->model.n_eos,
        .max_input = v->set->max_input,
        .max_queue = (uint32_t)v->set->max_queue,
        .input_window = 8 << 20,
        .heartbeat_ms = 500,
        .timeout_ms = 5000,
        .input_timeout_ns = UINT64_C(60) * 1000000000,
    };
    uint64_t next;
    status st;

    memcpy(cfg.eos, v->model.eos, sizeof(cfg.eos));
    TRY(store_fail_unfinished(s, "the daemon stopped while the job ran"));
    TRY(store_forget_jobs(s, 4 * JOB_KEEP));
    TRY(store_next_job(s, &next));
    TRY(core_new(&v->core, &cfg, next, act, v));
    TRY(store_each_document(s, restore_document, v));
    TRY(store_each_job(s, JOB_KEEP, restore_job, v));
    TRY(sweep(v));
fail:
    return st;
}

static status
open_sockets(service *v)
{
    const settings *set = v->set;
    door_setup setup = {.key = set->key,
                        .authorized = set->authorized,
                        .allow_local_users = set->allow_local_users};
    status st;

    TRY(zcontext_new(&v->z));
    TRY(door_open(&v->door, v->z, &setup));
    TRY(loop_new(&v->l));
    TRY(clients_open(&v->clients, v->z, v->l, set->listen, v->door));
    TRY(worlds_open(&v->worlds, v->z, v->l, set->listen_worlds, v->door));
    TRY(door_check(v->door, clients_endpoint(v->clients)));
    TRY(door_check(v->door, worlds_endpoint(v->worlds)));
    outbox_on_drained(worlds_outbox(v->worlds), on_drained, v);
fail:
    return st;
}

static status
open_threads(service *v)
{
    status st;

    TRY(helper_new(&v->reader));
    TRY(disk_new(&v->writer, v->dir));
    TRY(tokens_new(&v->tokens, v->tok, v->model.n_vocab, datadir_tmp(v->dir)));
    disk_on_report(v->writer, on_disk, v);
    tokens_on_report(v->tokens, service_job_tokenized, v);
fail:
    return st;
}

static status
join_loop(service *v)
{
    status st;

    TRY(clients_listen(v->clients, on_client, v));
    TRY(worlds_listen(v->worlds, on_world, v));
    TRY(loop_add_fd(v->l, disk_fd(v->writer), collect_disk, v));
    TRY(loop_add_fd(v->l, tokens_fd(v->tokens), collect_tokens, v));
    TRY(loop_add_fd(v->l, helper_fd(v->reader), collect_reader, v));
    TRY(loop_add_fd(v->l, v->signals, on_signal, v));
    TRY(loop_add_timer(v->l, TICK_MS, tick, v, &v->timer));
fail:
    return st;
}

static status
open_launch(service *v)
{
    launch_setup setup = {
        .command = v->set->launch,
        .workers = (uint32_t)v->set->workers,
        .model = v->set->model,
        .endpoint = worlds_endpoint(v->worlds),
        .device = v->set->device,
        .placement = v->set->placement,
        .threads = (uint32_t)v->set->threads,
        .key = v->set->key,
    };

    if (!setup.command && setup.workers == 0)
        return ST_OK;
    return launch_new(&v->launch, &setup, on_launch, v);
}

status
service_new(service **out, const settings *s)
{
    service *v = NULL;
    status st;

    TRY(mem_new(&v, 1, sizeof(*v)));
    v->set = s;
    v->signals = -1;
    TRY(open_signals(v));
    TRY(open_model(v));
    TRY(datadir_open(&v->dir, s->data));
    TRY(open_core(v));
    TRY(open_sockets(v));
    TRY(open_threads(v));
    TRY(join_loop(v));
    TRY(open_launch(v));
    *out = v;
    return ST_OK;
fail:
    service_free(v);
    return st;
}

/* Reports of the threads that end here find the core with every job over. */
void
service_free(service *v)
{
    if (!v)
        return;
    while (v->first)
        service_job_drop(v, v->first->job);
    launch_free(v->launch);
    tokens_free(v->tokens);
    helper_free(v->reader);
    disk_free(v->writer);
    worlds_close(v->worlds, FLUSH_MS);
    clients_close(v->clients, FLUSH_MS);
    core_free(v->core);
    loop_free(v->l);
    door_close(v->door);
    zcontext_free(v->z);
    datadir_close(v->dir);
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
