/* SPDX-License-Identifier: Apache-2.0 */
/* The core's frame: making it, telling, time, the way out. */
#include "daemon/core_state.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

status
core_new(core **out, const core_config *cfg, uint64_t next_job,
         core_action_fn *fn, void *ctx)
{
    core *c = NULL;
    status st;

    TRY(mem_new(&c, 1, sizeof(*c)));
    c->cfg = *cfg;
    c->fn = fn;
    c->ctx = ctx;
    TRY(catalog_new(&c->docs));
    TRY(job_table_new(&c->jobs, next_job));
    *out = c;
    return ST_OK;
fail:
    core_free(c);
    return st;
}

void
core_free(core *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->n_world; i++)
        mem_free(c->world[i]);
    job_table_free(c->jobs);
    catalog_free(c->docs);
    mem_free(c);
}

status
core_restore_document(core *c, const document *doc)
{
    return catalog_add(c->docs, doc);
}

status
core_restore_job(core *c, const job *j)
{
    return job_table_restore(c->jobs, j);
}

void
core_set_time(core *c, const core_time *t)
{
    if (!c->started_ns)
        c->started_ns = t->now_ns;
    c->time = *t;
}

const catalog *
core_catalog(const core *c)
{
    return c->docs;
}

const job_table *
core_jobs(const core *c)
{
    return c->jobs;
}

void
core_act(core *c, const core_action *action)
{
    c->fn(c->ctx, action);
}

void
core_tell(core *c, const job_watcher *to, client_message *m)
{
    core_action a = {
        .kind = CORE_TELL_CLIENT, .peer = &to->client, .client = m};

    m->request = to->request;
    core_act(c, &a);
}

void
core_refuse(core *c, const job_watcher *to, status st)
{
    char code[32];
    char text[512];
    client_message m = {.kind = CLIENT_REFUSED};

    (void)snprintf(code, sizeof(code), "%s", status_name(st));
    (void)snprintf(text, sizeof(text), "%s", status_text());
    m.u.refused.code = code;
    m.u.refused.text = text;
    if (st == ST_LIMIT && job_table_active(c->jobs) >= c->cfg.max_queue)
        m.u.refused.retry_after_s = CORE_RETRY_S;
    core_tell(c, to, &m);
}

void
core_job_failed(core *c, uint64_t id, uint32_t attempt, status why,
                const char *text)
{
    job *j = job_table_find(c->jobs, id);

    if (!j || !job_is_active(j) || j->storing)
        return;
    if (attempt && attempt != j->attempt)
        return;
    core_job_fail(c, j, why, text);
    core_dispatch(c);
}

void
core_launch_event(core *c, core_launch state, uint64_t token, const char *why)
{
    if (c->launch_token && *why)
        core_world_drop_all(c, c->launch_token, why);
    c->launch = state;
    c->launch_token = token;
    if (*why)
        (void)snprintf(c->last_error, sizeof(c->last_error), "%s", why);
    core_dispatch(c);
}

static void
tick_job(core *c, job *j)
{
    uint64_t age_ms = (c->time.now_ns - j->told_ns) / 1000000;

    if (j->state == CLIENT_RECEIVING &&
        c->time.now_ns - j->heard_ns > c->cfg.input_timeout_ns) {
        core_job_fail(c, j, ST_TIMEOUT,
                      "the rest of the input did not come in time");
        return;
    }
    if ((j->changed && age_ms >= CORE_PROGRESS_MS) || age_ms >= CORE_ALIVE_MS)
        core_job_progress(c, j);
}

/* After a pause of this process (stopped, suspended, starved) what others said
 * meanwhile has not been heard yet: their silence begins
 * again. */
static void
forgive_pause(core *c)
{
    uint64_t pause = c->time.now_ns - c->ticked_ns;
    bool first = c->ticked_ns == 0;

    c->ticked_ns = c->time.now_ns;
    if (first || pause < (uint64_t)CORE_ASLEEP_MS * 1000000)
        return;
    for (size_t i = 0; i < c->n_world; i++)
        c->world[i]->heard_ns = c->time.now_ns;
    for (size_t i = 0; i < job_table_count(c->jobs); i++)
        job_table_at(c->jobs, i)->heard_ns = c->time.now_ns;
}

void
core_tick(core *c)
{
    forgive_pause(c);
    core_world_silence(c);
    for (size_t i = 0; i < job_table_count(c->jobs); i++) {
        job *j = job_table_at(c->jobs, i);

        if (job_is_active(j))
            tick_job(c, j);
    }
    job_table_trim(c->jobs);
    core_dispatch(c);
    core_leave_if_idle(c);
}

void
core_shutdown(core *c)
{
    if (c->stopping)
        return;
    c->stopping = true;
    for (size_t i = 0; i < job_table_count(c->jobs); i++) {
        job *j = job_table_at(c->jobs, i);

        if (job_is_active(j) && !j->storing)
            core_job_fail(c, j, ST_STATE, "the daemon was shut down");
    }
    for (size_t i = 0; i < c->n_world; i++) {
        world_message m = {.kind = WORLD_STOP,
                           .incarnation = c->world[i]->incarnation};
        core_action a = {
            .kind = CORE_TELL_WORLD, .peer = &c->world[i]->peer, .world = &m};

        core_act(c, &a);
    }
    core_leave_if_idle(c);
}

void
core_leave_if_idle(core *c)
{
    core_action a = {.kind = CORE_LEAVE};

    if (!c->stopping || c->left || c->n_removal > 0)
        return;
    if (job_table_active(c->jobs) > 0)
        return;
    c->left = true;
    core_act(c, &a);
}
