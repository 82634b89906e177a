/* SPDX-License-Identifier: Apache-2.0 */
/* From a request to its acknowledgement: the key is looked up, the input comes
 * in, and both go into the journal. */
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "daemon/core_state.h"

static void
act(core *c, core_action_kind kind, const job *j)
{
    core_action a = {.kind = kind, .job = j};

    core_act(c, &a);
}

/* As if the request had never been. */
static void
turn_away(core *c, job *j, status st)
{
    job_watcher from = j->sender;

    core_refuse(c, &from, st);
    act(c, CORE_JOB_DROP, j);
    core_job_remove(c, j);
    core_leave_if_idle(c);
}

static void
grant(core *c, job *j, uint64_t credit)
{
    client_message m = {.kind = CLIENT_MORE_INPUT};

    if (credit > j->bytes)
        credit = j->bytes;
    if (credit <= j->credit)
        return;
    j->credit = credit;
    m.u.accepted.input_credit = credit;
    core_tell(c, &j->sender, &m);
}

static void
submit_if_whole(core *c, job *j)
{
    if (j->looking || j->submitted || j->written < j->bytes)
        return;
    j->submitted = true;
    act(c, CORE_SUBMIT, j);
}

/* ------------------------------------------------------------- the start ---
 */

/* An earlier submission whose input never came to its end is replaced. */
static void
supersede(core *c, const job *by)
{
    job *j = NULL;

    while ((j = job_table_by_key(c->jobs, by->owner, by->key, j)) != NULL)
        if (job_is_open(j) && j->state == CLIENT_RECEIVING &&
            j->written < j->bytes)
            core_job_fail(c, j, ST_STATE, "the job was submitted once more");
}

/* No job has its key. */
static void
admit(core *c, job *j)
{
    bool had_key = j->looking;
    status st = core_submit_admit(c, j);

    j->looking = false;
    if (st != ST_OK && had_key) {
        turn_away(c, j, st);
        return;
    }
    if (st != ST_OK) { /* nothing has been done for it */
        job_watcher from = j->sender;

        core_job_remove(c, j);
        core_refuse(c, &from, st);
        return;
    }
    if (j->kind == JOB_ASK) {
        catalog_by_id(c->docs, j->document_id)->users++;
        j->holds = true;
    } else {
        job_table_index_name(c->jobs, j);
    }
    if (!had_key)
        act(c, CORE_INPUT_OPEN, j);
    submit_if_whole(c, j);
}

void
core_input_open(core *c, job *j, const job_watcher *from, const client_key *key)
{
    j->sender = *from;
    job_table_index_sender(c->jobs, j);
    ASSERT(job_table_watch(c->jobs, j, &from->client, from->request) == ST_OK);
    j->has_hash = key->has_hash;
    memcpy(j->hash, key->hash, sizeof(j->hash));
    (void)snprintf(j->key, sizeof(j->key), "%s", key->key ? key->key : "");
    if (j->key[0]) {
        supersede(c, j);
        job_table_index_key(c->jobs, j);
        j->looking = true;
        act(c, CORE_INPUT_OPEN, j);
        act(c, CORE_LOOKUP, j);
        return;
    }
    admit(c, j);
}

/* ------------------------------------------------------------- the input ---
 */

static status
check_chunk(const job *j, uint64_t offset, size_t len)
{
    if (len == 0 || len > CLIENT_MAX_CHUNK)
        return status_fail(ST_WIRE, "a chunk has 1 to %d bytes",
                           CLIENT_MAX_CHUNK);
    if (offset != j->received)
        return status_fail(
            ST_WIRE, "a chunk at byte %llu came where byte %llu was due",
            (unsigned long long)offset, (unsigned long long)j->received);
    if (len > j->bytes - j->received)
        return status_fail(ST_WIRE, "more input came than was announced");
    if (len > j->credit - j->received)
        return status_fail(ST_LIMIT,
                           "input came before there was credit for it");
    return ST_OK;
}

/* Short inputs are collected in memory, where they are at once. */
static void
take(core *c, job *j, const core_raw *raw)
{
    core_action a = {.kind = CORE_INPUT_DATA, .job = j, .raw = *raw};

    j->received += raw->len;
    j->heard_ns = c->time.now_ns;
    core_act(c, &a);
    if (j->bytes <= CLIENT_MAX_INLINE)
        j->written = j->received;
}

/* A chunk for a job that has ended is dropped: its client was told why. */
void
core_input_chunk(core *c, const job_watcher *from, const client_message *m,
                 const core_raw *raw)
{
    job *j = job_table_by_sender(c->jobs, from);
    status st;

    if (!j || !job_is_open(j) || j->state != CLIENT_RECEIVING)
        return;
    st = check_chunk(j, m->u.chunk.offset, raw->len);
    if (st != ST_OK) {
        core_job_fail(c, j, st, status_text());
        return;
    }
    take(c, j, raw);
    submit_if_whole(c, j);
}

/* What came with the request, or credit for it. */
void
core_input_whole(core *c, job *j, const core_raw *raw)
{
    if (raw->len == 0) {
        if (!j->looking)
            grant(c, j, c->cfg.input_window);
        return;
    }
    j->credit = j->bytes;
    take(c, j, raw);
    submit_if_whole(c, j);
}

