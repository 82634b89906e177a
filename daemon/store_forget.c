/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs that ended long ago go from the journal. */
#include "daemon/store_impl.h"

enum { MAX_FORGET = 1000 }; /* jobs at once */

/* Running time is what the daemon counted itself: a wall clock that jumps
 * forgets nothing.  When a row that rotted says that it ended is nothing to go
 * by: its time begins when it is found. */
#define ENDED_LONG_AGO(n)                                                      \
    "SELECT id FROM job WHERE state >= ?1 AND ended_age + ?2 "                 \
    "< " STORE_RUNNING_TIME                                                    \
    " AND id NOT IN (SELECT job FROM rotten) ORDER BY id LIMIT " #n " * ?3"
#define OLD_JOBS                                                               \
    "(SELECT id FROM (" ENDED_LONG_AGO(                                        \
        1) ") UNION ALL SELECT job FROM "                                      \
           "rotten WHERE age + ?2 < " STORE_RUNNING_TIME ")"
/* More are looked at than forgotten: none that is forgotten was not. */
static const char NOTE_ROTTEN[] =
    "INSERT INTO rotten SELECT id, " STORE_RUNNING_TIME
    " FROM job WHERE id IN (" ENDED_LONG_AGO(2) ") AND crc <> " STORE_JOB_CRC;
static const char *const FORGET[] = {
    "DELETE FROM token WHERE job IN " OLD_JOBS,
    "DELETE FROM input WHERE job IN " OLD_JOBS,
    "DELETE FROM checkpoint WHERE job IN " OLD_JOBS,
    "DELETE FROM job WHERE id IN " OLD_JOBS,
};

static status
forget(store *s, const char *text, uint64_t keep_s)
{
    sql_query *q;
    status st;

    TRY(sql_start(s->db, &q, text));
    sql_put_number(q, 1, CLIENT_STATE_DONE);
    sql_put_number(q, 2, keep_s);
    sql_put_number(q, 3, MAX_FORGET);
    TRY(sql_run(q));
fail:
    return st;
}

static status
forget_jobs(store *s, uint64_t keep_s)
{
    sql_query *q;
    status st;

    TRY(forget(s, NOTE_ROTTEN, keep_s));
    for (size_t i = 0; i < sizeof(FORGET) / sizeof(*FORGET); i++)
        TRY(forget(s, FORGET[i], keep_s));
    TRY(sql_start(s->db, &q,
                  "DELETE FROM rotten WHERE job NOT IN (SELECT id FROM job)"));
    TRY(sql_run(q));
fail:
    return st;
}

/* A number is given once, also after the job that had it is forgotten. */
static status
note_last_job(store *s)
{
    uint64_t next;
    status st;

    TRY(store_next_job(s, &next));
    TRY(store_set_number(s, "last_job", next - 1));
fail:
    return st;
}

status
store_forget_jobs(store *s, uint64_t keep_s)
{
    status st;

    TRY(sql_change_begin(s->db));
    st = note_last_job(s);
    if (st == ST_OK)
        st = forget_jobs(s, keep_s);
    st = sql_change_end(s->db, st);
fail:
    return st;
}
