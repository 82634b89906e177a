/* SPDX-License-Identifier: Apache-2.0 */
/* SQL of the index of documents and jobs. */
#include "daemon/store.h"

#include <stdio.h>
#include <string.h>

#include <sqlite3.h>

#include "base/mem.h"

enum { SCHEMA_VERSION = 1 };

struct store {
    sqlite3 *db;
};

static const char *const SCHEMA =
    "CREATE TABLE document ("
    "  id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,"
    "  fingerprint BLOB NOT NULL, tokens INTEGER NOT NULL,"
    "  segments INTEGER NOT NULL, snapshot_bytes INTEGER NOT NULL,"
    "  pending INTEGER NOT NULL, created_ms INTEGER NOT NULL) STRICT;"
    "CREATE TABLE job ("
    "  id INTEGER PRIMARY KEY, kind INTEGER NOT NULL,"
    "  state INTEGER NOT NULL, document TEXT NOT NULL,"
    "  created_ms INTEGER NOT NULL, tokens INTEGER NOT NULL,"
    "  segments_done INTEGER NOT NULL, segments_total INTEGER NOT NULL,"
    "  code INTEGER NOT NULL, text TEXT NOT NULL) STRICT;"
    "PRAGMA user_version = 1;";

static status
store_status(const store *s)
{
    return status_fail(ST_IO, "the index of documents: %s",
                       sqlite3_errmsg(s->db));
}

static status
execute(store *s, const char *sql)
{
    if (sqlite3_exec(s->db, sql, NULL, NULL, NULL) != SQLITE_OK)
        return store_status(s);
    return ST_OK;
}

/* ------------------------------------------------------------ statements ---
 */

static status
prepare(store *s, sqlite3_stmt **out, const char *sql)
{
    if (sqlite3_prepare_v2(s->db, sql, -1, out, NULL) != SQLITE_OK)
        return store_status(s);
    return ST_OK;
}

/* Runs a statement that gives no rows, and ends it. */
static status
finish(store *s, sqlite3_stmt *q)
{
    status st = sqlite3_step(q) == SQLITE_DONE ? ST_OK : store_status(s);

    (void)sqlite3_finalize(q);
    return st;
}

/* Binding fails only when memory is out, which the step then reports: a value
 * that is not bound is NULL, and no column takes NULL. */
static void
bind_number(sqlite3_stmt *q, int i, uint64_t value)
{
    (void)sqlite3_bind_int64(q, i, (sqlite3_int64)value);
}

static void
bind_text(sqlite3_stmt *q, int i, const char *text)
{
    (void)sqlite3_bind_text(q, i, text, -1, SQLITE_TRANSIENT);
}

static uint64_t
number(sqlite3_stmt *q, int column)
{
    return (uint64_t)sqlite3_column_int64(q, column);
}

static void
text(sqlite3_stmt *q, int column, char *out, size_t size)
{
    const unsigned char *value = sqlite3_column_text(q, column);

    (void)snprintf(out, size, "%s", value ? (const char *)value : "");
}

/* --------------------------------------------------------------- opening ---
 */

static status
version(store *s, uint64_t *out)
{
    sqlite3_stmt *q = NULL;
    status st;

    TRY(prepare(s, &q, "PRAGMA user_version"));
    if (sqlite3_step(q) != SQLITE_ROW)
        TRY(store_status(s));
    *out = number(q, 0);
fail:
    (void)sqlite3_finalize(q);
    return st;
}

static status
migrate(store *s)
{
    uint64_t v;
    status st;

    TRY(version(s, &v));
    if (v == SCHEMA_VERSION)
        return ST_OK;
    if (v > SCHEMA_VERSION)
        TRY(status_fail(ST_UNSUPPORTED,
                        "the data directory is of version %llu, and this "
                        "program knows version %d",
                        (unsigned long long)v, SCHEMA_VERSION));
    TRY(execute(s, "BEGIN IMMEDIATE"));
    TRY(execute(s, SCHEMA));
    TRY(execute(s, "COMMIT"));
fail:
    return st;
}

