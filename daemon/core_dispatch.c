/* SPDX-License-Identifier: Apache-2.0 */
/* Which job runs where: questions before documents, then by age, on the world
 * with the most room. */
#include <string.h>

#include "daemon/core_state.h"

static uint32_t
free_slots(const core_world *w)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < w->n_slot; i++)
        n += w->slot[i].job == 0;
    return n;
}

static status
world_suits(const core_world *w, const job *j)
{
    if (j->kind == JOB_ASK && j->sampling.max_tokens > w->max_generate)
        return status_fail(ST_LIMIT,
                           "an answer of %u tokens is asked for, and the "
                           "worker's limit is %u",
                           j->sampling.max_tokens, w->max_generate);
    if (j->kind == JOB_ASK && j->snapshot_bytes > 0 &&
        j->snapshot_bytes != w->snapshot_bytes)
        return status_fail(ST_STATE,
                           "the document's snapshot is of another model");
    return ST_OK;
}

status
core_dispatch_possible(const core *c, const job *j)
{
    const document *doc = catalog_by_id(c->docs, j->document_id);
    status st = ST_OK;

    if (j->kind == JOB_ASK && doc && c->has_fingerprint &&
        document_has_model(doc) &&
        memcmp(doc->fingerprint, c->fingerprint, sizeof(c->fingerprint)) != 0)
        return status_fail(ST_STATE,
                           "document '%s' was read by another model than '%s'",
                           doc->name, c->cfg.model);
    for (size_t i = 0; i < c->n_world; i++) {
        st = world_suits(c->world[i], j);
        if (st == ST_OK)
            return ST_OK;
    }
    if (c->n_world == 0 && c->launch == CORE_LAUNCH_GAVE_UP)
        return status_fail(ST_STATE, "no world is left to run it: %.400s",
                           c->last_error);
    return st;
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
        uint32_t n = free_slots(w);

        if (j->kind == JOB_ADD && w->n_slot > 1 && n > 0)
            n--;
        if (n <= most || world_suits(w, j) != ST_OK)
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
    g->seed = j->sampling.seed;
    if (j->sampling.ignore_eos)
        return;
    g->n_eos = c->cfg.n_eos;
    memcpy(g->eos, c->cfg.eos, sizeof(g->eos));
}

static void
begin(core *c, job *j, core_world *w)
{
    world_message m = {.kind = WORLD_BEGIN,
                       .incarnation = w->incarnation,
                       .job = j->id,
                       .attempt = j->attempt + 1};
    core_action tell = {.kind = CORE_TELL_WORLD, .peer = &w->peer, .world = &m};
    core_action feed = {.kind = CORE_FEED_OPEN,
                        .peer = &w->peer,
                        .job = j,
                        .document = catalog_by_id(c->docs, j->document_id)};
    uint32_t slot = 0;

    while (w->slot[slot].job != 0)
        slot++;
    j->attempt++;
    w->slot[slot] = (core_slot){.job = j->id, .attempt = j->attempt};
    j->incarnation = w->incarnation;
    j->allowed = w->credit_segments;
    j->state = CLIENT_RUNNING;
    j->begun_ns = c->time.now_ns;
    j->changed = true;
    m.u.begin.n_segment = j->n_write;
    m.u.begin.want_snapshot = j->kind == JOB_ADD;
    if (j->kind == JOB_ASK) {
        m.u.begin.first_segment = j->first_segment;
        m.u.begin.snapshot_bytes = j->snapshot_bytes;
        fill_generate(c, j, &m.u.begin.generate);
    }
    core_act(c, &tell);
    core_act(c, &feed);
}

/* The next job in line that has not been passed over: its rank is its kind,
 * then its age.  *after is the rank of the one before. */
static job *
next_queued(core *c, job_kind kind, uint64_t *after)
{
    for (size_t i = 0; i < job_table_count(c->jobs); i++) {
        job *j = job_table_at(c->jobs, i);

        if (j->state != CLIENT_QUEUED || j->kind != kind || j->id <= *after)
            continue;
        *after = j->id;
        return j;
    }
    return NULL;
}

static void
dispatch_kind(core *c, job_kind kind)
{
    uint64_t after = 0;
    job *j;

    while ((j = next_queued(c, kind, &after)) != NULL) {
        core_world *w;
        status st;

        st = core_dispatch_possible(c, j);
        if (st != ST_OK) {
            core_job_fail(c, j, st, status_text());
            continue;
        }
        w = best_world(c, j);
        if (w)
            begin(c, j, w);
    }
}

void
core_dispatch(core *c)
{
    if (c->stopping)
        return;
    dispatch_kind(c, JOB_ASK);
    dispatch_kind(c, JOB_ADD);
}

void
core_dispatch_cancel(core *c, const job *j)
{
    core_world *w = core_world_find(c, j->incarnation);
    world_message m = {.kind = WORLD_CANCEL,
                       .incarnation = j->incarnation,
                       .job = j->id,
                       .attempt = j->attempt};
    core_action a = {.kind = CORE_TELL_WORLD, .world = &m};

    if (!w || j->state != CLIENT_RUNNING)
        return;
    a.peer = &w->peer;
    core_act(c, &a);
}
