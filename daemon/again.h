/* SPDX-License-Identifier: Apache-2.0 */
/* Once more, when memory or descriptors were short (ST_NOMEM): that says
 * nothing about what was to be done, and may pass.
 *
 * A value; zeroed is ready.  It is for what is tried again by a timer, not more
 * often than ten times a second, and has failed after ten seconds of failures.
 */
#ifndef DAEMON_AGAIN_H
#define DAEMON_AGAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

typedef struct again {
    uint64_t due_ns; /* not before; 0: nothing was short */
    unsigned n;      /* times in a row */
} again;

/* What was tried ended with `st`.  True: it is to be tried again; else `st` is
 * what has become of it. */
bool again_after(again *a, status st);
bool again_waits(const again *a);
/* True, once: now. */
bool again_is_due(again *a);

#endif