status
store_open(store **out, const char *path)
{
    store *s = NULL;
    status st;

    TRY(mem_new(&s, 1, sizeof(*s)));
    if (sqlite3_open_v2(path, &s->db,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
                            SQLITE_OPEN_NOMUTEX,
                        NULL) != SQLITE_OK)
        TRY(store_status(s));
    TRY(execute(s, "PRAGMA journal_mode = WAL"));
    TRY(execute(s, "PRAGMA synchronous = FULL"));
    TRY(execute(s, "PRAGMA trusted_schema = OFF"));
    TRY(migrate(s));
    *out = s;
    return ST_OK;
fail:
    store_close(s);
    return st;
}

void
store_close(store *s)
{
    if (!s)
        return;
    (void)sqlite3_close(s->db);
    mem_free(s);
}

/* ------------------------------------------------------------- documents ---
 */

static status
insert_document(store *s, const document *doc)
{
    sqlite3_stmt *q = NULL;
    status st;

    TRY(prepare(s, &q, "INSERT INTO document VALUES (?,?,?,?,?,?,?,?)"));
    bind_number(q, 1, doc->id);
    bind_text(q, 2, doc->name);
    (void)sqlite3_bind_blob(q, 3, doc->fingerprint, sizeof(doc->fingerprint),
                            SQLITE_TRANSIENT);
    bind_number(q, 4, doc->tokens);
    bind_number(q, 5, doc->segments);
    bind_number(q, 6, doc->snapshot_bytes);
    bind_number(q, 7, doc->pending);
    bind_number(q, 8, (uint64_t)doc->created_ms);
    return finish(s, q);
fail:
    return st;
}

static status
mark_done(store *s, uint64_t id)
{
    sqlite3_stmt *q = NULL;
    status st;

    TRY(prepare(s, &q, "UPDATE job SET state = ? WHERE id = ?"));
    bind_number(q, 1, CLIENT_STATE_DONE);
    bind_number(q, 2, id);
    return finish(s, q);
fail:
    return st;
}

status
store_add_document(store *s, const document *doc)
{
    status st;

    TRY(execute(s, "BEGIN IMMEDIATE"));
    st = insert_document(s, doc);
    if (st == ST_OK)
        st = mark_done(s, doc->id);
    if (st == ST_OK)
        st = execute(s, "COMMIT");
    if (st != ST_OK)
        (void)sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
fail:
    return st;
}

status
store_remove_document(store *s, uint64_t id)
{
    sqlite3_stmt *q = NULL;
    status st;

    TRY(prepare(s, &q, "DELETE FROM document WHERE id = ?"));
    bind_number(q, 1, id);
    return finish(s, q);
fail:
    return st;
}

/* A row is trusted as far as its own numbers agree with each other. */
static status
read_document(sqlite3_stmt *q, document *doc)
{
    *doc = (document){.id = number(q, 0),
                      .tokens = number(q, 3),
                      .segments = number(q, 4),
                      .snapshot_bytes = number(q, 5),
                      .pending = (uint32_t)number(q, 6),
                      .created_ms = sqlite3_column_int64(q, 7)};
    text(q, 1, doc->name, sizeof(doc->name));
    if (sqlite3_column_bytes(q, 2) == sizeof(doc->fingerprint))
        memcpy(doc->fingerprint, sqlite3_column_blob(q, 2),
               sizeof(doc->fingerprint));
    if (doc->pending == 0 || doc->pending > doc->tokens || doc->segments == 0 ||
        (doc->segments > 1) != (doc->snapshot_bytes > 0))
        return status_fail(ST_IO, "the row of document '%s' is damaged",
                           doc->name);
    return ST_OK;
}

status
store_each_document(store *s, store_document_fn *fn, void *ctx)
{
    sqlite3_stmt *q = NULL;
    document doc;
    int rc;
    status st;

    TRY(prepare(s, &q, "SELECT * FROM document ORDER BY id"));
    while ((rc = sqlite3_step(q)) == SQLITE_ROW) {
        TRY(read_document(q, &doc));
        TRY(fn(ctx, &doc));
    }
    if (rc != SQLITE_DONE)
        TRY(store_status(s));
fail:
    (void)sqlite3_finalize(q);
    return st;
}

