/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting, restarting and ending the local world. */
#include "daemon/launch.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/launch_argv.h"
#include "daemon/launch_place.h"
#include "daemon/launch_process.h"

enum {
    FIRST_BACK_OFF_MS = 100,
    MAX_BACK_OFF_MS = 30000,
    GOOD_MS = 60000, /* who ran so long starts anew */
    WINDOW_MS = 600000,
    MAX_END = 5, /* in the window, without progress: it cannot be kept up */
    KILL_AFTER_MS = 3000,
    UNUSABLE = 2 /* exit status for bad usage and bad input */
};

struct launch {
    launch_setup setup;
    char *copy[9];
    launch_place *place; /* NULL: ranks share where they please */
    launch_fn *fn;
    void *ctx;
    pid_t pid;   /* 0: not running; also its process group */
    int exec_fd; /* where a failed exec tells its errno; -1: none */
    uint64_t token, started_ns;
    uint64_t awaited_ns;       /* since when it is to join */
    uint64_t restart_ns;       /* 0: none is due */
    uint64_t term_ns, kill_ns; /* 0: not asked to end */
    uint64_t back_off_ms;      /* before the next start */
    uint64_t end_ns[MAX_END];  /* when the latest starts ended */
    bool stopping, joined;
    bool proven;   /* some start has joined */
    bool unusable; /* none has, and the latest cannot */
};

/* --------------------------------------------------------------- its life ---
 */

static void
ended(launch *l, const char *why)
{
    uint64_t now = clock_ns();
    double wait_s;

    if (l->stopping)
        return;
    if (now - l->started_ns >= (uint64_t)GOOD_MS * 1000000)
        l->back_off_ms = 0;
    memmove(l->end_ns + 1, l->end_ns, (MAX_END - 1) * sizeof(*l->end_ns));
    l->end_ns[0] = now;
    if (l->back_off_ms == 0)
        l->back_off_ms = FIRST_BACK_OFF_MS;
    wait_s = (double)l->back_off_ms / 1e3;
    l->restart_ns = now + l->back_off_ms * 1000000;
    l->back_off_ms *= 2;
    if (l->back_off_ms > MAX_BACK_OFF_MS)
        l->back_off_ms = MAX_BACK_OFF_MS;
    l->fn(l->ctx, LAUNCH_ENDED, 0, why);
    if (!l->stopping)
        log_info("the world is started again in %.1f s", wait_s);
}

bool
launch_is_hopeless(const launch *l)
{
    uint64_t oldest = l->end_ns[MAX_END - 1];

    return l->unusable || (oldest != 0 && l->end_ns[0] - oldest <
                                              (uint64_t)WINDOW_MS * 1000000);
}

void
launch_progress(launch *l)
{
    memset(l->end_ns, 0, sizeof(l->end_ns));
    l->back_off_ms = 0;
}

void
launch_joined(launch *l, uint64_t token)
{
    if (token == 0 || token != l->token)
        return;
    l->joined = l->proven = true;
}

void
launch_await(launch *l, uint64_t token)
{
    if (token != l->token)
        return;
    l->joined = false;
    l->awaited_ns = clock_ns();
}

/* Its directory, or NULL: a world can do without. */
static const char *
next_place(launch *l)
{
    if (!l->place)
        return NULL;
    if (launch_place_next(l->place) != ST_OK)
        log_warn("the world may leave files behind: %s", status_text());
    return launch_place_path(l->place);
}

void
launch_start(launch *l)
{
    launch_argv *a = NULL;
    char why[256];
    status st;

    l->restart_ns = l->kill_ns = 0;
    l->joined = false;
    l->started_ns = l->awaited_ns = clock_ns();
    do {
        hash_random(&l->token, sizeof(l->token));
    } while (l->token == 0);
    TRY(launch_argv_new(&a, &l->setup, next_place(l), l->token));
    TRY(launch_process_start(&l->pid, &l->exec_fd, a));
    l->fn(l->ctx, LAUNCH_STARTED, l->token, "");
fail:
    launch_argv_free(a);
    if (st == ST_OK)
        return;
    (void)snprintf(why, sizeof(why), "the world: %.200s", status_text());
    ended(l, why);
}

static int
exec_error(launch *l)
{
    int e = 0;

    if (read(l->exec_fd, &e, sizeof(e)) != (ssize_t)sizeof(e))
        e = 0;
    (void)close(l->exec_fd);
    l->exec_fd = -1;
    return e;
}

/* No start has been of use yet, and this one's status says that the next ends
 * like it: somebody has to mend something first. */
static bool
is_unusable(const launch *l, const siginfo_t *info)
{
    return !l->proven && info->si_code == CLD_EXITED &&
           info->si_status == UNUSABLE;
}

