/* SPDX-License-Identifier: Apache-2.0 */
/* Files of the data directory. */
#include "daemon/datadir.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "daemon/leftovers.h"

struct datadir {
    char *documents, *inputs, *checkpoints, *tmp;
    int lock;
    store *index;
};

/* --------------------------------------------------------------- opening ---
 */

static status
lock(datadir *d, const char *dir)
{
    char *path = NULL;
    status st;

    TRY(file_join(&path, dir, "lock"));
    d->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (d->lock < 0)
        TRY(status_fail(ST_IO, "%s: %s", path, strerror(errno)));
    if (flock(d->lock, LOCK_EX | LOCK_NB) != 0)
        TRY(status_fail(ST_STATE,
                        "the data directory '%s' is in use by another daemon",
                        dir));
fail:
    mem_free(path);
    return st;
}

static bool
wants_nothing(void *ctx, const char *name)
{
    (void)ctx;
    (void)name;
    return false;
}

/* With a new journal all that is there would be taken for leftovers. */
static status
check_journal(const datadir *d, const char *dir, const char *path)
{
    bool documents = false, inputs = false;
    status st = ST_OK;

    if (file_exists(path))
        return ST_OK;
    TRY(leftovers_there(&documents, d->documents));
    TRY(leftovers_there(&inputs, d->inputs));
    if (documents || inputs)
        TRY(status_fail(ST_STATE,
                        "'%s' has documents or inputs, and the journal "
                        "longwave.db is gone: put a backup in its place, or "
                        "name another directory",
                        dir));
fail:
    return st;
}

static status
open_index(datadir *d, const char *dir)
{
    char *path = NULL;
    status st;

    TRY(file_join(&path, dir, "longwave.db"));
    TRY(check_journal(d, dir, path));
    TRY(store_open(&d->index, path));
    TRY(file_sync_entry(path)); /* SQLite does not look at the result */
fail:
    mem_free(path);
    return st;
}

status
datadir_open(datadir **out, const char *dir)
{
    datadir *d = NULL;
    status st;

    TRY(mem_new(&d, 1, sizeof(*d)));
    d->lock = -1;
    TRY(file_mkdir(dir, true));
    TRY(lock(d, dir));
    TRY(file_join(&d->documents, dir, "documents"));
    TRY(file_join(&d->tmp, dir, "tmp"));
    TRY(file_join(&d->inputs, dir, "inputs"));
    TRY(file_join(&d->checkpoints, dir, "checkpoints"));
    TRY(file_mkdir(d->documents, true));
    TRY(file_mkdir(d->inputs, true));
    TRY(file_mkdir(d->checkpoints, true));
    TRY(file_mkdir(d->tmp, true));
    TRY(leftovers_sweep(d->tmp, leftovers_is_spool, wants_nothing, NULL));
    TRY(open_index(d, dir));
    *out = d;
    return ST_OK;
fail:
    datadir_close(d);
    return st;
}

void
datadir_close(datadir *d)
{
    if (!d)
        return;
    store_close(d->index);
    if (d->lock >= 0)
        (void)close(d->lock);
    mem_free(d->documents);
    mem_free(d->inputs);
    mem_free(d->checkpoints);
    mem_free(d->tmp);
    mem_free(d);
}

store *
datadir_store(datadir *d)
{
    return d->index;
}

const char *
datadir_tmp(const datadir *d)
{
    return d->tmp;
}

/* ----------------------------------------------------------------- files ---
 */

static status
path_of(const datadir *d, char **out, uint64_t id, const char *kind)
{
    char name[64];

    (void)snprintf(name, sizeof(name), "%" PRIu64 ".%s", id, kind);
    return file_join(out, d->documents, name);
}

status
datadir_snapshot_path(const datadir *d, char **out, uint64_t id)
{
    return path_of(d, out, id, "snap");
}

status
datadir_ids_path(const datadir *d, char **out, uint64_t id)
{
    return path_of(d, out, id, "ids");
}

status
datadir_input_path(const datadir *d, char **out, uint64_t id)
{
    char name[64];

    (void)snprintf(name, sizeof(name), "%" PRIu64 ".in", id);
    return file_join(out, d->inputs, name);
}

status
datadir_checkpoint_path(const datadir *d, char **out, uint64_t id,
                        uint64_t segment, uint32_t attempt)
{
    char name[64];

    (void)snprintf(name, sizeof(name),
                   "%" PRIu64 ".%" PRIu64 ".%" PRIu32 ".snap", id, segment,
                   attempt);
    return file_join(out, d->checkpoints, name);
}