/* ------------------------------------------------------------------ jobs ---
 */

status
store_put_job(store *s, const store_job *j)
{
    sqlite3_stmt *q = NULL;
    status st;

    TRY(prepare(s, &q,
                "INSERT OR REPLACE INTO job VALUES (?,?,?,?,?,?,?,?,?,?)"));
    bind_number(q, 1, j->id);
    bind_number(q, 2, j->kind);
    bind_number(q, 3, j->state);
    bind_text(q, 4, j->document);
    bind_number(q, 5, (uint64_t)j->created_ms);
    bind_number(q, 6, j->tokens);
    bind_number(q, 7, j->segments_done);
    bind_number(q, 8, j->segments_total);
    bind_number(q, 9, j->st);
    bind_text(q, 10, j->text);
    return finish(s, q);
fail:
    return st;
}

status
store_fail_unfinished(store *s, const char *why)
{
    sqlite3_stmt *q = NULL;
    status st;

    TRY(prepare(s, &q,
                "UPDATE job SET state = ?, code = ?, text = ? "
                "WHERE state NOT IN (?, ?, ?)"));
    bind_number(q, 1, CLIENT_FAILED);
    bind_number(q, 2, ST_STATE);
    bind_text(q, 3, why);
    bind_number(q, 4, CLIENT_STATE_DONE);
    bind_number(q, 5, CLIENT_FAILED);
    bind_number(q, 6, CLIENT_CANCELED);
    return finish(s, q);
fail:
    return st;
}

status
store_forget_jobs(store *s, uint32_t keep)
{
    sqlite3_stmt *q = NULL;
    status st;

    TRY(prepare(s, &q,
                "DELETE FROM job WHERE id <= (SELECT max(id) FROM job) - ?"));
    bind_number(q, 1, keep);
    return finish(s, q);
fail:
    return st;
}

static status
read_job(sqlite3_stmt *q, store_job *j)
{
    uint64_t state = number(q, 2);
    uint64_t code = number(q, 8);

    if (state > CLIENT_CANCELED || code >= ST_COUNT)
        return status_fail(ST_IO, "the row of job %llu is damaged",
                           (unsigned long long)number(q, 0));
    *j = (store_job){.id = number(q, 0),
                     .kind = number(q, 1) == JOB_ADD ? JOB_ADD : JOB_ASK,
                     .state = (client_state)state,
                     .created_ms = sqlite3_column_int64(q, 4),
                     .tokens = number(q, 5),
                     .segments_done = number(q, 6),
                     .segments_total = number(q, 7),
                     .st = (status)code};
    text(q, 3, j->document, sizeof(j->document));
    text(q, 9, j->text, sizeof(j->text));
    return ST_OK;
}

status
store_each_job(store *s, uint32_t max, store_job_fn *fn, void *ctx)
{
    sqlite3_stmt *q = NULL;
    store_job j;
    int rc;
    status st;

    TRY(prepare(s, &q,
                "SELECT * FROM (SELECT * FROM job ORDER BY id DESC LIMIT ?) "
                "ORDER BY id"));
    bind_number(q, 1, max);
    while ((rc = sqlite3_step(q)) == SQLITE_ROW) {
        TRY(read_job(q, &j));
        TRY(fn(ctx, &j));
    }
    if (rc != SQLITE_DONE)
        TRY(store_status(s));
fail:
    (void)sqlite3_finalize(q);
    return st;
}

status
store_next_job(store *s, uint64_t *out)
{
    sqlite3_stmt *q = NULL;
    status st;

    TRY(prepare(s, &q,
                "SELECT 1 + max((SELECT coalesce(max(id), 0) FROM job), "
                "(SELECT coalesce(max(id), 0) FROM document))"));
    if (sqlite3_step(q) != SQLITE_ROW)
        TRY(store_status(s));
    *out = number(q, 0);
fail:
    (void)sqlite3_finalize(q);
    return st;
}
