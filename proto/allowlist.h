/* SPDX-License-Identifier: Apache-2.0 */
/* Which keys may come in, and as what.  A file with one key a line:
 *
 *   # a comment
 *   client,admin rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7 name for people
 *
 * A line that cannot be understood lets nobody in. */
#ifndef PROTO_ALLOWLIST_H
#define PROTO_ALLOWLIST_H

#include <stddef.h>

#include "base/status.h"
#include "proto/keyfile.h"

enum {
    ALLOWLIST_CLIENT = 1, /* add, ask, list ... what is its own */
    ALLOWLIST_WORLD = 2,  /* compute */
    ALLOWLIST_ADMIN = 4,  /* what everybody owns, and shutdown */
    ALLOWLIST_MAX = 4096, /* keys */
    ALLOWLIST_NAME = 64   /* bytes of a name */
};

typedef struct allowlist allowlist;

/* Roles from "client,world"; 0: not roles. */
unsigned allowlist_roles(const char *text);

/* ST_DENIED: somebody else may write the file; as secret_read(). */
status allowlist_read(allowlist **out, const char *path) MUST_USE;
/* From the text of a file. */
status allowlist_parse(allowlist **out, const char *text, size_t len) MUST_USE;
void allowlist_free(allowlist *l);

/* "" or what is wrong with the first line that was left out. */
const char *allowlist_fault(const allowlist *l);
size_t allowlist_count(const allowlist *l);
/* Roles of a key, 0: none. */
unsigned allowlist_find(const allowlist *l, const char *key);

/* Puts one key's line into the file, or takes it out when `roles` is 0
 * (ST_NOTFOUND: it is not there).  Everything else in the file stays.  ST_ARG:
 * no key, no roles, or a name that does not fit on its line. */
status allowlist_edit(const char *path, const char *key, unsigned roles,
                      const char *name) MUST_USE;

#endif
