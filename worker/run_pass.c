/* SPDX-License-Identifier: Apache-2.0 */
/* Feeding segments as the world has room, and taking what comes back. */
#include "worker/run_pass.h"

#include <stdio.h>

#include "base/clock.h"
#include "worker/draw.h"
#include "worker/idle.h"
#include "worker/seen.h"

/* Remembers the first failure; the loop then closes the stream. */
static void
note(run_pass *p, status st)
{
    if (st == ST_OK || p->st != ST_OK)
        return;
    p->st = st;
    (void)snprintf(p->failure, sizeof p->failure, "%s", status_text());
}

segment_cut
run_pass_cut(const model_config *cfg, uint64_t n_token)
{
    static const segment_align align[] = {[CONFIG_ALIGN_LEFT] = SEGMENT_LEFT,
                                          [CONFIG_ALIGN_RIGHT] = SEGMENT_RIGHT,
                                          [CONFIG_ALIGN_CENTER] =
                                              SEGMENT_CENTER};
    return segment_cut_of(n_token, cfg->segment_size, align[cfg->align]);
}

/* What was read before segment `seg`. */
static memory_past
past_of(const segment_cut *cut, uint64_t seg)
{
    if (seg == 0)
        return (memory_past){0};
    uint32_t n_last = segment_cut_tokens(cut, seg - 1);
    return (memory_past){.n_token = segment_cut_start(cut, seg - 1) + n_last,
                         .n_last = n_last};
}

status
run_pass_check(const model_config *cfg, uint64_t n_token, const run_options *o)
{
    segment_cut cut = run_pass_cut(cfg, n_token);
    uint64_t last = cut.n_segment - 1;
    memory_span span = {.past = past_of(&cut, last),
                        .n_token = segment_cut_tokens(&cut, last)};
    status st = ST_OK;

    if (run_options_score(o))
        TRY(memory_check(cfg, &span));
    span.frozen = true;
    if (o->generate > 0 && cfg->generation == CONFIG_FROZEN)
        span.n_token += (uint32_t)o->generate - 1;
    if (o->generate > 0)
        TRY(memory_check(cfg, &span));
    TRY(seen_check(cfg, (float)o->penalty,
                   segment_cut_tokens(&cut, last) + o->generate));
fail:
    return st;
}

static engine_segment
segment_of(const run_pass *p, uint64_t seg)
{
    return (engine_segment){.seg = seg,
                            .n_token = segment_cut_tokens(&p->cut, seg)};
}

static status
feed(run_pass *p, const engine_segment *s)
{
    status st = ST_OK;
    TRY(world_feed(p->world, p->id, s,
                   p->in->ids + segment_cut_start(&p->cut, s->seg)));
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
    p->start = clock_seconds();
    world_on_event(p->world, fn, p);
    return world_open(p->world, &p->id, s);
}

/* ------------------------------------------------------------- scoring --- */

static status
write_state(const run_pass *p, const void *states)
{
    const memory_past past = past_of(&p->cut, p->cut.n_segment);
    return run_files_state(p->opt->state, p->cfg, p->compute, &past, states);
}

static status
spoiled(const world_event *ev)
{
    return status_fail(ST_NUMERIC,
                       "segment %llu has numbers that are not finite",
                       (unsigned long long)ev->seg);
}

static void
score_event(void *ctx, const world_event *ev)
{
    run_pass *p = ctx;
    switch (ev->kind) {
    case WORLD_EVENT_SEGMENT:
        if (++p->n_done == p->cut.n_segment)
            p->read_seconds = clock_seconds() - p->start;
        break;
    case WORLD_EVENT_LOGITS:
        if (p->st == ST_OK)
            note(p, run_files_add(p->logits, ev->u.logits.values,
                                  ev->u.logits.n_row));
        break;
    case WORLD_EVENT_SNAPSHOT:
        p->snapped = true;
        note(p, write_state(p, ev->u.snapshot.states));
        break;
    case WORLD_EVENT_CLOSED:
        p->closed = true;
        break;
    case WORLD_EVENT_SPOILED:
        note(p, spoiled(ev));
        break;
    case WORLD_EVENT_TOKEN:
    case WORLD_EVENT_SHARD:
        break;
    }
}

