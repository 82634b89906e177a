/* SPDX-License-Identifier: Apache-2.0 */
/* Who may come in, and as what: the daemon's key, its list of other keys, and
 * the start-up check that the door closes.
 *
 * Peers of an ipc socket are this user, and those of --allow-local-users are
 * taken for him: they may do everything.  Loop thread. */
#ifndef DAEMON_DOOR_H
#define DAEMON_DOOR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "proto/allowlist.h"
#include "proto/socket.h"

typedef struct door door;

/* What peers without a key own their documents and jobs as. */
#define DOOR_LOCAL "local"

typedef struct door_setup {
    const char *key;        /* file of our own key, NULL: no keys */
    const char *authorized; /* file of the keys that may come in */
    bool allow_local_users;
} door_setup;

/* Before any socket is bound.  Copies the setup.  ST_DENIED: what was given is
 * not safe (a key without a list of at least one other, a list with a line
 * that cannot be understood, files that others may read or write); ST_ARG. */
status door_open(door **out, zcontext *z, const door_setup *setup) MUST_USE;
void door_close(door *d); /* after all sockets */

/* For zsocket_router(). */
const zsocket_guard *door_guard(const door *d, zsocket_domain domain);
/* After an endpoint is bound: ST_DENIED when a stranger gets in. */
status door_check(const door *d, const char *endpoint) MUST_USE;

/* What the sender of a message may do now: allowlist roles, 0: nothing. */
unsigned door_roles(const door *d, const char *user);
/* Reads the list again when its file has changed; a list that cannot be read
 * lets nobody in. */
void door_tick(door *d, uint64_t now_ns);

#endif
