/* SPDX-License-Identifier: Apache-2.0 */
/* Checkpoints of documents that are being read: shards come in, the last two
 * that are complete and durable are kept, and a new attempt starts from the
 * last. */
#include <stdio.h>
#include <string.h>

#include "daemon/core_state.h"

static void
drop(core *c, const job *j, const job_checkpoint *k)
{
    core_action a = {.kind = CORE_CHECKPOINT_DROP, .job = j, .checkpoint = k};

    core_act(c, &a);
}

static void
forget(core *c, job *j, size_t i)
{
    const job_checkpoint gone = j->checkpoint[i];

    j->n_checkpoint--;
    memmove(j->checkpoint + i, j->checkpoint + i + 1,
            (j->n_checkpoint - i) * sizeof(*j->checkpoint));
    drop(c, j, &gone);
}

void
core_checkpoint_drop_all(core *c, job *j)
{
    while (j->n_checkpoint > 0)
        forget(c, j, j->n_checkpoint - 1);
}

/* A world makes one after the other, each of more segments. */
static status
check_part(core *c, const job *j, const world_message *m, size_t len,
           core_place *place)
{
    const core_world *w = core_world_find(c, j->incarnation);

    if (!w || j->kind != JOB_ADD || m->u.checkpoint.segment <= j->base ||
        m->u.checkpoint.segment < j->checkpoint_at ||
        m->u.checkpoint.segment > j->n_write ||
        m->u.checkpoint.layer >= c->cfg.n_layer || w->memory.token_bytes > 0)
        return status_fail(ST_WIRE, "the world sent a part of a checkpoint "
                                    "that was not due");
    *place = core_memory_layer(&w->memory, m->u.checkpoint.layer);
    if (m->u.checkpoint.total != place->len || len == 0 ||
        len > WORLD_MAX_PART || m->u.checkpoint.offset > place->len ||
        len > place->len - m->u.checkpoint.offset)
        return status_fail(ST_WIRE, "the world's checkpoint has another size "
                                    "than its snapshot");
    return ST_OK;
}

void
core_checkpoint_part(core *c, job *j, const world_message *m,
                     const core_raw *raw)
{
    core_action a = {
        .kind = CORE_CHECKPOINT_PART, .job = j, .world = m, .raw = *raw};
    status st = check_part(c, j, m, raw->len, &a.place);

    if (st != ST_OK) {
        core_job_fail(c, j, st, status_text());
        return;
    }
    j->checkpoint_at = m->u.checkpoint.segment;
    core_act(c, &a);
}

/* Progress is made: the job is no longer under suspicion. */
static void
progress(core *c, job *j)
{
    core_action record = {.kind = CORE_RECORD, .job = j};

    if (j->strikes == 0)
        return;
    j->strikes = 0;
    if (!j->storing) /* its row would say that it is done */
        core_act(c, &record);
}

void
core_checkpointed(core *c, uint64_t id, const job_checkpoint *k, status st,
                  const char *text)
{
    job *j = job_table_find(c->jobs, id);
    core_world *w;
    world_message m = {.kind = WORLD_KEPT, .job = id, .attempt = k->attempt};

    if (!j || !job_is_active(j) || j->ending || j->attempt != k->attempt) {
        if (st == ST_OK) { /* its job went on without it */
            const job gone = {.id = id};

            drop(c, j ? j : &gone, k);
        }
        return;
    }
    if (st != ST_OK) {
        core_incident(c, j,
                      "the checkpoint after segment %llu was not kept: "
                      "%.300s",
                      (unsigned long long)k->segment, text);
    } else {
        if (j->n_checkpoint == JOB_MAX_CHECKPOINT)
            forget(c, j, 0);
        j->checkpoint[j->n_checkpoint++] = *k;
        progress(c, j);
    }
    w = core_world_find(c, j->incarnation);
    m.u.kept.segment = st == ST_OK ? k->segment : 0;
    if (w && j->state == CLIENT_RUNNING)
        core_world_tell(c, w, &m);
    core_dispatch(c);
}

/* The one before it is used, or the start. */
void
core_checkpoint_damaged(core *c, uint64_t id, uint32_t attempt,
                        const char *text)
{
    job *j = job_table_find(c->jobs, id);

    if (!j || !job_is_open(j) || j->state != CLIENT_RUNNING ||
        j->attempt != attempt || j->n_checkpoint == 0)
        return;
    core_incident(
        c, j, "the checkpoint after segment %llu is damaged: %.300s",
        (unsigned long long)j->checkpoint[j->n_checkpoint - 1].segment, text);
    forget(c, j, j->n_checkpoint - 1);
    core_dispatch_cancel(c, j);
    core_job_retry(c, j, false, text);
    core_dispatch(c);
}

void
core_restore_checkpoint(core *c, const store_checkpoint *k, bool *known)
{
    job *j = job_table_find(c->jobs, k->job);

    *known = j && job_is_active(j) && j->kind == JOB_ADD;
    if (!*known)
        return;
    if (j->n_checkpoint == JOB_MAX_CHECKPOINT) {
        j->n_checkpoint--;
        memmove(j->checkpoint, j->checkpoint + 1,
                j->n_checkpoint * sizeof(*j->checkpoint));
    }
    j->checkpoint[j->n_checkpoint] = (job_checkpoint){
        .segment = k->segment, .bytes = k->bytes, .attempt = k->attempt};
    memcpy(j->checkpoint[j->n_checkpoint++].hash, k->hash, sizeof(k->hash));
    j->segments_done = j->base = k->segment;
    if (k->attempt > j->attempt) /* the job's own row did not get there */
        j->attempt = k->attempt;
}
