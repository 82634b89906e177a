/* SPDX-License-Identifier: Apache-2.0 */
/* Worlds: joining, whether they are well, how they go. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "daemon/core_state.h"

enum { HANG_STEPS = 20, FIRST_STEP_MS = 600000 };

core_world *
core_world_find(core *c, uint64_t incarnation)
{
    for (size_t i = 0; incarnation != 0 && i < c->n_world; i++)
        if (c->world[i]->incarnation == incarnation)
            return c->world[i];
    return NULL;
}

static core_world *
of_peer(core *c, const zsocket_peer *peer)
{
    for (size_t i = 0; i < c->n_world; i++)
        if (job_same_peer(&c->world[i]->peer, peer))
            return c->world[i];
    return NULL;
}

/* ----------------------------------------------------------------- going ---
 */

/* `strike`: it ended while it had work, perhaps because of that work. */
static void
drop(core *c, core_world *w, bool strike, const char *why)
{
    uint64_t incarnation = w->incarnation;

    for (size_t i = 0; i < c->n_world; i++)
        if (c->world[i] == w) {
            c->world[i] = c->world[--c->n_world];
            break;
        }
    core_memory_fini(&w->memory);
    mem_free(w);
    if (!c->stopping)
        (void)snprintf(c->last_error, sizeof(c->last_error), "%s", why);
    for (size_t i = 0; i < job_table_count(c->jobs); i++) {
        job *j = job_table_at(c->jobs, i);

        if (j->state == CLIENT_RUNNING && !j->ending &&
            j->incarnation == incarnation)
            core_job_retry(c, j, strike, why);
    }
}

/* Its processes are of no use: those that are ours are ended, others are asked
 * to end themselves. */
static void
finish_off(core *c, const core_world *w, core_action_kind how)
{
    world_message m = {.kind = WORLD_ABORT};
    core_action a = {.kind = how, .number = w->launch};

    core_world_tell(c, w, &m);
    if (w->launch != 0 && w->launch == c->launch_token)
        core_act(c, &a);
}

/* If it lives, what it does is for nobody; if not, its launcher is about to end
 * and to say how, or the ranks that are left are about to join. */
static void
let_go(core *c, const core_world *w)
{
    if (w->kin == 0) {
        finish_off(c, w, CORE_WORLD_LEFT);
        return;
    }
    finish_off(c, w, CORE_WORLD_AWAY);
    if (w->launch != 0 && w->launch == c->launch_token)
        c->launch = CORE_LAUNCH_STARTING;
}

void
core_world_gone(core *c, const zsocket_peer *peer, const char *why)
{
    core_world *w = of_peer(c, peer);

    if (!w)
        return;
    if (!c->stopping)
        let_go(c, w);
    drop(c, w, true, why);
    core_dispatch(c);
    core_leave_if_idle(c);
}

void
core_world_drop_all(core *c, uint64_t launch, const char *why)
{
    for (size_t i = c->n_world; i > 0; i--)
        if (c->world[i - 1]->launch == launch)
            drop(c, c->world[i - 1], true, why);
}

void
core_world_tell(core *c, const core_world *w, world_message *m)
{
    core_action a = {.kind = CORE_TELL_WORLD, .peer = &w->peer, .world = m};

    m->incarnation = w->incarnation;
    core_act(c, &a);
}

void
core_world_silence(core *c)
{
    char why[128];

    for (size_t i = c->n_world; i > 0; i--) {
        core_world *w = c->world[i - 1];
        uint64_t silent_ms = (c->time.now_ns - w->heard_ns) / 1000000;

        if (silent_ms <= c->cfg.timeout_ms)
            continue;
        (void)snprintf(why, sizeof(why),
                       "the world of %u rank%s was silent for %.1f s", w->ranks,
                       w->ranks == 1 ? "" : "s", (double)silent_ms / 1e3);
        core_incident(c, NULL, "%s", why);
        if (w->kin != 0 && !c->stopping)
            let_go(c, w); /* its lead may have died alone */
        else
            finish_off(c, w, CORE_WORLD_END);
        drop(c, w, true, why);
    }
}

/* Every world that is busy is told to put its state away, once. */
bool
core_world_wind_down(core *c)
{
    bool done = true;

    for (size_t i = 0; i < c->n_world; i++) {
        core_world *w = c->world[i];
        world_message m = {.kind = WORLD_DRAIN};
        bool busy = w->n_busy > 0;

        done &= !busy;
        if (busy && !w->draining) {
            w->draining = true;
            core_world_tell(c, w, &m);
        }
    }
    return done;
}

void
core_world_stop_all(core *c)
{
    for (size_t i = 0; i < c->n_world; i++) {
        world_message m = {.kind = WORLD_STOP};

        core_world_tell(c, c->world[i], &m);
    }
}

