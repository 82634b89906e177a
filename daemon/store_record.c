/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs as they are read back: rows, inputs, answers. */
#include "base/mem.h"
#include "daemon/store_impl.h"

enum {
    STOPS = STORE_WHOLE + 1, /* of GET_JOB */
    ANSWER
};

static const char GET_JOB[] =
    "SELECT " STORE_ROW ", stops, answer FROM job WHERE id=?";

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
                  "SELECT " STORE_ROW
                  ", stops FROM job WHERE owner=? AND key=? "
                  "AND key <> ''"));
    sql_put_text(q, 1, owner);
    sql_put_text(q, 2, key);
    TRY(sql_next(q, &row));
    if (!row)
        TRY(status_fail(ST_NOTFOUND, "no job has this key"));
    store_row_read(q, &r.row);
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

    store_row_read(q, &r.row);
    TRY(read_tokens(s, &r, &whole));
    if (!whole)
        store_row_spoil(q, &r.row);
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
                  "SELECT " STORE_ROW ", stops, answer FROM job "
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
                  "SELECT * FROM (SELECT " STORE_ROW " FROM job "
                  "WHERE state >= ? ORDER BY id DESC LIMIT ?) ORDER BY id"));
    sql_put_number(q, 1, CLIENT_STATE_DONE);
    sql_put_number(q, 2, max);
    for (;;) {
        TRY(sql_next(q, &row));
        if (!row)
            return ST_OK;
        store_row_read(q, &j);
        TRY(fn(ctx, &j));
    }
fail:
    sql_stop(q);
    return st;
}
