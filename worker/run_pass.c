/* SPDX-License-Identifier: Apache-2.0 */
/* Feeding segments as the world has room, and taking what comes back. */
#include "worker/run_pass.h"

#include <stdio.h>

#include "base/clock.h"
#include "sched/segment.h"
#include "worker/draw.h"
#include "worker/idle.h"

/* Remembers the first failure; the loop then closes the stream. */
static void
note(run_pass *p, status st)
{
    if (st == ST_OK || p->st != ST_OK)
        return;
    p->st = st;
    (void)snprintf(p->failure, sizeof p->failure, "%s", status_text());
}

static engine_segment
segment_of(const run_pass *p, uint64_t seg)
{
    uint32_t size = p->cfg->segment_size;
    return (engine_segment){.seg = seg,
                            .n_token = segment_tokens(seg, p->in->n_id, size)};
}

static status
feed(run_pass *p, const engine_segment *s)
{
    uint32_t size = p->cfg->segment_size;
    status st = ST_OK;
    TRY(world_feed(p->world, p->id, s,
                   p->in->ids + segment_start(s->seg, size)));
    p->n_fed++;
fail:
    return st;
}

static void
close_stream(run_pass *p)
{
    if (p->closing)
        return;
    p->closing = true;
    world_close(p->world, p->id);
}

/* Turns until the stream is closed; `step` feeds it and decides when that is
 * to happen. */
static status
drive(run_pass *p, status (*step)(run_pass *))
{
    idle wait = {0};
    status st = ST_OK;

    while (!p->closed) {
        bool busy = false;
        if (p->st != ST_OK)
            close_stream(p);
        if (!p->closing)
            TRY(step(p));
        TRY(world_turn(p->world, &busy));
        if (busy)
            idle_reset(&wait);
        else
            idle_wait(&wait, true);
    }
fail:
    return st;
}

static status
open_stream(run_pass *p, const world_stream *s, world_event_fn *fn)
{
    p->n_segment = segment_count(p->in->n_id, p->cfg->segment_size);
    p->start = clock_seconds();
    world_on_event(p->world, fn, p);
    return world_open(p->world, &p->id, s);
}

/* ------------------------------------------------------------- scoring --- */

static void
score_event(void *ctx, const world_event *ev)
{
    run_pass *p = ctx;
    switch (ev->kind) {
    case WORLD_EVENT_SEGMENT:
        if (++p->n_done == p->n_segment)
            p->read_seconds = clock_seconds() - p->start;
        break;
    case WORLD_EVENT_LOGITS:
        if (p->st == ST_OK)
            note(p, run_files_add(p->logits, ev->u.logits.values,
                                  ev->u.logits.n_row));
        break;
    case WORLD_EVENT_SNAPSHOT:
        p->snapped = true;
        note(p, run_files_state(p->opt->state, p->cfg, ev->u.snapshot.states));
        break;
    case WORLD_EVENT_CLOSED:
        p->closed = true;
        break;
    case WORLD_EVENT_TOKEN:
        break;
    }
}

static status
score_step(run_pass *p)
{
    status st = ST_OK;

    while (p->n_fed < p->n_segment && world_room(p->world, p->id) > 0) {
        engine_segment s = segment_of(p, p->n_fed);
        s.want = p->logits != NULL ? ENGINE_LOGITS : 0;
        TRY(feed(p, &s));
    }
    if (p->n_done < p->n_segment)
        return ST_OK;
    if (p->opt->state == NULL || p->snapped) {
        close_stream(p);
    } else if (!p->asked) {
        p->asked = true;
        TRY(world_snapshot(p->world, p->id));
    }
fail:
    return st;
}

status
run_pass_score(run_pass *p)
{
    uint64_t n = segment_count(p->in->n_id, p->cfg->segment_size);
    const world_stream s = {.n_write = n};
    status st = ST_OK;

    TRY(open_stream(p, &s, score_event));
    TRY(drive(p, score_step));
    if (p->logits != NULL && p->st == ST_OK)
        note(p, run_files_finish(p->logits));
fail:
    return st;
}

/* -------------------------------------------------------------- answer --- */

static void
answer_event(void *ctx, const world_event *ev)
{
    run_pass *p = ctx;
    switch (ev->kind) {
    case WORLD_EVENT_SEGMENT:
        p->n_done++;
        break;
    case WORLD_EVENT_LOGITS:
        note(p, run_answer_logits(p->answer, ev->u.logits.values));
        break;
    case WORLD_EVENT_TOKEN:
        if (p->answer->n_id == 0)
            p->read_seconds = clock_seconds() - p->start;
        note(p, run_answer_token(p->answer, ev->u.token));
        break;
    case WORLD_EVENT_CLOSED:
        p->closed = true;
        break;
    case WORLD_EVENT_SNAPSHOT:
        break;
    }
}

/* The prompt, or a step behind it: `index` is that of the token it ends in. */
static engine_segment
frozen_of(const run_pass *p, uint32_t index)
{
    const run_options *o = p->opt;
    engine_segment s = segment_of(p, p->n_segment - 1);
    if (index > 0)
        s.n_token = 1;
    s.frozen = 1;
    s.pos = (uint32_t)p->n_row;
    s.want = ENGINE_TOKEN;
    if (p->answer->keep_logits)
        s.want |= ENGINE_LAST_LOGITS;
    s.sample = (kernel_sample_args){.temperature = (float)o->temperature,
                                    .top_p = (float)o->top_p,
                                    .top_k = (uint32_t)o->top_k,
                                    .min_p = (float)o->min_p,
                                    .uniform = draw_uniform(o->seed, index)};
    return s;
}

static status
feed_frozen(run_pass *p)
{
    uint32_t index = p->answer->n_id;
    engine_segment s = frozen_of(p, index);
    status st = ST_OK;

    if (index == 0)
        TRY(feed(p, &s));
    else
        TRY(world_feed(p->world, p->id, &s, p->answer->ids + index - 1));
    p->n_row += s.n_token;
fail:
    return st;
}

/* Rows that the frozen run has when its next row may be fed: the prompt, then
 * every token but the last. */
static bool
row_is_due(const run_pass *p)
{
    uint64_t last = p->n_segment - 1;
    uint64_t n_prompt = segment_tokens(last, p->in->n_id, p->cfg->segment_size);
    if (p->n_fed < last)
        return false;
    return p->n_row == 0 || p->n_row < n_prompt + p->answer->n_id;
}

static status
answer_step(run_pass *p)
{
    status st = ST_OK;

    while (p->n_fed + 1 < p->n_segment && world_room(p->world, p->id) > 0) {
        engine_segment s = segment_of(p, p->n_fed);
        TRY(feed(p, &s));
    }
    if (p->answer->ended)
        close_stream(p);
    else if (row_is_due(p) && world_room(p->world, p->id) > 0)
        TRY(feed_frozen(p));
fail:
    return st;
}

status
run_pass_answer(run_pass *p)
{
    uint64_t n = segment_count(p->in->n_id, p->cfg->segment_size);
    const world_stream s = {.n_write = n - 1, .prompt = true};
    status st = ST_OK;

    TRY(open_stream(p, &s, answer_event));
    TRY(drive(p, answer_step));
    if (p->st == ST_OK)
        note(p, run_answer_finish(p->answer));
fail:
    return st;
}
