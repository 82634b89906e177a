/* SPDX-License-Identifier: Apache-2.0 */
/* Keys of CurveZMQ in files: who one is, and whom one trusts.
 *
 *   # a comment
 *   public = 40 characters (Z85 of 32 bytes)
 *   secret = 40 characters      only in a file of mode 0600
 *   server = 40 characters      of a client or a world: the daemon's public key
 *
 * A public key names its holder everywhere: on allow-lists, as the owner of
 * documents and jobs, in the log. */
#ifndef PROTO_KEYFILE_H
#define PROTO_KEYFILE_H

#include <stdbool.h>

#include "base/status.h"

enum { KEYFILE_SIZE = 41 }; /* a key as text, and NUL */

typedef struct keyfile {
    char public_key[KEYFILE_SIZE];
    char secret_key[KEYFILE_SIZE]; /* never in a log or an argument */
    char server_key[KEYFILE_SIZE]; /* "": none */
} keyfile;

/* 40 characters that are the text of some 32 bytes. */
bool keyfile_is_key(const char *text);

/* A new pair without a server, whose public key does not begin with a dash and
 * so is no flag where it is an argument.  ST_UNSUPPORTED: libzmq has no CURVE.
 */
status keyfile_generate(keyfile *out) MUST_USE;
/* Reads a pair, and checks that its halves belong together.  ST_DENIED: the
 * file is not this user's alone; ST_ARG: no key file; as secret_read(). */
status keyfile_read(keyfile *out, const char *path) MUST_USE;
/* The same for one who connects: `server`, a file with the daemon's public key
 * that others may not write, wins over the one that `path` names.  ST_ARG too:
 * neither names one. */
status keyfile_read_client(keyfile *out, const char *path,
                           const char *server) MUST_USE;
/* The public key of a pair or of the .pub file beside it, whoever owns it. */
status keyfile_read_public(char out[KEYFILE_SIZE], const char *path) MUST_USE;
/* Makes `path` (0600), then `path`.pub.  ST_STATE: one of them is there, and
 * stays; a `path`.pub that an interrupted call did not come to is made from the
 * key at `path`, and the failure says so. */
status keyfile_create(const keyfile *k, const char *path) MUST_USE;
void keyfile_wipe(keyfile *k); /* NULL and zeroed are fine */

#endif
