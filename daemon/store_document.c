/* SPDX-License-Identifier: Apache-2.0 */
/* SQL of documents. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "daemon/store_impl.h"

static void
put_hash(sql_query *q, int i, const uint8_t sum[HASH_BYTES])
{
    sql_put_bytes(q, i, sum, hash_is_zero(sum) ? 0 : HASH_BYTES);
}

status
store_add_document(store *s, const document *doc)
{
    sql_query *q;
    status st;

    TRY(sql_start(s->db, &q,
                  "INSERT INTO document (" STORE_DOCUMENT_COLUMNS ", crc) "
                  "VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,row_crc("
                  "?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13))"));
    sql_put_number(q, 1, doc->id);
    sql_put_text(q, 2, doc->name);
    sql_put_bytes(q, 3, doc->fingerprint, sizeof(doc->fingerprint));
    sql_put_number(q, 4, doc->tokens);
    sql_put_number(q, 5, doc->segments);
    sql_put_number(q, 6, doc->snapshot_bytes);
    sql_put_number(q, 7, doc->pending);
    sql_put_number(q, 8, (uint64_t)doc->created_ms);
    sql_put_text(q, 9, doc->owner);
    sql_put_bytes(q, 10, doc->norm, doc->n_norm * sizeof(float));
    sql_put_bytes(q, 11, doc->template,
                  document_has_template(doc) ? sizeof(doc->template) : 0);
    put_hash(q, 12, doc->hash);
    put_hash(q, 13, doc->ids_hash);
    TRY(sql_run(q));
fail:
    return st;
}

/* A row that is not what was written must not look whole again. */
status
store_note_hashes(store *s, const document *doc)
{
    sql_query *q;
    status st;

    TRY(sql_start(s->db, &q,
                  "UPDATE document SET hash=?2, ids_hash=?3, crc=row_crc(id, "
                  "name, fingerprint, tokens, segments, snapshot_bytes, "
                  "pending, created_ms, owner, norms, template, ?2, ?3) "
                  "WHERE id=?1 AND crc=" STORE_DOCUMENT_CRC));
    sql_put_number(q, 1, doc->id);
    put_hash(q, 2, doc->hash);
    put_hash(q, 3, doc->ids_hash);
    TRY(sql_run(q));
fail:
    return st;
}

status
store_remove_document(store *s, uint64_t id)
{
    sql_query *q;
    status st;

    TRY(sql_start(s->db, &q, "DELETE FROM document WHERE id = ?"));
    sql_put_number(q, 1, id);
    TRY(sql_run(q));
fail:
    return st;
}

static status
read_norms(const sql_query *q, document *doc)
{
    float *norm = NULL;
    size_t len;
    status st;

    TRY(sql_copy(q, 9, &norm, &len));
    doc->n_norm = (uint32_t)(len / sizeof(float));
    doc->damaged = len % sizeof(float) != 0 || len > sizeof(doc->norm);
    if (!doc->damaged)
        memcpy(doc->norm, norm, len);
    for (uint32_t i = 0; i < doc->n_norm && !doc->damaged; i++)
        doc->damaged = !(doc->norm[i] >= 0) || !isfinite(doc->norm[i]);
fail:
    mem_free(norm);
    return st;
}

/* Nothing is believed of a row that is not what was written but whose it is, so
 * that he can remove it. */
static void
spoil_document(document *doc)
{
    document kept = {.id = doc->id,
                     .tokens = 1,
                     .segments = 1,
                     .pending = 1,
                     .damaged = true};

    memcpy(kept.owner, doc->owner, sizeof(kept.owner));
    memcpy(kept.name, doc->name, sizeof(kept.name));
    if (utf8_check(kept.owner, strlen(kept.owner)) != ST_OK)
        kept.owner[0] = '\0';
    if (!*kept.name || utf8_check(kept.name, strlen(kept.name)) != ST_OK)
        (void)snprintf(kept.name, sizeof(kept.name), "damaged-%llu",
                       (unsigned long long)kept.id);
    *doc = kept;
}

/* A row is trusted as far as its checksum and its own numbers agree. */
static status
read_document(const sql_query *q, document *doc)
{
    status st;

    *doc = (document){.id = sql_number(q, 0),
                      .tokens = sql_number(q, 3),
                      .segments = sql_number(q, 4),
                      .snapshot_bytes = sql_number(q, 5),
                      .pending = (uint32_t)sql_number(q, 6),
                      .created_ms = (int64_t)sql_number(q, 7)};
    sql_text(q, 1, doc->name, sizeof(doc->name));
    sql_text(q, 8, doc->owner, sizeof(doc->owner));
    sql_bytes(q, 2, doc->fingerprint, sizeof(doc->fingerprint));
    sql_bytes(q, 10, doc->template, sizeof(doc->template));
    sql_bytes(q, 11, doc->hash, sizeof(doc->hash));
    sql_bytes(q, 12, doc->ids_hash, sizeof(doc->ids_hash));
    TRY(read_norms(q, doc));
    if (doc->damaged || sql_number(q, 13) != 1 || doc->pending == 0 ||
        doc->pending > doc->tokens || doc->segments == 0 ||
        (doc->segments > 1) != (doc->snapshot_bytes > 0))
        spoil_document(doc);
fail:
    return st;
}

status
store_each_document(store *s, store_document_fn *fn, void *ctx)
{
    sql_query *q = NULL;
    document doc;
    bool row;
    status st;

    TRY(sql_start(s->db, &q,
                  "SELECT " STORE_DOCUMENT_COLUMNS ", crc = " STORE_DOCUMENT_CRC
                  " FROM document ORDER BY id"));
    for (;;) {
        TRY(sql_next(q, &row));
        if (!row)
            return ST_OK;
        TRY(read_document(q, &doc));
        TRY(fn(ctx, &doc));
    }
fail:
    sql_stop(q);
    return st;
}
