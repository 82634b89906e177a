/* SPDX-License-Identifier: Apache-2.0 */
/* SQL of jobs: rows, inputs, answers. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "daemon/store_impl.h"

enum {
    N_JOB_COLUMN = 35,    /* of STORE_JOB_COLUMNS */
    WHOLE = N_JOB_COLUMN, /* of JOB_ROW */
    STOPS,
    ANSWER
};

/* All that read_job() looks at. */
#define JOB_ROW STORE_JOB_COLUMNS ", crc = " STORE_JOB_CRC

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
static const char GET_JOB[] =
    "SELECT " JOB_ROW ", stops, answer FROM job WHERE id=?";

static void
put_job(sql_query *q, const store_job *j)
{
    const client_sampling *p = &j->sampling;
    int i = 1;

    sql_put_number(q, i++, j->id);
    sql_put_number(q, i++, j->kind);
    sql_put_number(q, i++, j->state);
    sql_put_text(q, i++, j->owner);
    sql_put_text(q, i++, j->key);
    sql_put_text(q, i++, j->document);
    sql_put_number(q, i++, j->document_id);
    sql_put_number(q, i++, (uint64_t)j->created_ms);
    sql_put_number(q, i++, (uint64_t)j->ended_ms);
    sql_put_number(q, i++, j->input);
    sql_put_number(q, i++, j->bytes);
    sql_put_bytes(q, i++, j->hash, sizeof(j->hash));
    sql_put_number(q, i++, p->max_tokens);
    sql_put_real(q, i++, (double)p->temperature);
    sql_put_number(q, i++, p->top_k);
    sql_put_real(q, i++, (double)p->top_p);
    sql_put_number(q, i++, p->seed);
    sql_put_number(q, i++, p->ignore_eos);
    sql_put_number(q, i++, j->tokens);
    sql_put_number(q, i++, j->pending);
    sql_put_number(q, i++, j->first_segment);
    sql_put_number(q, i++, j->snapshot_bytes);
    sql_put_number(q, i++, j->segments_done);
    sql_put_number(q, i++, j->segments_total);
    sql_put_number(q, i++, j->redone);
    sql_put_number(q, i++, j->attempt);
    sql_put_number(q, i++, j->strikes);
    sql_put_bytes(q, i++, j->fingerprint, sizeof(j->fingerprint));
    sql_put_text(q, i++, j->device);
    sql_put_number(q, i++, j->st);
    sql_put_text(q, i++, j->text);
    sql_put_text(q, i++, j->finish);
    sql_put_real(q, i++, (double)p->min_p);
    sql_put_real(q, i++, (double)p->penalty);
    sql_put_number(q, i++, p->logprobs);
}

/* A row that is not what was written is of a job that has failed: it is there,
 * and nothing is believed of it but whose it is. */
static void
spoil_job(const sql_query *q, store_job *j)
{
    *j = (store_job){.id = sql_number(q, 0),
                     .kind = sql_number(q, 1) == JOB_ASK ? JOB_ASK : JOB_ADD,
                     .state = CLIENT_FAILED,
                     .damaged = true,
                     .st = ST_IO};
    sql_text(q, 3, j->owner, sizeof(j->owner));
    sql_text(q, 4, j->key, sizeof(j->key));
    sql_text(q, 5, j->document, sizeof(j->document));
    if (utf8_check(j->owner, strlen(j->owner)) != ST_OK)
        j->owner[0] = '\0';
    if (utf8_check(j->key, strlen(j->key)) != ST_OK)
        j->key[0] = '\0';
    if (utf8_check(j->document, strlen(j->document)) != ST_OK)
        j->document[0] = '\0';
    (void)snprintf(j->text, sizeof(j->text),
                   "what the journal has of job %llu is damaged: submit it "
                   "again, under another key",
                   (unsigned long long)j->id);
}

