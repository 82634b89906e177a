/* SPDX-License-Identifier: Apache-2.0 */
/* What was asked for is done in order, or fails. */
#include "tests/daemon/sim.h"

#include <string.h>

static uint64_t
tokens_of(uint64_t job)
{
    return 9 + job * 13 % 90;
}

/* Of this attempt; 0: of any. */
static void
drop_checkpoint(sim_row *r, uint64_t segment, uint32_t attempt)
{
    size_t kept = 0;

    for (size_t i = 0; i < r->n_checkpoint; i++)
        if (r->checkpoint[i].segment != segment ||
            (attempt != 0 && r->checkpoint[i].attempt != attempt))
            r->checkpoint[kept++] = r->checkpoint[i];
    r->n_checkpoint = kept;
}

/* In the order of segments, as the journal gives them. */
static void
put_checkpoint(sim *s, sim_row *r, const sim_work *w)
{
    size_t i = r->n_checkpoint;

    SIM_CHECK(s, i < 16);
    for (; i > 0 && r->checkpoint[i - 1].segment > w->number; i--)
        r->checkpoint[i] = r->checkpoint[i - 1];
    r->checkpoint[i] = (store_checkpoint){.job = w->job,
                                          .segment = w->number,
                                          .bytes = SNAPSHOT,
                                          .attempt = w->attempt};
    r->n_checkpoint++;
}

/* Makes it durable, or not: ST_IO. */
static status
apply(sim *s, sim_work *w)
{
    sim_row *r = w->job <= MAX_JOB ? &s->disk[w->job] : NULL;

    if (!r)
        return ST_NOTFOUND;
    if (w->kind <= WORK_STORE && sim_chance(s, 3))
        return status_fail(ST_IO, "the disk is full");
    switch (w->kind) {
    case WORK_SUBMIT:
        SIM_CHECK(s, !r->there);
        *r = (sim_row){.there = true, .job = w->row};
        break;
    case WORK_RECORD:
        r->job = w->row;
        break;
    case WORK_TOKENS:
    case WORK_END:
        for (size_t i = 0; i < w->n_id; i++) {
            SIM_CHECK(s, w->first + i <= r->n_id);
            if (w->first + i < r->n_id)
                SIM_CHECK(s, r->ids[w->first + i] == w->ids[i]);
            r->ids[w->first + i] = w->ids[i];
            if (w->first + i == r->n_id)
                r->n_id++;
        }
        if (w->kind == WORK_END) {
            SIM_CHECK(s, r->job.state < CLIENT_STATE_DONE); /* P2: once */
            r->job = w->row;
            r->n_checkpoint = 0;
        }
        break;
    case WORK_STORE:
        SIM_CHECK(s, r->job.state < CLIENT_STATE_DONE);
        r->job = w->row;
        r->n_checkpoint = 0;
        s->doc[s->n_doc++] = w->doc;
        break;
    case WORK_CHECKPOINT:
        drop_checkpoint(r, w->number, 0); /* a later one takes its place */
        if (r->job.state >= CLIENT_STATE_DONE)
            break;
        put_checkpoint(s, r, w);
        break;
    case WORK_DROP:
        drop_checkpoint(r, w->number, w->attempt);
        break;
    case WORK_LOOKUP:
    case WORK_FETCH:
    case WORK_PREPARE:
        break;
    }
    return ST_OK;
}

static void
look_up(sim *s, const sim_work *w)
{
    for (uint64_t id = 1; id <= MAX_JOB; id++)
        if (s->disk[id].there && strcmp(s->disk[id].job.key, w->row.key) == 0) {
            const store_record found = {.row = s->disk[id].job};

            core_looked_up(s->c, w->job, ST_OK, &found, "");
            return;
        }
    core_looked_up(s->c, w->job, ST_NOTFOUND, NULL, "none");
}

static void
fetch(sim *s, const sim_work *w)
{
    sim_row *r = &s->disk[w->job];
    store_record record = {.row = r->job, .ids = r->ids, .n_id = r->n_id};

    core_fetched(s->c, &w->watcher, r->there ? ST_OK : ST_NOTFOUND, &record,
                 "none");
}

void
sim_work_once(sim *s)
{
    job_checkpoint k;
    status st;
    sim_work w;

    if (s->n_work == 0)
        return;
    w = s->queue[s->head];
    s->head = (s->head + 1) % MAX_WORK;
    s->n_work--;
    st = apply(s, &w);
    k = (job_checkpoint){
        .segment = w.number, .bytes = SNAPSHOT, .attempt = w.attempt};
    switch (w.kind) {
    case WORK_SUBMIT:
        core_submitted(s->c, w.job, st, "the disk is full");
        break;
    case WORK_TOKENS:
        core_tokens_kept(s->c, w.job, w.first + w.n_id, st);
        break;
    case WORK_END:
        core_ended(s->c, w.job, st, "the disk is full");
        break;
    case WORK_STORE:
        core_stored(s->c, w.job, st, "the disk is full", NULL);
        break;
    case WORK_LOOKUP:
        look_up(s, &w);
        break;
    case WORK_FETCH:
        fetch(s, &w);
        break;
    case WORK_PREPARE:
        core_tokenized(s->c, w.job, tokens_of(w.job), true);
        break;
    case WORK_CHECKPOINT:
        core_checkpointed(s->c, w.job, &k, st, "");
        break;
    case WORK_RECORD:
    case WORK_DROP:
        break;
    }
}
