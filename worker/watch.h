/* SPDX-License-Identifier: Apache-2.0 */
/* For how long somebody who has work has made no step, and how long his steps
 * take: what a hang is told from a slow step by.
 *
 * Pure: the caller brings the time.  A value; zeroed, with since_ns set to the
 * time, is ready. */
#ifndef WORKER_WATCH_H
#define WORKER_WATCH_H

#include <stdbool.h>
#include <stdint.h>

typedef struct watch {
    uint64_t steps;      /* as seen last */
    uint64_t since_ns;   /* when they were seen first, or nothing was due */
    uint64_t slowest_ns; /* of the latest steps, about; 0: none was seen yet */
    uint64_t stalled_ns; /* as of the last look; 0: nothing is due */
} watch;

/* What has been waited for, and the pace that it has to be judged by. */
typedef struct watch_stall {
    uint64_t ns, slowest_ns; /* as in a watch */
} watch_stall;

/* A look at time `now`: so many steps were made, and more are `due`.
 *
 * `away_ns`: for how long the watcher has not looked while steps could not have
 * been seen, 0 when nothing hides them.  Being away is no stall of the
 * watched: a stall that is seen has to be long beside that, too. */
void watch_look(watch *w, uint64_t steps, bool due, uint64_t now,
                uint64_t away_ns);
watch_stall watch_stall_of(const watch *w);
/* Whether `a` has lasted longer than `b`, each beside its own pace.  One of
 * which no step was seen has the pace of 30 s. */
bool watch_is_worse(const watch_stall *a, const watch_stall *b);

#endif
