/* SPDX-License-Identifier: Apache-2.0 */
/* The core's frame: making it, telling, time, the way out. */
#include "daemon/core_state.h"

#include <stdarg.h>
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
    c->last_incarnation = cfg->epoch << CLIENT_WORLD_BITS;
    TRY(catalog_new(&c->docs));
    TRY(shares_new(&c->shares));
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
    for (size_t i = 0; i < c->n_world; i++) {
        core_memory_fini(&c->world[i]->memory);
        mem_free(c->world[i]);
    }
    job_table_free(c->jobs);
    shares_free(c->shares);
    catalog_free(c->docs);
    mem_free(c);
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

/* --------------------------------------------------------------- telling ---
 */

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

/* About when a place in the queue gets free. */
static uint32_t
retry_after(const core *c)
{
    size_t n_slot = 0;
    double seconds = c->job_s[JOB_ASK] + c->job_s[JOB_ADD];

    for (size_t i = 0; i < c->n_world; i++)
        n_slot += c->world[i]->n_slot;
    seconds /= n_slot > 0 ? (double)n_slot : 1;
    if (!(seconds > 1))
        return 1;
    return seconds < CORE_MAX_RETRY_S ? (uint32_t)seconds : CORE_MAX_RETRY_S;
}

bool
core_sees(const job_watcher *who, const char *owner)
{
    return who->admin || strcmp(who->owner, owner) == 0;
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
    if (st == ST_LIMIT && c->later)
        m.u.refused.retry_after_s = retry_after(c);
    c->later = false;
    core_tell(c, to, &m);
}

void
core_incident(core *c, const job *j, const char *fmt, ...)
{
    char text[512];
    core_action a = {
        .kind = CORE_INCIDENT, .text = text, .number = j ? j->id : 0};
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    core_act(c, &a);
}

/* ---------------------------------------------------------------- events ---
 */

void
core_job_failed(core *c, uint64_t id, uint32_t attempt, status why,
                const char *text)
{
    job *j = job_table_find(c->jobs, id);

    if (!j || !job_is_open(j))
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
    if (*why) {
        (void)snprintf(c->last_error, sizeof(c->last_error), "%s", why);
        if (!c->stopping)
            core_incident(c, NULL, "%s", why);
    }
    core_dispatch(c);
    core_leave_if_idle(c);
}

void
core_disk_full(core *c, bool full)
{
    c->disk_full = full;
}

/* True: it told something. */
static bool
tick_job(core *c, job *j)
{
    uint64_t age_ms = (c->time.now_ns - j->told_ns) / 1000000;
    bool due =
        (j->changed && age_ms >= CORE_PROGRESS_MS) || age_ms >= CORE_ALIVE_MS;

    if (job_is_open(j) && j->state == CLIENT_RECEIVING && !j->submitted &&
        c->time.now_ns - j->heard_ns > c->cfg.input_timeout_ns) {
        core_job_fail(c, j, ST_TIMEOUT,
                      "the rest of the input did not come in time");
        return true;
    }
    if (due)
        core_watch_progress(c, j);
    core_job_again(c, j);
    return due;
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

static void
look_at_running(core *c)
{
    for (size_t i = 0; i < c->n_world; i++)
        for (uint32_t k = 0; k < c->world[i]->n_slot; k++) {
            uint64_t id = c->world[i]->slot[k].job;
            job *j = id ? job_table_find(c->jobs, id) : NULL;

            if (j && job_is_active(j))
                (void)tick_job(c, j);
        }
}

/* Of many jobs some at a time: to look at thousands, and to tell each that it
 * still waits, would be a long turn. */
static void
look_at_some(core *c)
{
    size_t n = job_table_count(c->jobs);
    size_t at = job_table_place(c->jobs, c->look);
    size_t end = at + (n / CORE_LOOKS > CORE_LOOK ? n / CORE_LOOKS : CORE_LOOK);

    int left = CORE_TELL;

    for (; at < n && at < end && left > 0; at++) {
        job *j = job_table_at(c->jobs, at);

        if (job_is_active(j))
            left -= tick_job(c, j);
    }
    c->look = at < n ? job_table_at(c->jobs, at)->id : 0;
    if (c->look == 0 || job_table_is_stale(c->jobs))
        job_table_trim(c->jobs);
}

void
core_tick(core *c)
{
    forgive_pause(c);
    core_world_silence(c);
    look_at_running(c);
    look_at_some(c);
    core_dispatch(c);
    core_leave_if_idle(c);
}

/* --------------------------------------------------------------- the end ---
 */

void
core_shutdown(core *c)
{
    if (c->stopping)
        return;
    c->stopping = true;
    c->stop_ns = c->time.now_ns;
    for (size_t i = job_table_count(c->jobs); i > 0; i--) {
        job *j = job_table_at(c->jobs, i - 1);

        if (job_is_open(j) && j->state == CLIENT_RECEIVING && !j->submitted)
            core_job_fail(c, j, ST_STATE, "the daemon is shutting down");
    }
    core_leave_if_idle(c);
}

static bool
is_busy(const job *j)
{
    return job_is_active(j) && (j->ending || j->storing || j->tokens_out ||
                                (j->submitted && !j->looking));
}

/* Nothing is on its way to the disk.  As long as the job is that was found
 * last, no other is looked at. */
static bool
is_quiet(core *c)
{
    const job *known = job_table_find(c->jobs, c->busy);

    if (c->n_removal > 0 || (known && is_busy(known)))
        return false;
    for (size_t i = 0; c->n_active > 0 && i < job_table_count(c->jobs); i++) {
        const job *j = job_table_at(c->jobs, i);

        if (is_busy(j)) {
            c->busy = j->id;
            return false;
        }
    }
    return true;
}

void
core_leave_if_idle(core *c)
{
    core_action a = {.kind = CORE_LEAVE};
    bool late;
    bool done;

    if (!c->stopping || c->left)
        return;
    late = c->time.now_ns - c->stop_ns > c->cfg.drain_ns;
    done = c->stopped || core_world_wind_down(c);
    if (!done && !late)
        return;
    if (!c->stopped) {
        c->stopped = true;
        core_world_stop_all(c);
    }
    if (!is_quiet(c) && !late)
        return;
    a.number = !done;
    c->left = true;
    core_act(c, &a);
}
