/* SPDX-License-Identifier: Apache-2.0 */
/* Changes of jobs: rows, inputs, answers. */
#include "daemon/store_impl.h"

static const char INSERT_JOB[] =
    "INSERT INTO job (" STORE_JOB_COLUMNS ", ended_age, stops, crc) VALUES "
    "(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20,"
    "?21,?22,?23,?24,?25,?26,?27,?28,?29,?30,?31,?32,?33,?34,?35,0,?36,"
    "row_crc(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,"
    "?19,?20,?21,?22,?23,?24,?25,?26,?27,?28,?29,?30,?31,?32,?33,?34,?35,0,"
    "?36,NULL))";
/* A row that is not what was written must not look whole again. */
static const char UPDATE_JOB[] =
    "UPDATE job SET state=?3, document_id=?7, ended_ms=?9, tokens=?19, "
    "pending=?20, first_segment=?21, snapshot_bytes=?22, segments_done=?23, "
    "segments_total=?24, redone=?25, attempt=?26, strikes=?27, "
    "fingerprint=?28, device=?29, code=?30, text=?31, finish=?32, "
    "crc=row_crc(id, kind, ?3, owner, key, document, ?7, created_ms, ?9, "
    "input, bytes, hash, max_tokens, temperature, top_k, top_p, seed, "
    "ignore_eos, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30, "
    "?31, ?32, min_p, penalty, logprobs, ended_age, stops, answer) "
    "WHERE id=?1 AND crc=" STORE_JOB_CRC;
static const char END_JOB[] =
    "UPDATE job SET answer=?2, ended_age=" STORE_RUNNING_TIME
    ", crc=row_crc(" STORE_JOB_COLUMNS ", " STORE_RUNNING_TIME ", stops, ?2) "
    "WHERE id=?1";

static status
insert_job(store *s, const store_job *j, const char *stops, size_t stops_len)
{
    sql_query *q;
    status st;

    TRY(sql_start(s->db, &q, INSERT_JOB));
    store_row_put(q, j);
    sql_put_bytes(q, STORE_N_JOB_COLUMN + 1, stops, stops_len);
    TRY(sql_run(q));
fail:
    return st;
}

static status
put_input(store *s, uint64_t id, const void *input, size_t len)
{
    sql_query *q;
    status st;

    TRY(sql_start(s->db, &q, "INSERT INTO input VALUES (?,?)"));
    sql_put_number(q, 1, id);
    sql_put_bytes(q, 2, input, len);
    TRY(sql_run(q));
fail:
    return st;
}

status
store_insert_job(store *s, const store_job *j, const char *stops,
                 size_t stops_len, const void *input, size_t len)
{
    status st;

    TRY(sql_change_begin(s->db));
    st = insert_job(s, j, stops, stops_len);
    if (st == ST_OK && input)
        st = put_input(s, j->id, input, len);
    st = sql_change_end(s->db, st);
fail:
    return st;
}

/* Runs what changes one job's row. */
static status
change_one(sql_query *q, uint64_t id)
{
    size_t n = 0;
    status st;

    TRY(sql_run_counted(q, &n));
    if (n != 1)
        TRY(status_fail(ST_NOTFOUND,
                        "the row of job %llu is gone from the journal or "
                        "damaged",
                        (unsigned long long)id));
fail:
    return st;
}

status
store_update_job(store *s, const store_job *j)
{
    sql_query *q;
    status st;

    TRY(sql_start(s->db, &q, UPDATE_JOB));
    store_row_put(q, j);
    TRY(change_one(q, j->id));
fail:
    return st;
}

static status
drop_of(store *s, const char *text, uint64_t id)
{
    sql_query *q;
    status st;

    TRY(sql_start(s->db, &q, text));
    sql_put_number(q, 1, id);
    TRY(sql_run(q));
fail:
    return st;
}

static status
put_text(store *s, uint64_t id, const char *text, size_t len)
{
    sql_query *q;
    status st;

    TRY(sql_start(s->db, &q, END_JOB));
    sql_put_number(q, 1, id);
    sql_put_bytes(q, 2, text, len);
    TRY(change_one(q, id));
fail:
    return st;
}

static status
end_job(store *s, const store_job *j, const char *text, size_t len)
{
    status st;

    TRY(store_update_job(s, j));
    TRY(put_text(s, j->id, text, len));
    TRY(drop_of(s, "DELETE FROM input WHERE job=?", j->id));
    TRY(drop_of(s, "DELETE FROM checkpoint WHERE job=?", j->id));
fail:
    return st;
}

status
store_end_job(store *s, const store_job *j, const char *text, size_t len)
{
    status st;

    TRY(sql_change_begin(s->db));
    st = sql_change_end(s->db, end_job(s, j, text, len));
fail:
    return st;
}

status
store_add_tokens(store *s, uint64_t id, uint64_t first,
                 const store_record *tokens)
{
    sql_query *q;
    status st;

    TRY(sql_change_begin(s->db));
    for (size_t i = 0; i < tokens->n_id && st == ST_OK; i++) {
        st = sql_start(s->db, &q,
                       "INSERT OR REPLACE INTO token VALUES "
                       "(?1,?2,?3,?4,row_crc(?1,?2,?3,?4))");
        if (st != ST_OK)
            break;
        sql_put_number(q, 1, id);
        sql_put_number(q, 2, first + i);
        sql_put_number(q, 3, (uint64_t)tokens->ids[i]);
        sql_put_real(q, 4, tokens->logprobs ? (double)tokens->logprobs[i] : 0);
        st = sql_run(q);
    }
    st = sql_change_end(s->db, st);
fail:
    return st;
}

status
store_end_document(store *s, const document *doc, const store_job *j)
{
    status st;

    TRY(sql_change_begin(s->db));
    st = store_add_document(s, doc);
    if (st == ST_OK)
        st = end_job(s, j, NULL, 0);
    st = sql_change_end(s->db, st);
fail:
    return st;
}