/* --------------------------------------------------------------- joining ---
 */

static status
check_hello(const core *c, const world_hello *h)
{
    const core_config *cfg = &c->cfg;

    if (c->stopping)
        return status_fail(ST_STATE, "the daemon is shutting down");
    if (c->n_world == CORE_MAX_WORLD)
        return status_fail(ST_LIMIT, "there are %d worlds already",
                           CORE_MAX_WORLD);
    if (h->n_layer != cfg->n_layer || h->segment_size != cfg->segment_size ||
        h->n_vocab != cfg->n_vocab)
        return status_fail(ST_STATE,
                           "the world runs another model than the daemon: %u "
                           "layers, segments of %u and %u tokens, not %u, %u "
                           "and %u",
                           h->n_layer, h->segment_size, h->n_vocab,
                           cfg->n_layer, cfg->segment_size, cfg->n_vocab);
    if (!core_model_is_ours(c, h->fingerprint))
        return status_fail(ST_STATE, "the world has loaded another checkpoint "
                                     "than the daemon serves");
    if (c->has_fingerprint &&
        memcmp(h->fingerprint, c->fingerprint, sizeof(c->fingerprint)) != 0)
        return status_fail(ST_STATE, "the world's checkpoint is not that of "
                                     "the worlds before it");
    if (h->streams == 0 || h->credit_segments == 0)
        return status_fail(ST_WIRE, "a world without streams or credits");
    return core_memory_check(h);
}

static void
turn_away(core *c, const zsocket_peer *peer, status st)
{
    char code[32];
    char text[512];
    world_message m = {.kind = WORLD_REFUSE};
    core_action a = {.kind = CORE_TELL_WORLD, .peer = peer, .world = &m};

    (void)snprintf(code, sizeof(code), "%s", status_name(st));
    (void)snprintf(text, sizeof(text), "%s", status_text());
    (void)snprintf(c->last_error, sizeof(c->last_error), "%s", text);
    m.u.failed.code = code;
    m.u.failed.text = text;
    core_act(c, &a);
}

static void
welcome(core *c, const core_world *w)
{
    world_message m = {.kind = WORLD_WELCOME, .incarnation = w->incarnation};
    core_action a = {.kind = CORE_TELL_WORLD, .peer = &w->peer, .world = &m};

    m.u.welcome.incarnation = w->incarnation;
    m.u.welcome.heartbeat_ms = c->cfg.heartbeat_ms;
    m.u.welcome.timeout_ms = c->cfg.timeout_ms;
    core_act(c, &a);
}

static status
join(core *c, const zsocket_peer *peer, const world_hello *h)
{
    core_world *w = NULL;
    status st;

    TRY(check_hello(c, h));
    TRY(mem_new(&w, 1, sizeof(*w)));
    TRY(core_memory_init(&w->memory, h));
    w->incarnation = ++c->last_incarnation;
    w->peer = *peer;
    (void)snprintf(w->placement, sizeof(w->placement), "%s", h->placement);
    (void)snprintf(w->device, sizeof(w->device), "%s", h->device);
    w->ranks = h->ranks;
    w->threads = h->threads;
    w->measured = h->measured;
    w->launch = h->launch;
    w->kin = h->kin;
    w->credit_segments = h->credit_segments;
    w->max_generate = h->max_generate;
    w->heard_ns = c->time.now_ns;
    w->n_slot = h->streams < CORE_MAX_STREAM ? h->streams : CORE_MAX_STREAM;
    memcpy(c->fingerprint, h->fingerprint, sizeof(c->fingerprint));
    c->has_fingerprint = true;
    if (h->launch != 0 && h->launch == c->launch_token)
        c->launch = CORE_LAUNCH_NONE;
    c->world[c->n_world++] = w;
    welcome(c, w);
    return ST_OK;
fail:
    mem_free(w);
    return st;
}

static core_world *
of_kin(core *c, uint64_t kin)
{
    for (size_t i = 0; kin != 0 && i < c->n_world; i++)
        if (c->world[i]->kin == kin)
            return c->world[i];
    return NULL;
}

static void
hello(core *c, const zsocket_peer *peer, const world_hello *h)
{
    core_world *old = of_peer(c, peer);
    core_world *kin;
    status st;

    if (old)
        drop(c, old, false, "the world started afresh");
    kin = of_kin(c, h->kin);
    if (kin)
        drop(c, kin, true, "a rank died; the others go on");
    st = join(c, peer, h);
    if (st != ST_OK)
        turn_away(c, peer, st);
    core_dispatch(c);
}

/* --------------------------------------------------------- what it tells ---
 */