static status
score_step(run_pass *p)
{
    status st = ST_OK;

    uint32_t want = p->opt->all_rows ? ENGINE_ALL_ROWS : 0;

    if (p->logits != NULL)
        want = ENGINE_LOGITS;
    while (p->n_fed < p->cut.n_segment && world_room(p->world, p->id) > 0) {
        engine_segment s = segment_of(p, p->n_fed);
        s.want = want;
        TRY(feed(p, &s));
    }
    if (p->n_done < p->cut.n_segment)
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
    status st = ST_OK;

    p->cut = run_pass_cut(p->cfg, p->in->n_id);
    const world_stream s = {.n_write = p->cut.n_segment,
                            .n_token = p->in->n_id};
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
        note(p, run_answer_token(p->answer, &ev->u.token));
        break;
    case WORLD_EVENT_CLOSED:
        p->closed = true;
        break;
    case WORLD_EVENT_SPOILED:
        note(p, spoiled(ev));
        break;
    case WORLD_EVENT_SNAPSHOT:
    case WORLD_EVENT_SHARD:
        break;
    }
}

static void
want_token(const run_pass *p, engine_segment *s)
{
    const run_options *o = p->opt;
    uint32_t n_vocab = p->answer->cfg->n_vocab;
    s->want = ENGINE_TOKEN;
    if (p->answer->keep_logits)
        s->want |= ENGINE_LAST_LOGITS;
    if (o->logprobs > 0)
        s->want |= ENGINE_LOGPROBS;
    s->sample = (kernel_sample_args){
        .temperature = (float)o->temperature,
        .top_p = (float)o->top_p,
        .top_k = (uint32_t)o->top_k,
        .min_p = (float)o->min_p,
        .penalty = (float)o->penalty,
        .n_top = o->logprobs < n_vocab ? (uint32_t)o->logprobs : n_vocab,
        .uniform = draw_uniform(o->seed, p->answer->n_id)};
}

/* The prompt, the last token drawn, a segment that the answer has filled. */
static status
feed_answer(run_pass *p)
{
    const run_answer *a = p->answer;
    engine_segment s;
    const int32_t *ids = NULL;
    status st = ST_OK;

    if (p->n_added < a->n_id) {
        decode_add(&p->decode, a->ids[a->n_id - 1]);
        p->n_added = a->n_id;
    }
    while (decode_next(&p->decode, &s, &ids) &&
           world_room(p->world, p->id) > 0) {
        if (s.frozen)
            want_token(p, &s);
        TRY(world_feed(p->world, p->id, &s, ids));
        decode_fed(&p->decode, &s);
    }
fail:
    return st;
}

static status
answer_step(run_pass *p)
{
    uint64_t last = p->cut.n_segment - 1;
    status st = ST_OK;

    while (p->n_fed < last && world_room(p->world, p->id) > 0) {
        engine_segment s = segment_of(p, p->n_fed);
        TRY(feed(p, &s));
    }
    if (p->answer->ended)
        close_stream(p);
    else if (p->n_fed == last)
        TRY(feed_answer(p));
fail:
    return st;
}

status
run_pass_answer(run_pass *p)
{
    status st = ST_OK;

    p->cut = run_pass_cut(p->cfg, p->in->n_id);
    uint64_t last = p->cut.n_segment - 1;
    const world_stream s = {.n_write = last,
                            .prompt = true,
                            .n_token = p->in->n_id + p->opt->generate};
    TRY(decode_init(&p->decode, p->cfg));
    decode_prompt(&p->decode, last,
                  p->in->ids + segment_cut_start(&p->cut, last),
                  segment_cut_tokens(&p->cut, last));
    TRY(open_stream(p, &s, answer_event));
    TRY(drive(p, answer_step));
    if (p->st == ST_OK)
        note(p, run_answer_finish(p->answer));
fail:
    decode_fini(&p->decode);
    return st;
}
