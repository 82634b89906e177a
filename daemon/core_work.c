/* SPDX-License-Identifier: Apache-2.0 */
/* What the world that runs a job tells of it. */
#include <stdio.h>
#include <string.h>

#include "daemon/core_state.h"

static void
segments_done(job *j, uint64_t n)
{
    if (n > j->n_write - j->base || j->base + n <= j->segments_done)
        return;
    j->segments_done = j->base + n;
    j->changed = true;
}

static void
credit(core *c, job *j, uint32_t segments)
{
    core_action a = {.kind = CORE_FEED_ALLOW, .job = j};

    j->allowed += segments;
    core_act(c, &a);
}

static void
finish(job *j, const char *how)
{
    (void)snprintf(j->finish, sizeof(j->finish), "%s", how);
}

static status
token(core *c, job *j, const world_message *m)
{
    answer_step step;
    int32_t id = m->u.token.id;
    status st;

    if (j->kind != JOB_ASK || id < 0 || (uint32_t)id >= c->cfg.n_vocab ||
        m->u.token.index >= j->sampling.max_tokens)
        return status_fail(ST_WIRE, "the world gave a token that was not asked "
                                    "for");
    TRY(answer_push(j->answer, &step, m->u.token.index, id,
                    j->sampling.logprobs ? m->u.token.logprob : 0));
    if (step.stopped) {
        core_dispatch_cancel(c, j);
        finish(j, "stop");
        core_job_done(c, j);
    } else {
        core_watch_tokens(c, j);
    }
fail:
    return st;
}

static status
check_part(core *c, const job *j, const world_message *m, size_t len)
{
    const core_world *w = core_world_find(c, j->incarnation);
    uint64_t end = m->u.snapshot.offset + len;
    uint64_t read = j->n_write * c->cfg.segment_size;

    if (j->kind != JOB_ADD || j->snapshot_done || len == 0 ||
        len > WORLD_MAX_PART || m->u.snapshot.offset != j->snapshot_at)
        return status_fail(ST_WIRE, "the world sent a part of a snapshot that "
                                    "was not due");
    if (!w || m->u.snapshot.total != core_memory_snapshot(&w->memory, read) ||
        end > m->u.snapshot.total ||
        m->u.snapshot.last != (end == m->u.snapshot.total))
        return status_fail(ST_WIRE,
                           "the world's snapshot has another size than it "
                           "announced");
    return ST_OK;
}

static status
snapshot(core *c, job *j, const world_message *m, const core_raw *raw)
{
    core_action a = {
        .kind = CORE_SNAPSHOT_PART, .job = j, .world = m, .raw = *raw};
    status st;

    TRY(check_part(c, j, m, raw->len));
    core_act(c, &a);
    j->snapshot_at += raw->len;
    if (m->u.snapshot.last) {
        j->snapshot_done = true;
        j->snapshot_bytes = j->snapshot_at;
        core_store_if_whole(c, j);
    }
fail:
    return st;
}

static status
job_done(core *c, job *j, const world_message *m)
{
    status st = ST_OK;

    j->world_done = true;
    j->segments_done = j->n_write;
    if (j->kind == JOB_ADD) {
        core_store_if_whole(c, j);
        return ST_OK;
    }
    TRY(answer_finish(j->answer));
    finish(j, m->u.job_done.finish);
    core_job_done(c, j);
fail:
    return st;
}

static void
job_failed(core *c, job *j, const world_message *m)
{
    status why = ST_DEVICE;

    for (int i = ST_OK + 1; i < ST_COUNT; i++)
        if (strcmp(status_name((status)i), m->u.failed.code) == 0)
            why = (status)i;
    if (c->stopping && why == ST_CANCELED) {
        core_job_retry(c, j, false, m->u.failed.text); /* in the next run */
        return;
    }
    if (why == ST_NUMERIC && !j->recomputed) { /* the machine, or the model? */
        j->recomputed = true;
        core_incident(c, j, "attempt %u: %.300s", j->attempt, m->u.failed.text);
        core_job_retry(c, j, false, m->u.failed.text);
        return;
    }
    j->incarnation = 0; /* nothing is left there to cancel */
    core_job_fail(c, j, why, m->u.failed.text);
}

void
core_work_event(core *c, job *j, const world_message *m, const core_raw *raw)
{
    status st = ST_OK;

    switch ((int)m->kind) {
    case WORLD_CREDIT:
        credit(c, j, m->u.credit.segments);
        break;
    case WORLD_SEGMENTS_DONE:
        segments_done(j, m->u.segments_done.segments);
        break;
    case WORLD_TOKEN:
        st = token(c, j, m);
        break;
    case WORLD_SNAPSHOT:
        st = snapshot(c, j, m, raw);
        break;
    case WORLD_CHECKPOINT:
        core_checkpoint_part(c, j, m, raw);
        break;
    case WORLD_JOB_DONE:
        st = job_done(c, j, m);
        break;
    case WORLD_JOB_FAILED:
        job_failed(c, j, m);
        break;
    default:
        st = status_fail(ST_WIRE, "message %d is not a world's to send",
                         (int)m->kind);
        break;
    }
    if (st != ST_OK)
        core_job_fail(c, j, st, status_text());
}
