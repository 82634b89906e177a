/* SPDX-License-Identifier: Apache-2.0 */
/* The journal's schema, checkpoints, and the daemon's own notes. */
#include "daemon/store.h"

#include "base/mem.h"
#include "daemon/store_impl.h"

enum { SCHEMA_VERSION = 11, MAX_INCIDENT = 1000 };

/* Of a document's row in versions 8 and 9. */
#define DOCUMENT_CRC_8                                                         \
    "row_crc(id, name, fingerprint, tokens, segments, snapshot_bytes, "        \
    "pending, created_ms, owner, norms, template)"

/* A value that is not bound is NULL, and no column but the answer takes it. */
static const char *const SCHEMA[SCHEMA_VERSION] = {
    "CREATE TABLE document ("
    "  id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,"
    "  fingerprint BLOB NOT NULL, tokens INTEGER NOT NULL,"
    "  segments INTEGER NOT NULL, snapshot_bytes INTEGER NOT NULL,"
    "  pending INTEGER NOT NULL, created_ms INTEGER NOT NULL) STRICT;"
    "PRAGMA user_version = 1;",
    /* Jobs of version 1 were failed when their daemon ended. */
    "DROP TABLE IF EXISTS job;"
    "CREATE TABLE job ("
    "  id INTEGER PRIMARY KEY, kind INTEGER NOT NULL, state INTEGER NOT NULL,"
    "  owner TEXT NOT NULL, key TEXT NOT NULL, document TEXT NOT NULL,"
    "  document_id INTEGER NOT NULL, created_ms INTEGER NOT NULL,"
    "  ended_ms INTEGER NOT NULL, input INTEGER NOT NULL,"
    "  bytes INTEGER NOT NULL, hash BLOB NOT NULL,"
    "  max_tokens INTEGER NOT NULL, temperature REAL NOT NULL,"
    "  top_k INTEGER NOT NULL, top_p REAL NOT NULL, seed INTEGER NOT NULL,"
    "  ignore_eos INTEGER NOT NULL, tokens INTEGER NOT NULL,"
    "  pending INTEGER NOT NULL, first_segment INTEGER NOT NULL,"
    "  snapshot_bytes INTEGER NOT NULL, segments_done INTEGER NOT NULL,"
    "  segments_total INTEGER NOT NULL, redone INTEGER NOT NULL,"
    "  attempt INTEGER NOT NULL, strikes INTEGER NOT NULL,"
    "  fingerprint BLOB NOT NULL, device TEXT NOT NULL, code INTEGER NOT NULL,"
    "  text TEXT NOT NULL, finish TEXT NOT NULL, ended_age INTEGER NOT NULL,"
    "  stops BLOB NOT NULL, answer BLOB) STRICT;"
    "CREATE UNIQUE INDEX job_key ON job (owner, key) WHERE key <> '';"
    "CREATE INDEX job_state ON job (state, ended_age);"
    "CREATE TABLE input (job INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT;"
    "CREATE TABLE token (job INTEGER NOT NULL, place INTEGER NOT NULL,"
    "  id INTEGER NOT NULL, PRIMARY KEY (job, place)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE checkpoint (job INTEGER NOT NULL, segment INTEGER NOT NULL,"
    "  bytes INTEGER NOT NULL, attempt INTEGER NOT NULL,"
    "  n_layer INTEGER NOT NULL, hash BLOB NOT NULL, crcs BLOB NOT NULL,"
    "  PRIMARY KEY (job, segment)) STRICT;"
    "CREATE TABLE number (name TEXT PRIMARY KEY, value INTEGER NOT NULL)"
    "  STRICT;"
    "CREATE TABLE incident (id INTEGER PRIMARY KEY, wall_ms INTEGER NOT NULL,"
    "  job INTEGER NOT NULL, text TEXT NOT NULL) STRICT;"
    "PRAGMA user_version = 2;",
    /* Before there were keys everything belonged to the user himself. */
    "CREATE TABLE owned ("
    "  id INTEGER PRIMARY KEY, name TEXT NOT NULL, fingerprint BLOB NOT NULL,"
    "  tokens INTEGER NOT NULL, segments INTEGER NOT NULL,"
    "  snapshot_bytes INTEGER NOT NULL, pending INTEGER NOT NULL,"
    "  created_ms INTEGER NOT NULL, owner TEXT NOT NULL,"
    "  UNIQUE (owner, name)) STRICT;"
    "INSERT INTO owned SELECT *, 'local' FROM document;"
    "DROP TABLE document;"
    "ALTER TABLE owned RENAME TO document;"
    "PRAGMA user_version = 3;",
    /* F32, one a layer; none where nobody measured. */
    "ALTER TABLE document ADD COLUMN norms BLOB NOT NULL DEFAULT x'';"
    "PRAGMA user_version = 4;",
    "ALTER TABLE job ADD COLUMN min_p REAL NOT NULL DEFAULT 0;"
    "PRAGMA user_version = 5;",
    /* Jobs that are there already asked for neither. */
    "ALTER TABLE job ADD COLUMN penalty REAL NOT NULL DEFAULT 1;"
    "ALTER TABLE job ADD COLUMN logprobs INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE token ADD COLUMN logprob REAL NOT NULL DEFAULT 0;"
    "PRAGMA user_version = 6;",
    /* None: ids, or read before this was noted. */
    "ALTER TABLE document ADD COLUMN template BLOB NOT NULL DEFAULT x'';"
    "PRAGMA user_version = 7;",
    /* Rows that are there already are believed as they are. */
    "ALTER TABLE job ADD COLUMN crc INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE token ADD COLUMN crc INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE document ADD COLUMN crc INTEGER NOT NULL DEFAULT 0;"
    "UPDATE job SET crc = " STORE_JOB_CRC ";"
    "UPDATE token SET crc = " STORE_TOKEN_CRC ";"
    "UPDATE document SET crc = " DOCUMENT_CRC_8 ";"
    "PRAGMA user_version = 8;",
    "ALTER TABLE checkpoint ADD COLUMN crc INTEGER NOT NULL DEFAULT 0;"
    "UPDATE checkpoint SET crc = " STORE_CHECKPOINT_CRC ";"
    "CREATE TABLE rotten (job INTEGER PRIMARY KEY, age INTEGER NOT NULL)"
    "  STRICT;"
    "PRAGMA user_version = 9;",
    /* None: not known yet.  A row that has rotted does not become whole. */
    "ALTER TABLE document ADD COLUMN hash BLOB NOT NULL DEFAULT x'';"
    "ALTER TABLE document ADD COLUMN ids_hash BLOB NOT NULL DEFAULT x'';"
    "UPDATE document SET crc = " STORE_DOCUMENT_CRC
    " WHERE crc = " DOCUMENT_CRC_8 ";"
    "PRAGMA user_version = 10;",
    /* The names of checkpoints' files have their attempt: an older program
     * would take them for leftovers. */
    "PRAGMA user_version = 11;",
};

