/* SPDX-License-Identifier: Apache-2.0 */
/* Counting at the points, and what happens there. */
#include "base/fault.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MAX_RULE = 16, HOUR_MS = 3600000 };

typedef enum kind {
    KILL = 0,
    SEGV,
    EXIT,
    ABORT,
    STALL,
    EIO_,
    ENOSPC_,
    NOMEM,
    SHORT,
    NAN_
} kind;

static const struct {
    const char *name;
    kind kind;
    unsigned long usual; /* the argument when none is given */
} actions[] = {
    {"kill", KILL, 0},      {"segv", SEGV, 0},         {"exit", EXIT, 1},
    {"abort", ABORT, 1},    {"stall", STALL, HOUR_MS}, {"eio", EIO_, 0},
    {"enospc", ENOSPC_, 0}, {"nomem", NOMEM, 0},       {"short", SHORT, 0},
    {"nan", NAN_, 0},
};

typedef struct rule {
    fault_point point;
    unsigned long nth;
    bool on; /* and every later time */
    kind kind;
    unsigned long argument;
} rule;

static const char *const names[] = {
#define FAULT_TEXT(id, name) name,
    FAULT_POINTS(FAULT_TEXT)
#undef FAULT_TEXT
};

static rule rules[MAX_RULE];
static size_t n_rule;
static atomic_ulong passed[FAULT_COUNT];
static const char *once; /* a directory, or NULL */
static fault_abort_fn *on_abort;
static void *on_abort_ctx;
static pthread_once_t read_once = PTHREAD_ONCE_INIT;

const char *
fault_name(fault_point p)
{
    return names[p];
}

void
fault_on_abort(fault_abort_fn *fn, void *ctx)
{
    on_abort = fn;
    on_abort_ctx = ctx;
}

unsigned long
fault_passed(fault_point p)
{
    return atomic_load(&passed[p]);
}

/* --------------------------------------------------------------- the list ---
 */

static status
bad(const char *text)
{
    return status_fail(ST_ARG, "LONGWAVE_FAULTS: '%s' is not NAME:NTH:ACTION",
                       text);
}

static status
parse_action(rule *r, const char *text)
{
    size_t len = strcspn(text, "=");
    char *end;

    for (size_t i = 0; i < sizeof(actions) / sizeof(*actions); i++) {
        if (strlen(actions[i].name) != len ||
            strncmp(actions[i].name, text, len) != 0)
            continue;
        r->kind = actions[i].kind;
        r->argument = actions[i].usual;
        if (text[len] == '\0')
            return ST_OK;
        r->argument = strtoul(text + len + 1, &end, 10);
        return end != text + len + 1 && *end == '\0' ? ST_OK : bad(text);
    }
    return bad(text);
}

static status
parse_rule(rule *r, const char *text)
{
    char name[32];
    char action[32];
    char plus = '\0';
    int end = 0;

    if (sscanf(text, "%31[^:]:%lu%n", name, &r->nth, &end) != 2 || r->nth == 0)
        return bad(text);
    r->on = text[end] == '+';
    if (sscanf(text + end + r->on, ":%31[^:,]%c", action, &plus) != 1)
        return bad(text);
    for (r->point = 0; r->point < FAULT_COUNT; r->point++)
        if (strcmp(names[r->point], name) == 0)
            return parse_action(r, action);
    return bad(text);
}

status
fault_set(const char *list)
{
    char copy[1024];
    char *rest = copy;
    char *part;
    status st = ST_OK;

    n_rule = 0;
    for (int i = 0; i < FAULT_COUNT; i++)
        atomic_store(&passed[i], 0);
    if (strlen(list) >= sizeof(copy))
        return bad(list);
    (void)snprintf(copy, sizeof(copy), "%s", list);
    while (*list != '\0' && (part = strsep(&rest, ",")) != NULL) {
        if (n_rule == MAX_RULE)
            TRY(bad(part));
        TRY(parse_rule(&rules[n_rule], part));
        n_rule++;
    }
fail:
    if (st != ST_OK)
        n_rule = 0;
    return st;
}

static void
read_environment(void)
{
    const char *list = getenv("LONGWAVE_FAULTS");

    once = getenv("LONGWAVE_FAULTS_ONCE");
    if (list == NULL || fault_set(list) == ST_OK)
        return;
    (void)fprintf(stderr, "%s\n", status_text());
    _exit(2);
}

/* ---------------------------------------------------------------- actions ---
 */

static bool
is_first(const rule *r)
{
    char path[4096];
    int fd;

    if (once == NULL)
        return true;
    (void)snprintf(path, sizeof(path), "%s/%s", once, names[r->point]);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    (void)close(fd);
    return true;
}

static void
stall(unsigned long ms)
{
    struct timespec left = {.tv_sec = (time_t)(ms / 1000),
                            .tv_nsec = (long)(ms % 1000) * 1000000};

    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        ;
}

static fault_action
act(const rule *r)
{
    switch (r->kind) {
    case KILL:
        (void)kill(getpid(), SIGKILL);
        break;
    case SEGV:
        (void)raise(SIGSEGV);
        break;
    case EXIT:
        _exit((int)r->argument);
    case ABORT:
        if (on_abort)
            on_abort(on_abort_ctx, (int)r->argument);
        abort();
    case STALL:
        stall(r->argument);
        break;
    case EIO_:
        errno = EIO;
        return FAULT_ERROR;
    case ENOSPC_:
        errno = ENOSPC;
        return FAULT_ERROR;
    case NOMEM:
        errno = ENOMEM;
        return FAULT_ERROR;
    case SHORT:
        return FAULT_SHORT;
    case NAN_:
        return FAULT_NAN;
    }
    return FAULT_NOTHING;
}

fault_action
fault_pass(fault_point p)
{
    unsigned long n;

    (void)pthread_once(&read_once, read_environment);
    n = atomic_fetch_add(&passed[p], 1) + 1;
    for (size_t i = 0; i < n_rule; i++) {
        const rule *r = &rules[i];

        if (r->point == p && (n == r->nth || (r->on && n > r->nth)) &&
            is_first(r))
            return act(r);
    }
    return FAULT_NOTHING;
}

size_t
fault_cut(fault_point p, size_t len)
{
    fault_action a = fault_pass(p);

    if (a == FAULT_ERROR)
        return 0;
    return a == FAULT_SHORT && len > 1 ? len / 2 : len;
}
