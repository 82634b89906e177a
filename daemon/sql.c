/* SPDX-License-Identifier: Apache-2.0 */
/* SQLite's calls in the project's words. */
#include "daemon/sql.h"

#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>

#include <sqlite3.h>

#include "base/crc.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"

enum { MAX_QUERY = 64, WAL_PAGES = 1000 };
enum { NFS = 0x6969, LUSTRE = 0x0BD00BD0 }; /* f_type of statfs(2) */

struct sql_query {
    const char *text;
    sqlite3_stmt *statement;
    sql *owner;
};

struct sql {
    sqlite3 *db;
    sql_query query[MAX_QUERY];
    size_t n_query;
    bool begun; /* a transaction that nobody has ended */
};

static status
failed(sql *s)
{
    int code = sqlite3_extended_errcode(s->db);

    if (code == SQLITE_IOERR_FSYNC || code == SQLITE_IOERR_DIR_FSYNC)
        file_sync_fail();
    if ((code & 0xff) == SQLITE_CORRUPT || (code & 0xff) == SQLITE_NOTADB)
        return status_fail(ST_IO,
                           "the journal: %s: put a backup in its place, or "
                           "what \"sqlite3 longwave.db .recover\" saves",
                           sqlite3_errmsg(s->db));
    return status_fail(ST_IO, "the journal: %s", sqlite3_errmsg(s->db));
}

/* SQLite's own checkpoints say nothing when the disk fails, and the log is
 * still whole then; but that disk cannot be trusted any more. */
static void
checkpoint(sql *s)
{
    if (sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL,
                                  NULL) != SQLITE_OK &&
        failed(s) != ST_OK)
        log_error("%s", status_text());
}

static int
on_commit(void *ctx, sqlite3 *db, const char *name, int n_page)
{
    (void)db;
    (void)name;
    if (n_page >= WAL_PAGES)
        checkpoint(ctx);
    return SQLITE_OK;
}

/* ------------------------------------------------------------- checksums ---
 */

static uint32_t
crc_of(uint32_t crc, sqlite3_value *value)
{
    int type = sqlite3_value_type(value);
    sqlite3_int64 number = 0; /* or a length */
    double real = 0;
    const void *data = NULL;

    if (type == SQLITE_INTEGER)
        number = sqlite3_value_int64(value);
    else if (type == SQLITE_FLOAT)
        real = sqlite3_value_double(value);
    else if (type == SQLITE_TEXT)
        data = sqlite3_value_text(value);
    else if (type == SQLITE_BLOB)
        data = sqlite3_value_blob(value);
    if (type == SQLITE_TEXT || type == SQLITE_BLOB)
        number = sqlite3_value_bytes(value);
    real = real == 0 ? 0 : real; /* -0.0 comes back without its sign */
    crc = crc_add(crc, &type, sizeof(type));
    crc = crc_add(crc, &number, sizeof(number));
    crc = crc_add(crc, &real, sizeof(real));
    return data ? crc_add(crc, data, (size_t)number) : crc;
}

static void
row_crc(sqlite3_context *to, int n, sqlite3_value **value)
{
    uint32_t crc = 0;

    for (int i = 0; i < n; i++)
        crc = crc_of(crc, value[i]);
    sqlite3_result_int64(to, crc);
}

/* --------------------------------------------------------------- opening ---
 */

/* The shared memory of a write-ahead log does not work over a network. */
static status
set_mode(sql *s, const char *path)
{
    struct statfs fs;
    bool remote = statfs(path, &fs) == 0 &&
                  (fs.f_type == NFS || fs.f_type == (long)LUSTRE);
    status st;

    if (remote)
        TRY(sql_execute(s, "PRAGMA locking_mode = EXCLUSIVE"));
    TRY(sql_execute(s, remote ? "PRAGMA journal_mode = DELETE"
                              : "PRAGMA journal_mode = WAL"));
    /* What ends a transaction without a log is that its journal is removed:
     * only EXTRA writes the directory, too. */
    TRY(sql_execute(s, remote ? "PRAGMA synchronous = EXTRA"
                              : "PRAGMA synchronous = FULL"));
    TRY(sql_execute(s, "PRAGMA trusted_schema = OFF"));
fail:
    return st;
}

status
sql_open(sql **out, const char *path)
{
    sql *s = NULL;
    status st;

    TRY(mem_new(&s, 1, sizeof(*s)));
    if (sqlite3_open_v2(path, &s->db,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
                            SQLITE_OPEN_NOMUTEX,
                        NULL) != SQLITE_OK)
        TRY(failed(s));
    TRY(set_mode(s, path));
    if (sqlite3_create_function(s->db, "row_crc", -1,
                                SQLITE_UTF8 | SQLITE_DETERMINISTIC, NULL,
                                row_crc, NULL, NULL) != SQLITE_OK)
        TRY(failed(s));
    (void)sqlite3_wal_hook(s->db, on_commit, s);
    *out = s;
    return ST_OK;
fail:
    sql_close(s);
    return st;
}

void
sql_close(sql *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->n_query; i++)
        (void)sqlite3_finalize(s->query[i].statement);
    if (s->db)
        checkpoint(s);
    (void)sqlite3_close(s->db);
    mem_free(s);
}

/* ---------------------------------------------------------- transactions ---
 */

status
sql_execute(sql *s, const char *text)
{
    if (sqlite3_exec(s->db, text, NULL, NULL, NULL) != SQLITE_OK)
        return failed(s);
    return ST_OK;
}

