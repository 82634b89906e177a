/* SPDX-License-Identifier: Apache-2.0 */
/* mpirun's flags in one place. */
#include "daemon/launch_argv.h"

#include <inttypes.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

enum { MAX_TEXT = 4096 };

typedef struct text_list {
    char **item;
    size_t n;
} text_list;

struct launch_argv {
    text_list list, environment;
};

extern char **environ;

/* One host: shared memory only, and a rank that fails takes the others with
 * it at once.  Threads are placed by the workers themselves. */
static const char *const MPIRUN_FLAGS[] = {
    "--mca",      "odls_base_sigkill_timeout",
    "0",          "--mca",
    "pml",        "ob1",
    "--mca",      "btl",
    "vader,self", "--bind-to",
    "none",
};

/* Of the shared memory, in Open MPI 4.1 and in 5; others are passed over. */
static const char *const BACKING[] = {"btl_vader_backing_directory",
                                      "btl_sm_backing_directory"};
enum { N_BACKING = sizeof(BACKING) / sizeof(*BACKING) };

static status add(text_list *list, const char *fmt, ...) PRINTF_LIKE(2, 3);

static status
add_text(text_list *list, const char *text)
{
    status st;

    TRY(mem_resize(&list->item, list->n + 2, sizeof(*list->item)));
    TRY(mem_strdup(&list->item[list->n], text));
    list->item[++list->n] = NULL;
fail:
    return st;
}

static status
add(text_list *list, const char *fmt, ...)
{
    char text[MAX_TEXT];
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof(text))
        return status_fail(ST_LIMIT, "an argument of the world is too long");
    return add_text(list, text);
}

/* The worker beside this program if it is there, else the one in PATH. */
static status
add_worker(text_list *list)
{
    char path[MAX_TEXT];
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 32);
    char *slash;

    if (n > 0) {
        path[n] = '\0';
        slash = strrchr(path, '/');
        if (slash) {
            memcpy(slash, "/longwave-worker", sizeof("/longwave-worker"));
            if (access(path, X_OK) == 0)
                return add(list, "%s", path);
        }
    }
    return add(list, "longwave-worker");
}

static uint32_t
cores(void)
{
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof(set), &set) != 0)
        return 1;
    return (uint32_t)CPU_COUNT(&set);
}

static status
mpirun(text_list *list, const launch_setup *s, const char *place)
{
    status st;

    TRY(add(list, "mpirun"));
    for (size_t i = 0; i < sizeof(MPIRUN_FLAGS) / sizeof(*MPIRUN_FLAGS); i++)
        TRY(add(list, "%s", MPIRUN_FLAGS[i]));
    for (size_t i = 0; place && i < N_BACKING; i++) {
        TRY(add(list, "--mca"));
        TRY(add(list, "%s", BACKING[i]));
        TRY(add(list, "%s", place));
    }
    if (geteuid() == 0)
        TRY(add(list, "--allow-run-as-root"));
    if (s->workers > cores())
        TRY(add(list, "--oversubscribe"));
    TRY(add(list, "-n"));
    TRY(add(list, "%u", s->workers));
    TRY(add_worker(list));
    TRY(add(list, "--model"));
    TRY(add(list, "%s", s->model));
    TRY(add(list, "--daemon"));
    TRY(add(list, "%s", s->endpoint));
fail:
    return st;
}

static bool
is_ours(const char *variable)
{
    static const char *const names[] = {
        "LONGWAVE_MODEL=",        "LONGWAVE_DAEMON=",
        "LONGWAVE_LAUNCH_TOKEN=", "LONGWAVE_DEVICE=",
        "LONGWAVE_PLACEMENT=",    "LONGWAVE_THREADS=",
        "LONGWAVE_WEIGHTS=",      "LONGWAVE_MAX_CONTEXT=",
        "LONGWAVE_KEY=",          "LONGWAVE_SEGMENT=",
        "LONGWAVE_KEY_NORM=",     "LONGWAVE_LORA_ALPHA=",
        "LONGWAVE_SERVER_KEY=",   "LONGWAVE_STATE_TYPE=",
    };

    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (strncmp(variable, names[i], strlen(names[i])) == 0)
            return true;
    return false;
}

static status
given(text_list *list, const config_given *g)
{
    status st = ST_OK;

    if (g->segment_size > 0)
        TRY(add(list, "LONGWAVE_SEGMENT=%" PRIu64, g->segment_size));
    if (g->key_norm)
        TRY(add(list, "LONGWAVE_KEY_NORM=%s", g->key_norm));
    if (g->lora_alpha != 0)
        TRY(add(list, "LONGWAVE_LORA_ALPHA=%.17g", g->lora_alpha));
    if (g->state_type)
        TRY(add(list, "LONGWAVE_STATE_TYPE=%s", g->state_type));
fail:
    return st;
}

/* What --launch commands and ranks read instead of flags. */
static status
environment(text_list *list, const launch_setup *s, const char *place,
            uint64_t token)
{
    status st;

    for (char **variable = environ; *variable; variable++)
        if (!is_ours(*variable) &&
            !(place && strncmp(*variable, "TMPDIR=", 7) == 0))
            TRY(add_text(list, *variable));
    TRY(add(list, "LONGWAVE_MODEL=%s", s->model));
    TRY(add(list, "LONGWAVE_DAEMON=%s", s->endpoint));
    TRY(add(list, "LONGWAVE_LAUNCH_TOKEN=%" PRIu64, token));
    if (place) /* of mpirun's session files */
        TRY(add(list, "TMPDIR=%s", place));
    if (s->device)
        TRY(add(list, "LONGWAVE_DEVICE=%s", s->device));
    if (s->placement)
        TRY(add(list, "LONGWAVE_PLACEMENT=%s", s->placement));
    if (s->threads > 0)
        TRY(add(list, "LONGWAVE_THREADS=%u", s->threads));
    if (s->weights)
        TRY(add(list, "LONGWAVE_WEIGHTS=%s", s->weights));
    if (s->max_context > 0)
        TRY(add(list, "LONGWAVE_MAX_CONTEXT=%" PRIu64, s->max_context));
    TRY(given(list, &s->given));
    if (s->key) {
        TRY(add(list, "LONGWAVE_KEY=%s", s->key));
        TRY(add(list, "LONGWAVE_SERVER_KEY=%s", s->key));
    }
fail:
    return st;
}

status
launch_argv_new(launch_argv **out, const launch_setup *setup, const char *place,
                uint64_t token)
{
    launch_argv *a = NULL;
    status st;

    TRY(mem_new(&a, 1, sizeof(*a)));
    if (setup->command) {
        TRY(add(&a->list, "/bin/sh"));
        TRY(add(&a->list, "-c"));
        TRY(add(&a->list, "%s", setup->command));
    } else {
        TRY(mpirun(&a->list, setup, place));
    }
    TRY(environment(&a->environment, setup, place, token));
    *out = a;
    return ST_OK;
fail:
    launch_argv_free(a);
    return st;
}

static void
list_free(text_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        mem_free(list->item[i]);
    mem_free(list->item);
}

void
launch_argv_free(launch_argv *a)
{
    if (!a)
        return;
    list_free(&a->list);
    list_free(&a->environment);
    mem_free(a);
}

char *const *
launch_argv_list(const launch_argv *a)
{
    return a->list.item;
}

char *const *
launch_argv_environment(const launch_argv *a)
{
    return a->environment.item;
}
