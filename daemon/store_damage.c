/* SPDX-License-Identifier: Apache-2.0 */
/* What is remembered of rows that rotted. */
#include "daemon/store_impl.h"

status
store_note_damaged(store *s, uint64_t id, bool *first)
{
    sql_query *q;
    size_t n = 0;
    status st;

    TRY(sql_start(s->db, &q,
                  "INSERT OR IGNORE INTO rotten VALUES (?, " STORE_RUNNING_TIME
                  ")"));
    sql_put_number(q, 1, id);
    TRY(sql_run_counted(q, &n));
    *first = n > 0;
fail:
    return st;
}

status
store_drop_damaged_checkpoints(store *s, size_t *n)
{
    sql_query *q;
    status st;

    TRY(sql_start(s->db, &q,
                  "DELETE FROM checkpoint WHERE crc <> " STORE_CHECKPOINT_CRC));
    TRY(sql_run_counted(q, n));
fail:
    return st;
}
