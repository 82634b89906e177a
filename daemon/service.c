/* SPDX-License-Identifier: Apache-2.0 */
/* The loop of longwaved, and how it ends. */
#include "daemon/service.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/service_state.h"

enum {
    TICK_MS = 50,
    WORLD_GRACE_MS = 2000, /* for a world that was told to stop */
    LOOK_MS = 1000,
    AGE_MS = 60000,
    FLUSH_MS = 500
};
static const double DISK_FULL = 0.95; /* of the file system */

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
    service_note(
        journal_age(v->journal,
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
    service_holding_again(v);
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
    service_holding_drop_all(v);
    launch_free(v->launch);
    tokens_free(v->tokens);
    helper_free(v->reader);
    disk_free(v->writer);
    v->writer = NULL;
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