/* A row is trusted as far as its checksum and its own numbers agree. */
static void
read_job(const sql_query *q, store_job *j)
{
    client_sampling *p = &j->sampling;
    uint64_t state = sql_number(q, 2);
    uint64_t code = sql_number(q, 29);

    if (sql_number(q, WHOLE) != 1 || sql_number(q, 1) > JOB_ASK ||
        state > CLIENT_CANCELED || code >= ST_COUNT ||
        sql_number(q, 9) > CLIENT_IDS ||
        sql_number(q, 12) > CLIENT_MAX_GENERATE) {
        spoil_job(q, j);
        return;
    }
    *j = (store_job){.id = sql_number(q, 0)};
    j->kind = (job_kind)sql_number(q, 1);
    j->state = (client_state)state;
    sql_text(q, 3, j->owner, sizeof(j->owner));
    sql_text(q, 4, j->key, sizeof(j->key));
    sql_text(q, 5, j->document, sizeof(j->document));
    j->document_id = sql_number(q, 6);
    j->created_ms = (int64_t)sql_number(q, 7);
    j->ended_ms = (int64_t)sql_number(q, 8);
    j->input = (client_input)sql_number(q, 9);
    j->bytes = sql_number(q, 10);
    sql_bytes(q, 11, j->hash, sizeof(j->hash));
    p->max_tokens = (uint32_t)sql_number(q, 12);
    p->temperature = (float)sql_real(q, 13);
    p->top_k = (uint32_t)sql_number(q, 14);
    p->top_p = (float)sql_real(q, 15);
    p->seed = sql_number(q, 16);
    p->ignore_eos = sql_number(q, 17) != 0;
    j->tokens = sql_number(q, 18);
    j->pending = sql_number(q, 19);
    j->first_segment = sql_number(q, 20);
    j->snapshot_bytes = sql_number(q, 21);
    j->segments_done = sql_number(q, 22);
    j->segments_total = sql_number(q, 23);
    j->redone = sql_number(q, 24);
    j->attempt = (uint32_t)sql_number(q, 25);
    j->strikes = (uint32_t)sql_number(q, 26);
    sql_bytes(q, 27, j->fingerprint, sizeof(j->fingerprint));
    sql_text(q, 28, j->device, sizeof(j->device));
    j->st = (status)code;
    sql_text(q, 30, j->text, sizeof(j->text));
    sql_text(q, 31, j->finish, sizeof(j->finish));
    p->min_p = (float)sql_real(q, 32);
    p->penalty = (float)sql_real(q, 33);
    p->logprobs = sql_number(q, 34) != 0;
}

