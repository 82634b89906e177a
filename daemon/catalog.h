/* SPDX-License-Identifier: Apache-2.0 */
/* The documents that the daemon has, in memory, by name and owner.
 *
 * What `list`, `show` and `ask` need to know without touching the disk; the
 * store holds the same rows.  Pure; loop thread. */
#ifndef DAEMON_CATALOG_H
#define DAEMON_CATALOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "proto/client_message.h"

/* So many fit in one DocumentList message with names of any length. */
enum { CATALOG_MAX = 2500, CATALOG_MAX_OWNER = 64 };

typedef struct document {
    uint64_t id; /* of the job that added it; names its files */
    char name[CLIENT_MAX_NAME + 1];
    char owner[CATALOG_MAX_OWNER + 1]; /* each has names of his own */
    uint8_t fingerprint[32]; /* of the model that read it; zeros: none yet */
    uint8_t template[32]; /* around its text, of the ids; zeros: none known */
    uint8_t hash[32];     /* of its snapshot; zeros: none, or not known yet */
    uint8_t ids_hash[32]; /* of its last ids; likewise */
    uint64_t tokens;
    uint64_t segments;            /* with the pending one */
    uint64_t snapshot_bytes;      /* 0: one segment, all of it pending */
    uint32_t pending;             /* tokens of the last segment */
    uint32_t n_norm;              /* layers, or 0: not measured */
    float norm[CLIENT_MAX_LAYER]; /* Euclidean, of each layer's state */
    int64_t created_ms;
    uint32_t users; /* jobs that ask it */
    bool damaged;   /* its row or its files are not what was written */
    bool removing;  /* on its way out: nobody sees it any more */
} document;

/* Whether some world's model left its mark on the document. */
bool document_has_model(const document *doc);
/* Whether something stood around its text, or was known not to. */
bool document_has_template(const document *doc);

typedef struct catalog catalog;

status catalog_new(catalog **out) MUST_USE;
void catalog_free(catalog *c);

size_t catalog_count(const catalog *c);
document *catalog_at(const catalog *c, size_t i); /* by name, then owner */
/* NULL: none.  Those on their way out are found too. */
document *catalog_find(const catalog *c, const char *owner, const char *name);
/* The first of `*n` documents with the name, whoever owns them. */
document *catalog_find_any(const catalog *c, size_t *n, const char *name);
document *catalog_by_id(const catalog *c, uint64_t id);

/* The next `n` documents can be added without memory, unless their owner has
 * the name.  ST_LIMIT: full; ST_NOMEM. */
status catalog_reserve(catalog *c, size_t n) MUST_USE;
/* Copies `doc`.  ST_STATE: its owner has the name; ST_LIMIT: full. */
status catalog_add(catalog *c, const document *doc) MUST_USE;
void catalog_remove(catalog *c, uint64_t id);

#endif