void
core_input_written(core *c, uint64_t id, uint64_t bytes)
{
    job *j = job_table_find(c->jobs, id);

    if (!j || !job_is_open(j) || j->state != CLIENT_RECEIVING)
        return;
    j->written = bytes;
    j->heard_ns = c->time.now_ns;
    grant(c, j, bytes + c->cfg.input_window);
    submit_if_whole(c, j);
}

/* --------------------------------------------------------------- the key ---
 */

static bool
same_sampling(const client_sampling *a, const client_sampling *b)
{
    return a->max_tokens == b->max_tokens && a->top_k == b->top_k &&
           a->seed == b->seed && a->ignore_eos == b->ignore_eos &&
           a->logprobs == b->logprobs &&
           memcmp(&a->temperature, &b->temperature, sizeof(float)) == 0 &&
           memcmp(&a->top_p, &b->top_p, sizeof(float)) == 0 &&
           memcmp(&a->min_p, &b->min_p, sizeof(float)) == 0 &&
           memcmp(&a->penalty, &b->penalty, sizeof(float)) == 0;
}

static bool
same_stops(const job *j, const store_record *r)
{
    return j->stops_len == r->stops_len &&
           (j->stops_len == 0 || memcmp(j->stops, r->stops, j->stops_len) == 0);
}

static bool
is_same(const job *j, const store_record *r)
{
    const store_job *row = &r->row;

    return j->kind == row->kind && j->input == row->input &&
           j->bytes == row->bytes && strcmp(j->document, row->document) == 0 &&
           memcmp(j->hash, row->hash, sizeof(j->hash)) == 0 &&
           (j->kind == JOB_ADD ||
            (same_sampling(&j->sampling, &row->sampling) && same_stops(j, r)));
}

/* One with the same key was looked up before and goes into the journal now. */
static bool
is_on_its_way(const core *c, const job *by)
{
    const job *j = NULL;

    while ((j = job_table_by_key(c->jobs, by->owner, by->key, j)) != NULL)
        if (j != by && j->state == CLIENT_RECEIVING && j->submitted)
            return true;
    return false;
}

/* The submission is the job `row`: its sender hears of that one from now on.
 */
static void
join(core *c, job *j, const store_job *row)
{
    client_message m = {.kind = CLIENT_ACCEPTED};
    job_watcher from = j->sender;
    job *found = job_table_find(c->jobs, row->id);
    core_action fetch = {
        .kind = CORE_FETCH, .watcher = &from, .number = row->id};
    status st = ST_OK;

    m.u.accepted.job = row->id;
    m.u.accepted.input_credit = j->bytes;
    m.u.accepted.epoch = c->cfg.epoch;
    act(c, CORE_JOB_DROP, j);
    core_job_remove(c, j);
    if (found && job_is_active(found)) {
        st = core_model_resumes(c, found);
        if (st == ST_OK)
            st = job_table_watch(c->jobs, found, &from.client, from.request);
    }
    if (st != ST_OK) {
        core_refuse(c, &from, st);
        return;
    }
    core_tell(c, &from, &m);
    if (found && !found->is_row)
        core_watch_report(c, found, &from);
    else
        core_act(c, &fetch);
}

void
core_looked_up(core *c, uint64_t id, status st, const store_record *r,
               const char *text)
{
    job *j = job_table_find(c->jobs, id);

    if (!j || !job_is_open(j) || !j->looking)
        return;
    if (st == ST_OK && (r->row.damaged || is_same(j, r))) {
        /* Who has the key is told what became of the job. */
        join(c, j, &r->row);
    } else if (st == ST_OK) {
        turn_away(c, j,
                  status_fail(ST_ARG, "the key belongs to another job with "
                                      "other content"));
    } else if (st != ST_NOTFOUND) {
        turn_away(c, j, status_fail(st, "%s", text));
    } else if (is_on_its_way(c, j)) {
        act(c, CORE_LOOKUP, j); /* behind it */
    } else {
        uint64_t credit = c->cfg.input_window;

        admit(c, j);
        j = job_table_find(c->jobs, id);
        if (j && j->received < j->bytes)
            grant(c, j, credit);
    }
    core_leave_if_idle(c);
}

/* ----------------------------------------------------------- the journal ---
 */

void
core_submitted(core *c, uint64_t id, status st, const char *text)
{
    job *j = job_table_find(c->jobs, id);
    client_message m = {.kind = CLIENT_ACCEPTED};

    if (!j || !j->submitted)
        return;
    j->submitted = false;
    if (st != ST_OK) {
        if (!j->ending)
            core_job_fail(c, j, st, text);
        else
            core_job_again(c, j);
        return;
    }
    core_job_state(c, j, CLIENT_QUEUED);
    m.u.accepted.job = id;
    m.u.accepted.input_credit = j->bytes;
    m.u.accepted.epoch = c->cfg.epoch;
    core_tell(c, &j->sender, &m);
    if (j->ending) /* canceled meanwhile: now that has to be durable too */
        core_job_again(c, j);
    core_dispatch(c);
    core_leave_if_idle(c);
}