static status
run_text(sql *s, const char *text)
{
    sql_query *q;
    status st = sql_start(s, &q, text);

    return st == ST_OK ? sql_run(q) : st;
}

status
sql_begin(sql *s)
{
    static const char text[] = "BEGIN IMMEDIATE";
    status st = run_text(s, text);

    s->begun = st == ST_OK;
    return st;
}

/* A full disk, an error of it or too little memory can make SQLite roll all of
 * the transaction back on its own: what followed would each be committed by
 * itself, before a COMMIT that then fails. */
static status
check_begun(const sql *s)
{
    if (s->begun && sqlite3_get_autocommit(s->db) != 0)
        return status_fail(ST_IO, "the journal: the transaction was rolled "
                                  "back");
    return ST_OK;
}

status
sql_commit(sql *s)
{
    static const char text[] = "COMMIT";
    status st = run_text(s, text);

    if (st != ST_OK && sqlite3_get_autocommit(s->db) == 0)
        (void)sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    s->begun = false;
    return st;
}

status
sql_change_begin(sql *s)
{
    static const char text[] = "SAVEPOINT change";

    return run_text(s, text);
}

status
sql_change_end(sql *s, status st)
{
    static const char keep[] = "RELEASE change";
    static const char undo[] = "ROLLBACK TO change";
    char why[256];

    if (st == ST_OK)
        return run_text(s, keep);
    (void)snprintf(why, sizeof(why), "%s", status_text());
    if (run_text(s, undo) != ST_OK || run_text(s, keep) != ST_OK)
        log_error("a change of the journal cannot be taken back");
    return status_fail(st, "%s", why);
}

/* ------------------------------------------------------------ statements ---
 */

static sql_query *
find(sql *s, const char *text)
{
    for (size_t i = 0; i < s->n_query; i++)
        if (s->query[i].text == text)
            return &s->query[i];
    return NULL;
}

status
sql_start(sql *s, sql_query **out, const char *text)
{
    sql_query *q = find(s, text);
    status st = check_begun(s);

    if (st != ST_OK)
        return st;
    if (!q) {
        ASSERT(s->n_query < MAX_QUERY);
        q = &s->query[s->n_query];
        *q = (sql_query){.text = text, .owner = s};
        if (sqlite3_prepare_v3(s->db, text, -1, SQLITE_PREPARE_PERSISTENT,
                               &q->statement, NULL) != SQLITE_OK)
            return failed(s);
        s->n_query++;
    }
    *out = q;
    return ST_OK;
}

/* Binding fails only when memory is out, which the step then reports: a value
 * that is not bound is NULL. */
void
sql_put_number(sql_query *q, int i, uint64_t value)
{
    (void)sqlite3_bind_int64(q->statement, i, (sqlite3_int64)value);
}

void
sql_put_real(sql_query *q, int i, double value)
{
    (void)sqlite3_bind_double(q->statement, i, value);
}

void
sql_put_text(sql_query *q, int i, const char *text)
{
    (void)sqlite3_bind_text(q->statement, i, text, -1, SQLITE_STATIC);
}

void
sql_put_bytes(sql_query *q, int i, const void *data, size_t len)
{
    (void)sqlite3_bind_blob64(q->statement, i, len > 0 ? data : "", len,
                              SQLITE_STATIC);
}

void
sql_stop(sql_query *q)
{
    if (!q)
        return;
    (void)sqlite3_reset(q->statement);
    (void)sqlite3_clear_bindings(q->statement);
}

status
sql_next(sql_query *q, bool *row)
{
    int rc = sqlite3_step(q->statement);
    status st = ST_OK;

    *row = rc == SQLITE_ROW;
    if (*row)
        return ST_OK;
    if (rc != SQLITE_DONE)
        st = failed(q->owner);
    sql_stop(q);
    return st;
}

status
sql_run(sql_query *q)
{
    bool row = false;
    status st = sql_next(q, &row);

    if (row)
        sql_stop(q);
    return st;
}

status
sql_run_counted(sql_query *q, size_t *n)
{
    status st;

    TRY(sql_run(q));
    *n = (size_t)sqlite3_changes(q->owner->db);
fail:
    return st;
}

/* --------------------------------------------------------------- columns ---
 */

uint64_t
sql_number(const sql_query *q, int column)
{
    return (uint64_t)sqlite3_column_int64(q->statement, column);
}

double
sql_real(const sql_query *q, int column)
{
    return sqlite3_column_double(q->statement, column);
}

void
sql_text(const sql_query *q, int column, char *out, size_t size)
{
    const unsigned char *value = sqlite3_column_text(q->statement, column);

    (void)snprintf(out, size, "%s", value ? (const char *)value : "");
}

void
sql_bytes(const sql_query *q, int column, void *out, size_t size)
{
    if ((size_t)sqlite3_column_bytes(q->statement, column) == size && size > 0)
        memcpy(out, sqlite3_column_blob(q->statement, column), size);
}

status
sql_copy(const sql_query *q, int column, void *out, size_t *len)
{
    size_t n = (size_t)sqlite3_column_bytes(q->statement, column);
    char *copy;
    status st;

    TRY(mem_new(&copy, n + 1, 1));
    if (n > 0)
        memcpy(copy, sqlite3_column_blob(q->statement, column), n);
    memcpy(out, &copy, sizeof(copy));
    *len = n;
fail:
    return st;
}
