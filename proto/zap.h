/* SPDX-License-Identifier: Apache-2.0 */
/* The doorkeeper: a thread that answers libzmq's question (ZAP, RFC 27)
 * whether the holder of a key may come in, from an allow-list.
 *
 * One in the life of a context, made before any guarded socket is bound and
 * ended after all of them are closed.  Without it a guarded socket lets nobody
 * in.  What a key may do once it is in is for its messages' receiver to ask,
 * each time: a key that was taken off the list is out at once. */
#ifndef PROTO_ZAP_H
#define PROTO_ZAP_H

#include "proto/allowlist.h"
#include "proto/socket.h"

typedef struct zap zap;

/* Starts with nobody on the list.  ST_NOMEM; ST_IO: no thread, or the context
 * has a doorkeeper. */
status zap_new(zap **out, zcontext *z) MUST_USE;
void zap_free(zap *d);

/* From now on this list counts; *list is taken, and then NULL. */
void zap_take_list(zap *d, allowlist **list);
/* `key` (borrowed) has these roles whatever the list says. */
void zap_trust(zap *d, const char *key, unsigned roles);
/* Roles of a key now, 0: none.  Any thread. */
unsigned zap_roles(zap *d, const char *key);

/* Knocks at a guarded endpoint of this process with a key made for that, and
 * waits a few seconds for the refusal.  ST_DENIED: it did not come, so the door
 * does not close. */
status zap_check(zcontext *z, const char *endpoint,
                 const char *server_key) MUST_USE;

#endif