/* mpirun ends with 128 + n when signal n ended a rank. */
static void
describe(launch *l, char *out, size_t size, const siginfo_t *info)
{
    const char *program = l->setup.command ? "/bin/sh" : "mpirun";
    int exec_errno = exec_error(l);
    int code = info->si_status;

    if (exec_errno != 0)
        (void)snprintf(out, size, "the world cannot be started: %s: %s",
                       program, strerror(exec_errno));
    else if (info->si_code != CLD_EXITED)
        (void)snprintf(out, size,
                       "the world's launcher was ended by signal "
                       "%d (%s)",
                       code, strsignal(code));
    else if (code > 128 && code < 128 + 65)
        (void)snprintf(out, size,
                       "the world ended with status %d: a rank was ended by "
                       "signal %d (%s)",
                       code, code - 128, strsignal(code - 128));
    else if (is_unusable(l, info))
        (void)snprintf(out, size,
                       "the world ended with status %d before it joined: its "
                       "command line or its model cannot be used",
                       code);
    else
        (void)snprintf(out, size, "the world ended with status %d", code);
}

/* The group is killed while its leader is still a zombie: until it is reaped
 * its number belongs to nobody else. */
void
launch_reap(launch *l)
{
    siginfo_t info = {0};
    char why[256];

    if (l->pid == 0 ||
        waitid(P_PID, (id_t)l->pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
        info.si_pid == 0)
        return;
    (void)kill(-l->pid, SIGKILL);
    (void)waitpid(l->pid, NULL, 0);
    l->pid = 0;
    if (l->place)
        launch_place_clear(l->place);
    describe(l, why, sizeof(why), &info);
    l->unusable = is_unusable(l, &info);
    if (l->unusable)
        l->back_off_ms = MAX_BACK_OFF_MS;
    ended(l, why);
}

/* Loading hangs, or nobody of this start will ever join. */
static void
end_late(launch *l)
{
    log_warn("the world has not joined within %.1f s: it is ended",
             (double)l->setup.start_ms / 1e3);
    l->joined = true; /* said once */
    (void)kill(-l->pid, SIGKILL);
}

void
launch_kill(launch *l, uint64_t token, uint32_t grace_ms)
{
    uint64_t due = clock_ns() + (uint64_t)grace_ms * 1000000;

    if (!l->pid || token != l->token)
        return;
    if (grace_ms == 0)
        (void)kill(-l->pid, SIGKILL);
    else if (l->kill_ns == 0 || due < l->kill_ns)
        l->kill_ns = due;
}

void
launch_tick(launch *l)
{
    uint64_t now = clock_ns();

    launch_reap(l);
    if (l->restart_ns && now >= l->restart_ns && !l->stopping)
        launch_start(l);
    else if (l->pid && !l->joined && !l->stopping && l->setup.start_ms > 0 &&
             now - l->awaited_ns > l->setup.start_ms * 1000000)
        end_late(l);
    if (l->pid && l->term_ns && now >= l->term_ns) {
        (void)kill(-l->pid, SIGTERM);
        l->term_ns = 0;
        l->kill_ns = now + (uint64_t)KILL_AFTER_MS * 1000000;
    }
    if (l->pid && l->kill_ns && now >= l->kill_ns) {
        (void)kill(-l->pid, SIGKILL);
        l->kill_ns = 0;
    }
}

void
launch_stop(launch *l, uint32_t grace_ms)
{
    if (l->stopping)
        return;
    l->stopping = true;
    l->restart_ns = 0;
    l->term_ns = clock_ns() + (uint64_t)grace_ms * 1000000;
    launch_tick(l);
}

bool
launch_is_running(const launch *l)
{
    return l->pid != 0;
}

/* ---------------------------------------------------------- construction ---
 */

static status
copy(launch *l, int i, const char **text)
{
    status st = ST_OK;

    if (!*text)
        return ST_OK;
    TRY(mem_strdup(&l->copy[i], *text));
    *text = l->copy[i];
fail:
    return st;
}

status
launch_new(launch **out, const launch_setup *setup, launch_fn *fn, void *ctx)
{
    launch *l = NULL;
    status st;

    TRY(mem_new(&l, 1, sizeof(*l)));
    l->exec_fd = -1;
    l->setup = *setup;
    l->fn = fn;
    l->ctx = ctx;
    TRY(copy(l, 0, &l->setup.command));
    TRY(copy(l, 1, &l->setup.model));
    TRY(copy(l, 2, &l->setup.endpoint));
    TRY(copy(l, 3, &l->setup.device));
    TRY(copy(l, 4, &l->setup.placement));
    TRY(copy(l, 5, &l->setup.key));
    l->setup.data = NULL; /* looked at here and now */
    if (setup->data && !setup->command)
        TRY(launch_place_new(&l->place, NULL, setup->data));
    TRY(copy(l, 6, &l->setup.weights));
    TRY(copy(l, 7, &l->setup.given.key_norm));
    TRY(copy(l, 8, &l->setup.given.state_type));
    *out = l;
    return ST_OK;
fail:
    launch_free(l);
    return st;
}

void
launch_free(launch *l)
{
    if (!l)
        return;
    if (l->pid) {
        (void)kill(-l->pid, SIGKILL);
        (void)waitpid(l->pid, NULL, 0);
        (void)exec_error(l);
    }
    launch_place_free(l->place);
    for (size_t i = 0; i < sizeof(l->copy) / sizeof(*l->copy); i++)
        mem_free(l->copy[i]);
    mem_free(l);
}
