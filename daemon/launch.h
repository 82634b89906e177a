/* SPDX-License-Identifier: Apache-2.0 */
/* The local world's process: started, watched, restarted with growing pauses
 * (at once with the longest, of half a minute, where no start has joined and
 * the exit status says that its command line or model cannot be used), ended.
 *
 * It runs in a process group of its own, inherits no descriptor but stderr,
 * and is told to end when the daemon dies.  Loop thread; nothing blocks
 * longer than an exec. */
#ifndef DAEMON_LAUNCH_H
#define DAEMON_LAUNCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "model/config.h"

typedef struct launch launch;

typedef struct launch_setup {
    const char *command; /* for /bin/sh -c; NULL: mpirun of `workers` ranks */
    uint32_t workers;
    const char *model, *endpoint, *device, *placement, *weights;
    config_given given;   /* beside config.json */
    uint32_t threads;     /* 0: the worker's own default */
    uint64_t max_context; /* as it */
    uint64_t start_ms;    /* until it must have joined; 0: any time */
    const char *key;  /* file of the daemon's key, for worlds by TCP, or NULL */
    const char *data; /* data directory (launch_place.h), or NULL */
} launch_setup;

typedef enum launch_state {
    LAUNCH_STARTED = 0, /* `why` is "", or why the one before ended */
    LAUNCH_ENDED        /* will be tried again after a while */
} launch_state;

/* `token` is what the workers of this start will say in Hello. */
typedef void launch_fn(void *ctx, launch_state state, uint64_t token,
                       const char *why);

/* Copies the setup. */
status launch_new(launch **out, const launch_setup *setup, launch_fn *fn,
                  void *ctx) MUST_USE;
/* Kills what still runs, and removes what worlds left in shared memory. */
void launch_free(launch *l);

/* Starts the first time; a failure is reported and tried again like an end. */
void launch_start(launch *l);
/* After SIGCHLD. */
void launch_reap(launch *l);
/* Several times a second: restarts and deadlines. */
void launch_tick(launch *l);
/* No restart any more; SIGTERM after `grace_ms`, SIGKILL later. */
void launch_stop(launch *l, uint32_t grace_ms);
/* Ends the start `token`, if it is the present one and has not ended by itself
 * in `grace_ms`: only then its exit status is known. */
void launch_kill(launch *l, uint64_t token, uint32_t grace_ms);
bool launch_is_running(const launch *l);
/* The world of this start has gone and will say hello again: it has as long as
 * it had to join at first. */
void launch_await(launch *l, uint64_t token);
/* The world of this start has said hello. */
void launch_joined(launch *l, uint64_t token);
/* Something was achieved: earlier ends do not count any more, and the next
 * start but the one that is due waits as long as the first did. */
void launch_progress(launch *l);
/* It ended 5 times in 10 minutes without any progress, or cannot be used. */
bool launch_is_hopeless(const launch *l);

#endif
