/* SPDX-License-Identifier: Apache-2.0 */
/* What the core asks for becomes work, or is told. */
#include "tests/daemon/sim.h"

#include <string.h>

static sim_work *
sim_push(sim *s, sim_work_kind kind, uint64_t job)
{
    sim_work *w = &s->queue[(s->head + s->n_work) % MAX_WORK];

    SIM_CHECK(s, s->n_work < MAX_WORK);
    s->n_work++;
    *w = (sim_work){.kind = kind, .job = job};
    return w;
}

/* The shell's row, as daemon/journal_job.c writes it. */
static void
fill_row(store_job *r, const job *j)
{
    journal_row(r, j);
}

static bool
goes(const sim *s, uint64_t id, const store_checkpoint *k)
{
    for (size_t i = 0; i < s->n_work; i++) {
        const sim_work *w = &s->queue[(s->head + i) % MAX_WORK];

        if (w->kind == WORK_DROP && w->job == id && w->number == k->segment &&
            w->attempt == k->attempt)
            return true;
    }
    return false;
}

static bool
is_durable(const sim_row *r, const job_checkpoint *k)
{
    for (size_t i = 0; i < r->n_checkpoint; i++)
        if (r->checkpoint[i].segment == k->segment &&
            r->checkpoint[i].attempt == k->attempt)
            return true;
    return false;
}

/* P3: from the last checkpoint that is durable, unless it is on its way out
 * because the job had gone on without it; and what can be gone back to is. */
static void
check_start(sim *s, uint64_t id, uint64_t first)
{
    const job *j = job_table_find(core_jobs(s->c), id);
    const sim_row *r = &s->disk[id];

    for (size_t i = 0; i < r->n_checkpoint; i++)
        SIM_CHECK(s, r->checkpoint[i].segment <= first ||
                         goes(s, id, &r->checkpoint[i]));
    for (size_t i = 0; i < j->n_checkpoint; i++)
        SIM_CHECK(s, is_durable(r, &j->checkpoint[i]));
}

/* Of a part that comes twice the second is not taken. */
static bool
has_come(const sim *s, const core_action *a)
{
    const sim_work *w;

    if (s->n_work == 0)
        return false;
    w = &s->queue[(s->head + s->n_work - 1) % MAX_WORK];
    return w->kind == WORK_CHECKPOINT && w->job == a->job->id &&
           w->attempt == a->job->attempt &&
           w->number == a->world->u.checkpoint.segment;
}

static void
begin(sim *s, sim_machine *w, const core_action *a)
{
    const world_message *m = a->world;
    const sim_row *r = &s->disk[m->job];

    w->job = m->job;
    w->attempt = m->attempt;
    w->add = m->u.begin.want_snapshot;
    w->first = w->done = m->u.begin.first_segment;
    w->n_segment = m->u.begin.first_segment + m->u.begin.n_segment;
    w->checkpoint = 0;
    w->snapshot_sent = false;
    w->drawn = 0;
    w->max_token = m->u.begin.generate.max_tokens;
    w->n_forced = m->u.begin.n_forced;
    w->poison = strncmp(r->job.document, "x", 1) == 0;
    SIM_CHECK(s, w->n_forced <= 16);
    if (a->raw.len > 0)
        memcpy(w->forced, *a->raw.data, a->raw.len);
    if (w->add)
        check_start(s, m->job, w->first);
    else
        w->done = w->n_segment;
}

static void
tell_world(sim *s, const core_action *a)
{
    sim_machine *w = &s->world[a->peer->id[0] % MAX_WORLD];

    if (a->peer->id[1] != w->life) { /* nobody is there any more */
        SIM_CHECK(s, a->world->kind != WORLD_BEGIN || !w->joined);
        return;
    }
    if (w->up && sim_chance(s, 2)) /* the connection breaks: it joins anew */
        sim_forget(w);
    if (!w->up)
        return;
    switch ((int)a->world->kind) {
    case WORLD_WELCOME:
        w->incarnation = a->world->u.welcome.incarnation;
        w->joined = true;
        w->job = 0;
        break;
    case WORLD_BEGIN:
        if (a->world->incarnation == w->incarnation)
            begin(s, w, a);
        break;
    case WORLD_CANCEL:
        if (a->world->job == w->job && a->world->attempt == w->attempt)
            w->job = 0;
        break;
    }
}

static void
act_journal(sim *s, const core_action *a)
{
    const int32_t *ids;
    size_t n = 0;
    sim_work *w;

    switch ((int)a->kind) {
    case CORE_SUBMIT:
    case CORE_RECORD:
        w = sim_push(s, a->kind == CORE_SUBMIT ? WORK_SUBMIT : WORK_RECORD,
                     a->job->id);
        fill_row(&w->row, a->job);
        if (a->kind == CORE_SUBMIT)
            w->row.state = CLIENT_QUEUED;
        break;
    case CORE_TOKENS:
    case CORE_END:
        w = sim_push(s, a->kind == CORE_END ? WORK_END : WORK_TOKENS,
                     a->job->id);
        fill_row(&w->row, a->job);
        w->first = a->job->kept;
        if (a->job->answer) {
            ids = answer_ids(a->job->answer, &n);
            for (; w->first + w->n_id < n; w->n_id++)
                w->ids[w->n_id] = ids[w->first + w->n_id];
        }
        break;
    case CORE_STORE:
        w = sim_push(s, WORK_STORE, a->job->id);
        fill_row(&w->row, a->job);
        w->doc = *a->document;
        break;
    case CORE_LOOKUP:
        w = sim_push(s, WORK_LOOKUP, a->job->id);
        fill_row(&w->row, a->job);
        break;
    case CORE_FETCH:
        w = sim_push(s, WORK_FETCH, a->number);
        w->watcher = *a->watcher;
        break;
    case CORE_CHECKPOINT_DROP:
        w = sim_push(s, WORK_DROP, a->job->id);
        w->number = a->checkpoint->segment;
        w->attempt = a->checkpoint->attempt;
        break;
    }
}

void
sim_act(void *ctx, const core_action *a)
{
    sim *s = ctx;
    sim_asked *to;
    sim_work *w;

    switch ((int)a->kind) {
    case CORE_TELL_CLIENT:
        to = sim_client_of(s, a->peer, a->client->request);
        if (to)
            sim_told(s, to, a->client);
        break;
    case CORE_TELL_WORLD:
        tell_world(s, a);
        break;
    case CORE_PREPARE:
        (void)sim_push(s, WORK_PREPARE, a->job->id);
        break;
    case CORE_CHECKPOINT_PART:
        if (a->world->u.checkpoint.layer != 1 || has_come(s, a))
            break;
        w = sim_push(s, WORK_CHECKPOINT, a->job->id);
        w->number = a->world->u.checkpoint.segment;
        w->attempt = a->job->attempt;
        break;
    default:
        act_journal(s, a);
        break;
    }
}