/* Not synchronised: were it lost, the next start would do it again. */
status
datadir_name_checkpoint(const datadir *d, const store_checkpoint *k)
{
    char name[64];
    char *from = NULL;
    char *to = NULL;
    status st;

    (void)snprintf(name, sizeof(name), "%" PRIu64 ".%" PRIu64 ".snap", k->job,
                   k->segment);
    TRY(file_join(&from, d->checkpoints, name));
    TRY(datadir_checkpoint_path(d, &to, k->job, k->segment, k->attempt));
    if (rename(from, to) != 0 && errno != ENOENT)
        TRY(file_failed("rename", from));
fail:
    mem_free(from);
    mem_free(to);
    return st;
}

status
datadir_write_ids(datadir *d, document *doc, const spool *ids)
{
    int32_t *pending = NULL;
    char *path = NULL;
    status st;

    TRY(mem_new(&pending, doc->pending, sizeof(*pending)));
    TRY(spool_read(ids, pending, doc->tokens - doc->pending, doc->pending));
    TRY(datadir_ids_path(d, &path, doc->id));
    TRY(file_write(path, pending, doc->pending * sizeof(*pending)));
    hash_of(doc->ids_hash, pending, doc->pending * sizeof(*pending));
fail:
    mem_free(path);
    mem_free(pending);
    return st;
}

status
datadir_hash_ids(const datadir *d, document *doc)
{
    char *path = NULL, *data = NULL;
    size_t len;
    status st;

    TRY(datadir_ids_path(d, &path, doc->id));
    TRY(file_read(&data, &len, path, doc->pending * sizeof(int32_t)));
    hash_of(doc->ids_hash, data, len);
fail:
    mem_free(data);
    mem_free(path);
    return st;
}

status
datadir_remove_document(datadir *d, uint64_t id)
{
    char *snapshot = NULL;
    char *ids = NULL;
    status st;

    TRY(datadir_snapshot_path(d, &snapshot, id));
    TRY(datadir_ids_path(d, &ids, id));
    TRY(file_remove(snapshot));
    TRY(file_remove(ids));
fail:
    mem_free(snapshot);
    mem_free(ids);
    return st;
}

/* -------------------------------------------------------------- checking ---
 */

static status
check_size(const char *path, uint64_t bytes)
{
    struct stat info;

    if (stat(path, &info) != 0)
        return status_fail(ST_IO, "%s: %s", path, strerror(errno));
    if ((uint64_t)info.st_size != bytes)
        return status_fail(ST_IO, "%s has %lld bytes, not %llu", path,
                           (long long)info.st_size, (unsigned long long)bytes);
    return ST_OK;
}

status
datadir_check_document(const datadir *d, const document *doc)
{
    char *path = NULL;
    status st;

    TRY(datadir_ids_path(d, &path, doc->id));
    TRY(check_size(path, doc->pending * sizeof(int32_t)));
    if (doc->snapshot_bytes > 0) {
        mem_free(path);
        path = NULL;
        TRY(datadir_snapshot_path(d, &path, doc->id));
        TRY(check_size(path, doc->snapshot_bytes));
    }
fail:
    mem_free(path);
    return st;
}

typedef struct asking {
    datadir_known_fn *known;
    void *ctx;
} asking;

static bool
knows_document(void *ctx, const char *name)
{
    asking *a = ctx;
    char kind[8];
    uint64_t id;
    int end = 0;

    return sscanf(name, "%" SCNu64 ".%7[a-z]%n", &id, kind, &end) == 2 &&
           name[end] == '\0' &&
           (!strcmp(kind, "snap") || !strcmp(kind, "ids")) &&
           a->known(a->ctx, kind, id, 0, 0);
}

static bool
knows_input(void *ctx, const char *name)
{
    asking *a = ctx;
    uint64_t id;
    int end = 0;

    return sscanf(name, "%" SCNu64 ".in%n", &id, &end) == 1 && end > 0 &&
           name[end] == '\0' && a->known(a->ctx, "in", id, 0, 0);
}

static bool
knows_checkpoint(void *ctx, const char *name)
{
    asking *a = ctx;
    uint64_t id;
    uint64_t segment;
    uint32_t attempt;
    int end = 0;

    return sscanf(name, "%" SCNu64 ".%" SCNu64 ".%" SCNu32 ".snap%n", &id,
                  &segment, &attempt, &end) == 3 &&
           end > 0 && name[end] == '\0' &&
           a->known(a->ctx, "checkpoint", id, segment, attempt);
}

status
datadir_sweep(datadir *d, datadir_known_fn *known, void *ctx)
{
    asking a = {.known = known, .ctx = ctx};
    status st;

    TRY(leftovers_sweep(d->documents, leftovers_is_file, knows_document, &a));
    TRY(leftovers_sweep(d->inputs, leftovers_is_file, knows_input, &a));
    TRY(leftovers_sweep(d->checkpoints, leftovers_is_file, knows_checkpoint,
                        &a));
fail:
    return st;
}
