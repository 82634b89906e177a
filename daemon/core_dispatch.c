/* SPDX-License-Identifier: Apache-2.0 */
/* Which job runs where: questions before documents, then by age, on the world
 * with the most room. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "daemon/core_state.h"

static status
world_suits(const core *c, const core_world *w, const job *j)
{
    if (j->kind == JOB_ASK && j->sampling.max_tokens > w->max_generate)
        return status_fail(ST_LIMIT,
                           "an answer of %u tokens is asked for, and the "
                           "worker's limit is %u",
                           j->sampling.max_tokens, w->max_generate);
    return core_memory_suits(c, &w->memory, j);
}

status
core_dispatch_possible(const core *c, const job *j)
{
    status st = ST_OK;

    for (size_t i = 0; i < c->n_world; i++) {
        st = world_suits(c, c->world[i], j);
        if (st == ST_OK)
            return ST_OK;
    }
    return st;
}

/* A world that ended under a job may have ended because of it.  Until such a
 * job has made progress it runs alone: it takes no other job along, and no
 * other is suspected in its place. */
static bool
is_suspect(const job *j)
{
    return j->strikes > 0;
}

static bool
runs_suspect(core *c, const core_world *w)
{
    for (uint32_t i = 0; i < w->n_slot; i++) {
        const job *j =
            w->slot[i].job ? job_table_find(c->jobs, w->slot[i].job) : NULL;

        if (j && is_suspect(j) && j->incarnation == w->incarnation)
            return true;
    }
    return false;
}

/* A document leaves the last stream of a world to questions, if there are
 * several: they must not wait for a million tokens. */
static core_world *
best_world(core *c, const job *j)
{
    core_world *best = NULL;
    uint32_t most = 0;

    for (size_t i = 0; i < c->n_world; i++) {
        core_world *w = c->world[i];
        uint32_t n = w->n_slot - w->n_busy;

        if (j->kind == JOB_ADD && w->n_slot > 1 && n > 0)
            n--;
        if (n <= most)
            continue;
        if (is_suspect(j) ? w->n_busy > 0 : runs_suspect(c, w))
            continue;
        if (world_suits(c, w, j) != ST_OK)
            continue;
        best = w;
        most = n;
    }
    return best;
}

static void
fill_generate(const core *c, const job *j, world_generate *g)
{
    g->max_tokens = j->sampling.max_tokens;
    g->temperature = j->sampling.temperature;
    g->top_k = j->sampling.top_k;
    g->top_p = j->sampling.top_p;
    g->min_p = j->sampling.min_p;
    g->penalty = j->sampling.penalty;
    g->logprobs = j->sampling.logprobs;
    g->seed = j->sampling.seed;
    if (j->sampling.ignore_eos)
        return;
    g->n_eos = c->cfg.n_eos;
    memcpy(g->eos, c->cfg.eos, sizeof(g->eos));
}

/* Tokens that were told stay as they are: they are drawn again by force. */
static status
force(const job *j, world_message *m, uint8_t **out, core_raw *raw)
{
    const int32_t *ids;
    size_t n_id = 0;
    status st;

    if (!j->answer)
        return ST_OK;
    ids = answer_ids(j->answer, &n_id);
    if (n_id == 0)
        return ST_OK;
    TRY(mem_new(out, n_id, sizeof(int32_t)));
    for (size_t i = 0; i < n_id; i++)
        for (int k = 0; k < 4; k++)
            (*out)[4 * i + k] = (uint8_t)((uint32_t)ids[i] >> 8 * k);
    m->u.begin.n_forced = (uint32_t)n_id;
    *raw = (core_raw){.data = out, .len = n_id * sizeof(int32_t)};
fail:
    return st;
}

static void
fill_begin(const core *c, const job *j, world_message *m)
{
    m->u.begin.n_segment = j->n_write - j->base;
    m->u.begin.want_snapshot = j->kind == JOB_ADD;
    m->u.begin.n_token = core_memory_tokens(c, j);
    if (j->kind == JOB_ASK) {
        m->u.begin.first_segment = j->first_segment;
        m->u.begin.snapshot_bytes = j->snapshot_bytes;
        fill_generate(c, j, &m->u.begin.generate);
        return;
    }
    m->u.begin.checkpoint_segments = c->cfg.checkpoint_segments;
    m->u.begin.checkpoint_ms = c->cfg.checkpoint_ms;
    m->u.begin.first_segment = j->base;
    if (j->base > 0)
        m->u.begin.snapshot_bytes = j->checkpoint[j->n_checkpoint - 1].bytes;
}