static bool
release_slot(core_world *w, uint64_t id, uint32_t attempt)
{
    for (uint32_t i = 0; i < w->n_slot; i++)
        if (w->slot[i].job == id && w->slot[i].attempt == attempt) {
            w->slot[i] = (core_slot){0};
            w->n_busy--;
            return true;
        }
    return false;
}

/* A long step does not look like a hang: what is slow sets its own limit. */
static uint64_t
hang_limit(const core *c, const world_message *m)
{
    uint64_t slow = m->u.heartbeat.slowest_ms;
    uint64_t limit = slow < UINT32_MAX ? HANG_STEPS * slow : UINT64_MAX;

    if (slow == 0) /* no step has been seen yet: its pace is not known */
        limit = FIRST_STEP_MS;

    return limit > c->cfg.hang_ms ? limit : c->cfg.hang_ms;
}

/* `what` was not there for so long. */
static void
hang(core *c, core_world *w, const char *what, uint64_t ms)
{
    char why[128];

    (void)snprintf(why, sizeof(why),
                   "the world of %u rank%s hangs: no %s for %.1f s", w->ranks,
                   w->ranks == 1 ? "" : "s", what, (double)ms / 1e3);
    core_incident(c, NULL, "%s", why);
    finish_off(c, w, CORE_WORLD_END);
    drop(c, w, true, why);
}

/* It is sent back: a world that hears nothing takes the daemon for gone. */
static void
heartbeat(core *c, core_world *w, const world_message *m)
{
    world_message echo = {.kind = WORLD_HEARTBEAT,
                          .incarnation = w->incarnation};
    core_action a = {.kind = CORE_TELL_WORLD, .peer = &w->peer, .world = &echo};

    w->tokens_per_second = m->u.heartbeat.tokens_per_second;
    w->hop_s = m->u.heartbeat.hop_s;
    w->hop_hidden_s = m->u.heartbeat.hop_hidden_s;
    core_act(c, &a);
    if (m->u.heartbeat.stalled_ms > hang_limit(c, m))
        hang(c, w, "step", m->u.heartbeat.stalled_ms);
    else if (m->u.heartbeat.silent_ms > c->cfg.hang_ms)
        hang(c, w, "answer of a rank without work", m->u.heartbeat.silent_ms);
}

/* Fencing: only the current attempt of a running job, on the world that runs
 * it, is heard. */
static bool
is_current(const job *j, const world_message *m)
{
    return j && j->state == CLIENT_RUNNING && job_is_open(j) &&
           j->attempt == m->attempt && j->incarnation == m->incarnation;
}

static void
note_stale(core *c, const world_message *m)
{
    const job of = {.id = m->job};

    core_incident(
        c, &of,
        "a message of attempt %u in world %llu was dropped: it is "
        "not the current one",
        m->attempt,
        (unsigned long long)(m->incarnation &
                             ((UINT64_C(1) << CLIENT_WORLD_BITS) - 1)));
}

/* What belongs to nothing that runs is dropped, and noted once a world. */
static void
stale(core *c, core_world *w, const world_message *m)
{
    if (w->n_stale++ == 0)
        note_stale(c, m);
}

/* The same of a world that is none any more, or was another daemon's: once
 * each, and not so often that a peer could fill the journal. */
static void
strange(core *c, const world_message *m)
{
    if (m->job == 0 || m->incarnation == c->strange ||
        (c->strange_ns != 0 &&
         c->time.now_ns - c->strange_ns < (uint64_t)CORE_STRANGE_MS * 1000000))
        return;
    c->strange = m->incarnation;
    c->strange_ns = c->time.now_ns;
    note_stale(c, m);
}

void
core_world_event(core *c, const zsocket_peer *peer, const world_message *m,
                 const core_raw *raw)
{
    core_world *w;
    job *j;
    bool over, due;

    if (m->kind == WORLD_HELLO) {
        hello(c, peer, &m->u.hello);
        return;
    }
    w = of_peer(c, peer);
    if (!w || m->incarnation != w->incarnation) {
        strange(c, m);
        return;
    }
    w->heard_ns = c->time.now_ns;
    if (m->kind == WORLD_HEARTBEAT) {
        heartbeat(c, w, m);
        return;
    }
    /* After a cancel a world ends the job, and may have given credit. */
    over = m->kind == WORLD_JOB_DONE || m->kind == WORLD_JOB_FAILED;
    due = over ? release_slot(w, m->job, m->attempt) : m->kind == WORLD_CREDIT;
    j = job_table_find(c->jobs, m->job);
    if (is_current(j, m))
        core_work_event(c, j, m, raw);
    else if (!due)
        stale(c, w, m);
    if (over) {
        core_dispatch(c);
        core_leave_if_idle(c);
    }
}
