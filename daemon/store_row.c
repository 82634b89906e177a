/* SPDX-License-Identifier: Apache-2.0 */
/* A job's row, between its columns and numbers. */
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "daemon/store_impl.h"

void
store_row_put(sql_query *q, const store_job *j)
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
void
store_row_spoil(const sql_query *q, store_job *j)
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
void
store_row_read(const sql_query *q, store_job *j)
{
    client_sampling *p = &j->sampling;
    uint64_t state = sql_number(q, 2);
    uint64_t code = sql_number(q, 29);

    if (sql_number(q, STORE_WHOLE) != 1 || sql_number(q, 1) > JOB_ASK ||
        state > CLIENT_CANCELED || code >= ST_COUNT ||
        sql_number(q, 9) > CLIENT_IDS ||
        sql_number(q, 12) > CLIENT_MAX_GENERATE) {
        store_row_spoil(q, j);
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