/* Where the job goes on, and as what. */
static void
assign(core *c, job *j, core_world *w)
{
    uint32_t slot = 0;

    while (w->slot[slot].job != 0)
        slot++;
    j->attempt++;
    w->slot[slot] = (core_slot){.job = j->id, .attempt = j->attempt};
    w->n_busy++;
    j->incarnation = w->incarnation;
    j->base = j->kind == JOB_ADD && j->n_checkpoint > 0
                  ? j->checkpoint[j->n_checkpoint - 1].segment
                  : 0;
    j->segments_done = j->checkpoint_at = j->base;
    j->allowed = j->base + w->credit_segments;
    j->begun_ns = c->time.now_ns;
    memcpy(j->fingerprint, c->fingerprint, sizeof(j->fingerprint));
    if (j->device[0] && strcmp(j->device, w->device) != 0)
        core_incident(c, j,
                      "moved from %s to %s: results may differ in "
                      "the last digits",
                      j->device, w->device);
    (void)snprintf(j->device, sizeof(j->device), "%s", w->device);
    core_job_state(c, j, CLIENT_RUNNING);
}

static void
begin(core *c, job *j, core_world *w)
{
    world_message m = {.kind = WORLD_BEGIN};
    core_action tell = {.kind = CORE_TELL_WORLD, .peer = &w->peer, .world = &m};
    core_action record = {.kind = CORE_RECORD, .job = j};
    core_action feed = {.kind = CORE_FEED_OPEN,
                        .peer = &w->peer,
                        .job = j,
                        .document = catalog_by_id(c->docs, j->document_id)};
    uint8_t *forced = NULL;

    if (force(j, &m, &forced, &tell.raw) != ST_OK)
        return; /* there may be memory at the next tick */
    assign(c, j, w);
    m.incarnation = w->incarnation;
    m.job = j->id;
    m.attempt = j->attempt;
    fill_begin(c, j, &m);
    core_act(c, &record);
    core_act(c, &tell);
    core_act(c, &feed);
    mem_free(forced);
}

/* ----------------------------------------------------------- the queue --- */

static size_t
all_slots(const core *c)
{
    size_t n = 0;

    for (size_t i = 0; i < c->n_world; i++)
        n += c->world[i]->n_slot;
    return n;
}

static bool
must_wait(core *c, job *j)
{
    if (core_model_suits(c, j) == ST_OK)
        return false;
    core_model_wait(c, j);
    return true;
}

static void
prepare(core *c, job *j)
{
    core_action a = {.kind = CORE_PREPARE,
                     .job = j,
                     .document = j->kind == JOB_ASK
                                     ? catalog_by_id(c->docs, j->document_id)
                                     : NULL};

    if (core_model_is_open(c, j) || must_wait(c, j))
        return;
    core_job_stage(c, j, JOB_PREPARING);
    core_act(c, &a);
}

/* False: nothing younger may run before this one. */
static bool
dispatch_one(core *c, job *j)
{
    core_world *w;
    status st;

    if (must_wait(c, j) || j->stage != JOB_READY)
        return true;
    st = core_dispatch_possible(c, j);
    if (st != ST_OK) {
        core_job_fail(c, j, st, status_text());
        return true;
    }
    w = best_world(c, j);
    if (w)
        begin(c, j, w);
    return w || !is_suspect(j);
}

static bool
dispatch_kind(core *c, job_kind kind)
{
    size_t ahead = CORE_AHEAD + all_slots(c);
    uint64_t after = 0;
    job *j;

    while ((j = job_table_queued(c->jobs, kind, after)) != NULL) {
        after = j->id;
        if (j->stage == JOB_RAW && c->n_ahead[kind] >= ahead)
            break; /* and so are those behind it */
        if (j->stage == JOB_RAW)
            prepare(c, j);
        if (c->n_world > 0 && !dispatch_one(c, j))
            return false;
    }
    return true;
}

void
core_dispatch(core *c)
{
    if (c->stopping)
        return;
    if (dispatch_kind(c, JOB_ASK))
        (void)dispatch_kind(c, JOB_ADD);
}

void
core_dispatch_cancel(core *c, const job *j)
{
    core_world *w = core_world_find(c, j->incarnation);
    world_message m = {
        .kind = WORLD_CANCEL, .job = j->id, .attempt = j->attempt};

    if (w && j->state == CLIENT_RUNNING)
        core_world_tell(c, w, &m);
}
