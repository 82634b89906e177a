/* SPDX-License-Identifier: Apache-2.0 */
/* What longwaved was told: flags, environment, defaults. */
#ifndef DAEMON_SETTINGS_H
#define DAEMON_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "model/config.h"

typedef struct settings {
    const char *model, *device, *placement, *weights, *launch;
    const char *template;                      /* as template_open() takes it */
    config_given given;                        /* beside config.json */
    const char *listen, *listen_worlds, *data; /* never NULL after parsing */
    const char *key, *authorized;              /* files, NULL: none */
    bool allow_local_users, verbose, json;
    uint64_t workers;              /* 0: no local world by mpirun */
    uint64_t threads, max_context; /* 0: the worker's own default */
    uint64_t max_question, max_input, max_queue, max_tokens, max_queued_bytes,
        key_share;
    uint64_t keep;                /* days */
    uint64_t checkpoint_segments; /* 0: no checkpoints */
    double checkpoint_seconds, hang_seconds, start_seconds, drain_seconds;
    bool exit_without_world;
    char *owned[4]; /* defaults that were made up */
} settings;

/* *done: --help or --version was printed.  ST_ARG. */
status settings_parse(settings *out, int argc, char **argv,
                      bool *done) MUST_USE;
void settings_fini(settings *s);

#endif