/* --------------------------------------------------------------- opening ---
 */

static status
one_number(store *s, uint64_t *out, const char *text)
{
    sql_query *q;
    bool row;
    status st;

    TRY(sql_start(s->db, &q, text));
    TRY(sql_next(q, &row));
    *out = row ? sql_number(q, 0) : 0;
    sql_stop(q);
fail:
    return st;
}

static status
migrate(store *s)
{
    uint64_t v;
    status st;

    TRY(one_number(s, &v, "PRAGMA user_version"));
    if (v > SCHEMA_VERSION)
        TRY(status_fail(ST_UNSUPPORTED,
                        "the data directory is of version %llu, and this "
                        "program knows version %d",
                        (unsigned long long)v, SCHEMA_VERSION));
    for (; v < SCHEMA_VERSION; v++) {
        TRY(sql_begin(s->db));
        TRY(sql_execute(s->db, SCHEMA[v]));
        TRY(sql_commit(s->db));
    }
fail:
    return st;
}

status
store_open(store **out, const char *path)
{
    store *s = NULL;
    status st;

    TRY(mem_new(&s, 1, sizeof(*s)));
    TRY(sql_open(&s->db, path));
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
    sql_close(s->db);
    mem_free(s);
}

status
store_begin(store *s)
{
    return sql_begin(s->db);
}

status
store_commit(store *s)
{
    return sql_commit(s->db);
}

status
store_next_job(store *s, uint64_t *out)
{
    return one_number(s, out,
                      "SELECT 1 + max((SELECT coalesce(max(id), 0) FROM job), "
                      "(SELECT coalesce(max(id), 0) FROM document), "
                      "(SELECT coalesce(max(value), 0) FROM number "
                      "WHERE name = 'last_job'))");
}