static status
insert_job(store *s, const store_job *j, const char *stops, size_t stops_len)
{
    sql_query *q;
    status st;

    TRY(sql_start(s->db, &q, INSERT_JOB));
    put_job(q, j);
    sql_put_bytes(q, N_JOB_COLUMN + 1, stops, stops_len);
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
    put_job(q, j);
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

status
store_read_input(store *s, uint64_t id, uint8_t sum[CLIENT_HASH], uint8_t **out,
                 size_t *len)
{
    sql_query *q = NULL;
    bool row;
    status st;

    TRY(sql_start(s->db, &q,
                  "SELECT job.hash, input.job, input.data FROM job "
                  "LEFT JOIN input ON input.job = job.id WHERE job.id = ?"));
    sql_put_number(q, 1, id);
    TRY(sql_next(q, &row));
    if (!row)
        TRY(status_fail(ST_NOTFOUND, "the row of job %llu is gone",
                        (unsigned long long)id));
    sql_bytes(q, 0, sum, CLIENT_HASH);
    *out = NULL;
    *len = 0;
    if (sql_number(q, 1) == id)
        TRY(sql_copy(q, 2, out, len));
fail:
    sql_stop(q);
    return st;
}

status
store_find_key(store *s, store_record *out, const char *owner, const char *key)
{
    sql_query *q = NULL;
    store_record r = {.n_id = 0};
    bool row;
    status st;

    TRY(sql_start(s->db, &q,
                  "SELECT " JOB_ROW ", stops FROM job WHERE owner=? AND key=? "
                  "AND key <> ''"));
    sql_put_text(q, 1, owner);
    sql_put_text(q, 2, key);
    TRY(sql_next(q, &row));
    if (!row)
        TRY(status_fail(ST_NOTFOUND, "no job has this key"));
    read_job(q, &r.row);
    if (!r.row.damaged)
        TRY(sql_copy(q, STOPS, &r.stops, &r.stops_len));
    *out = r;
fail:
    sql_stop(q);
    return st;
}

void
store_record_fini(store_record *r)
{
    if (!r)
        return;
    mem_free(r->stops);
    mem_free(r->ids);
    mem_free(r->logprobs);
    mem_free(r->text);
    *r = (store_record){.n_id = 0};
}

static status
add_id(store_record *r, size_t *cap, const sql_query *q)
{
    status st = ST_OK;

    if (r->n_id == *cap) {
        size_t more = *cap ? 2 * *cap : 64;

        TRY(mem_resize(&r->ids, more, sizeof(*r->ids)));
        TRY(mem_resize(&r->logprobs, more, sizeof(*r->logprobs)));
        *cap = more;
    }
    r->logprobs[r->n_id] = (float)sql_real(q, 2);
    r->ids[r->n_id++] = (int32_t)sql_number(q, 1);
fail:
    return st;
}

/* The tokens of the answer, which follow each other from 0. */
static status
read_tokens(store *s, store_record *r, bool *whole)
{
    sql_query *q = NULL;
    size_t cap = 0;
    bool row;
    status st;

    *whole = true;
    TRY(sql_start(s->db, &q,
                  "SELECT place, id, logprob, crc = " STORE_TOKEN_CRC
                  " FROM token WHERE job=? ORDER BY place"));
    sql_put_number(q, 1, r->row.id);
    for (;;) {
        TRY(sql_next(q, &row));
        if (!row)
            return ST_OK;
        *whole = sql_number(q, 0) == r->n_id && sql_number(q, 3) == 1 &&
                 r->n_id < CLIENT_MAX_GENERATE;
        if (!*whole)
            break;
        TRY(add_id(r, &cap, q));
    }
fail:
    sql_stop(q);
    return st;
}

/* `q` stands on a row of GET_JOB's columns. */
static status
read_record(store *s, const sql_query *q, store_record *out)
{
    store_record r = {.n_id = 0};
    bool whole;
    status st;

    read_job(q, &r.row);
    TRY(read_tokens(s, &r, &whole));
    if (!whole)
        spoil_job(q, &r.row);
    if (r.row.damaged) {
        store_job row = r.row;

        store_record_fini(&r);
        r.row = row;
    } else {
        TRY(sql_copy(q, STOPS, &r.stops, &r.stops_len));
        TRY(sql_copy(q, ANSWER, &r.text, &r.text_len));
    }
    *out = r;
    return ST_OK;
fail:
    store_record_fini(&r);
    return st;
}

status
store_get_job(store *s, store_record *out, uint64_t id)
{
    sql_query *q = NULL;
    bool row;
    status st;

    TRY(sql_start(s->db, &q, GET_JOB));
    sql_put_number(q, 1, id);
    TRY(sql_next(q, &row));
    if (!row)
        TRY(status_fail(ST_NOTFOUND, "there is no job %llu",
                        (unsigned long long)id));
    TRY(read_record(s, q, out));
fail:
    sql_stop(q);
    return st;
}

status
store_each_unfinished(store *s, store_record_fn *fn, void *ctx)
{
    sql_query *q = NULL;
    store_record r = {.n_id = 0};
    bool row;
    status st;

    TRY(sql_start(s->db, &q,
                  "SELECT " JOB_ROW ", stops, answer FROM job "
                  "WHERE state < ? ORDER BY id"));
    sql_put_number(q, 1, CLIENT_STATE_DONE);
    for (;;) {
        TRY(sql_next(q, &row));
        if (!row)
            return ST_OK;
        TRY(read_record(s, q, &r));
        st = fn(ctx, &r);
        store_record_fini(&r);
        TRY(st);
    }
fail:
    sql_stop(q);
    return st;
}

status
store_each_finished(store *s, uint32_t max, store_job_fn *fn, void *ctx)
{
    sql_query *q = NULL;
    store_job j;
    bool row;
    status st;

    TRY(sql_start(s->db, &q,
                  "SELECT * FROM (SELECT " JOB_ROW " FROM job "
                  "WHERE state >= ? ORDER BY id DESC LIMIT ?) ORDER BY id"));
    sql_put_number(q, 1, CLIENT_STATE_DONE);
    sql_put_number(q, 2, max);
    for (;;) {
        TRY(sql_next(q, &row));
        if (!row)
            return ST_OK;
        read_job(q, &j);
        TRY(fn(ctx, &j));
    }
fail:
    sql_stop(q);
    return st;
}