/* ----------------------------------------------------------- checkpoints ---
 */

status
store_add_checkpoint(store *s, const store_checkpoint *c)
{
    sql_query *q;
    status st;

    TRY(sql_start(s->db, &q,
                  "INSERT OR REPLACE INTO checkpoint VALUES "
                  "(?1,?2,?3,?4,?5,?6,?7,row_crc(?1,?2,?3,?4,?5,?6,?7))"));
    sql_put_number(q, 1, c->job);
    sql_put_number(q, 2, c->segment);
    sql_put_number(q, 3, c->bytes);
    sql_put_number(q, 4, c->attempt);
    sql_put_number(q, 5, c->n_layer);
    sql_put_bytes(q, 6, c->hash, sizeof(c->hash));
    sql_put_bytes(q, 7, c->crcs, c->n_layer * sizeof(*c->crcs));
    TRY(sql_run(q));
fail:
    return st;
}

status
store_drop_checkpoint(store *s, uint64_t id, uint64_t segment, uint32_t attempt)
{
    sql_query *q;
    status st;

    TRY(sql_start(s->db, &q,
                  "DELETE FROM checkpoint WHERE job = ? AND segment = ? AND "
                  "attempt = ?"));
    sql_put_number(q, 1, id);
    sql_put_number(q, 2, segment);
    sql_put_number(q, 3, attempt);
    TRY(sql_run(q));
fail:
    return st;
}

status
store_each_checkpoint(store *s, store_checkpoint_fn *fn, void *ctx)
{
    sql_query *q = NULL;
    bool row;
    status st;

    TRY(sql_start(s->db, &q, "SELECT * FROM checkpoint ORDER BY job, segment"));
    for (;;) {
        store_checkpoint c;

        TRY(sql_next(q, &row));
        if (!row)
            return ST_OK;
        c = (store_checkpoint){.job = sql_number(q, 0),
                               .segment = sql_number(q, 1),
                               .bytes = sql_number(q, 2),
                               .attempt = (uint32_t)sql_number(q, 3),
                               .n_layer = (uint32_t)sql_number(q, 4)};
        sql_bytes(q, 5, c.hash, sizeof(c.hash));
        TRY(fn(ctx, &c));
    }
fail:
    sql_stop(q);
    return st;
}

/* ------------------------------------------------------------ the daemon ---
 */

status
store_number(store *s, uint64_t *out, const char *name)
{
    sql_query *q;
    bool row;
    status st;

    TRY(sql_start(s->db, &q, "SELECT value FROM number WHERE name = ?"));
    sql_put_text(q, 1, name);
    TRY(sql_next(q, &row));
    *out = row ? sql_number(q, 0) : 0;
    sql_stop(q);
fail:
    return st;
}

status
store_set_number(store *s, const char *name, uint64_t value)
{
    sql_query *q;
    status st;

    TRY(sql_start(s->db, &q, "INSERT OR REPLACE INTO number VALUES (?,?)"));
    sql_put_text(q, 1, name);
    sql_put_number(q, 2, value);
    TRY(sql_run(q));
fail:
    return st;
}

static status
trim_incidents(store *s)
{
    sql_query *q;
    status st;

    TRY(sql_start(s->db, &q,
                  "DELETE FROM incident WHERE id <= "
                  "(SELECT max(id) FROM incident) - ?"));
    sql_put_number(q, 1, MAX_INCIDENT);
    TRY(sql_run(q));
fail:
    return st;
}

status
store_add_incident(store *s, int64_t wall_ms, uint64_t id, const char *what)
{
    sql_query *q;
    status st;

    TRY(sql_start(s->db, &q,
                  "INSERT INTO incident (wall_ms, job, text) VALUES (?,?,?)"));
    sql_put_number(q, 1, (uint64_t)wall_ms);
    sql_put_number(q, 2, id);
    sql_put_text(q, 3, what);
    TRY(sql_run(q));
    TRY(trim_incidents(s));
fail:
    return st;
}

status
store_last_incident(store *s, char *out, size_t size)
{
    sql_query *q;
    bool row;
    status st;

    TRY(sql_start(s->db, &q,
                  "SELECT text FROM incident WHERE job = 0 "
                  "ORDER BY id DESC LIMIT 1"));
    TRY(sql_next(q, &row));
    out[0] = '\0';
    if (row)
        sql_text(q, 0, out, size);
    sql_stop(q);
fail:
    return st;
}
