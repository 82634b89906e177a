/* SPDX-License-Identifier: Apache-2.0 */
/* A job at the world: segments in, a snapshot or tokens out. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/mem.h"
#include "proto/snapshot.h"
#include "worker/draw.h"
#include "worker/errand_impl.h"

enum { PART_BYTES = 1 << 20 }; /* of a snapshot on its way out */

/* -------------------------------------------------------------- events --- */

static size_t
snapshot_total(const errand *e)
{
    return errand_snapshot_bytes(e, e->first_segment + e->n_segment);
}

static status
seal(errand *e, const world_event *ev)
{
    status st = ST_OK;
    const errand_shape *s = &e->shape;
    snapshot_info info = {.n_layer = s->model->n_layer,
                          .state_bytes = ev->u.snapshot.len,
                          .n_segment = e->first_segment + e->n_segment};
    size_t bytes = snapshot_total(e);
    hash h;

    if (SNAPSHOT_HEADER + ev->u.snapshot.len != bytes)
        return status_fail(ST_STATE, "the last segment was not full");
    memcpy(info.fingerprint, s->fingerprint, sizeof info.fingerprint);
    TRY(mem_new(&e->snapshot, bytes, 1));
    memcpy(e->snapshot + SNAPSHOT_HEADER, ev->u.snapshot.states,
           ev->u.snapshot.len);
    TRY(snapshot_seal(e->snapshot, bytes, &info));
    hash_init(&h);
    hash_add(&h, e->snapshot, bytes);
    hash_end(&h, e->snapshot_hash);
fail:
    return st;
}

static bool
ends_answer(const errand *e, int32_t id)
{
    for (uint32_t i = 0; i < e->generate.n_eos; i++) {
        if (e->generate.eos[i] == id)
            return true;
    }
    return false;
}

static status
drawn(errand *e, const engine_token *token)
{
    int32_t id = token->id;
    if (!isfinite(token->logprob))
        return status_fail(ST_NUMERIC, "the logits of token %u are no numbers",
                           e->n_drawn);
    /* A token that was told is never another one, on whatever device. */
    if (e->n_drawn < e->n_forced)
        id = e->forced[e->n_drawn];
    e->drawn = id;
    e->logprob = fminf(token->logprob, 0);
    e->n_drawn++;
    if (ends_answer(e, id))
        e->finish = "eos";
    else if (e->n_drawn == e->generate.max_tokens)
        e->finish = "length";
    return ST_OK;
}

void
errand_event(errand *e, const world_event *ev)
{
    status st = ST_OK;
    if (ev->kind == WORLD_EVENT_CLOSED) {
        e->has_stream = false;
        return;
    }
    if (e->state != ERRAND_RUN)
        return;
    if (ev->kind == WORLD_EVENT_SEGMENT) {
        if (ev->seg < e->first_segment + e->n_segment)
            e->n_done++;
    } else if (ev->kind == WORLD_EVENT_TOKEN) {
        st = drawn(e, &ev->u.token);
    } else if (ev->kind == WORLD_EVENT_SPOILED) {
        st = status_fail(ST_NUMERIC,
                         "segment %llu has numbers that are not finite",
                         (unsigned long long)ev->seg);
    } else if (ev->kind == WORLD_EVENT_SHARD) {
        st = errand_checkpoint_shard(e, ev);
    } else if (ev->kind == WORLD_EVENT_SNAPSHOT && e->draining) {
        st = errand_checkpoint_whole(e, ev);
    } else if (ev->kind == WORLD_EVENT_SNAPSHOT) {
        e->snapshot_came = true;
        st = seal(e, ev);
    }
    if (st != ST_OK)
        errand_fail(e, st);
}

/* ---------------------------------------------------------- to the world */

static kernel_sample_args
sampling(const errand *e)
{
    const world_generate *g = &e->generate;
    return (kernel_sample_args){.temperature = g->temperature,
                                .top_p = g->top_p,
                                .top_k = g->top_k,
                                .min_p = g->min_p,
                                .penalty = g->penalty,
                                .uniform = draw_uniform(g->seed, e->n_drawn)};
}

/* The oldest segment that came, which is written, or the prompt. */
static status
feed_segment(errand *e)
{
    status st = ST_OK;
    const int32_t *ids =
        e->ids + (size_t)e->first * e->shape.model->segment_size;
    engine_segment seg = {.seg = e->first_segment + e->n_taken,
                          .n_token = e->n_token[e->first]};
    if (e->n_taken == e->n_segment) {
        decode_prompt(&e->decode, seg.seg, ids, seg.n_token);
    } else {
        TRY(errand_checkpoint_before(e));
        TRY(world_feed(e->w, e->stream, &seg, ids));
    }
    e->n_token_fed += seg.n_token;
    e->first = (e->first + 1) % e->shape.credit_segments;
    e->n_queued--;
    e->n_taken++;
fail:
    return st;
}

/* The prompt, the last token drawn, a segment that the answer has filled. */
static status
feed_answer(errand *e, bool *busy)
{
    status st = ST_OK;
    engine_segment seg;
    const int32_t *ids = NULL;
    while (decode_next(&e->decode, &seg, &ids) &&
           world_room(e->w, e->stream) > 0) {
        if (!seg.frozen && e->want_snapshot && !e->snapshot_came)
            break; /* the states that are asked for are those before it */
        if (seg.frozen) {
            seg.want = ENGINE_TOKEN;
            if (e->generate.logprobs)
                seg.want |= ENGINE_LOGPROBS;
            seg.sample = sampling(e);
        }
        TRY(world_feed(e->w, e->stream, &seg, ids));
        decode_fed(&e->decode, &seg);
        *busy = true;
    }
fail:
    return st;
}

static status
feed(errand *e, bool *busy)
{
    status st = ST_OK;
    while (e->n_queued > 0 && world_room(e->w, e->stream) > 0 &&
           !errand_checkpoint_late(e)) {
        TRY(feed_segment(e));
        *busy = true;
    }
    /* A token goes on once the daemon knows of it. */
    if (e->n_added < e->n_drawn && e->finish == NULL &&
        e->told_drawn == e->n_drawn) {
        decode_add(&e->decode, e->drawn);
        e->n_added = e->n_drawn;
        e->n_token_fed++;
    }
    TRY(feed_answer(e, busy));
    if (e->want_snapshot && !e->snapshot_asked && e->n_done == e->n_segment) {
        TRY(world_snapshot(e->w, e->stream));
        e->snapshot_asked = true;
        *busy = true;
    }
fail:
    return st;
}

/* --------------------------------------------------------- to the daemon */

status
errand_tell(errand *e, world_message *m, const void *raw, size_t len,
            bool *sent)
{
    m->job = e->job;
    m->attempt = e->attempt;
    status st = e->send(e->ctx, m, raw, len);
    *sent = st == ST_OK;
    return st == ST_TIMEOUT ? ST_OK : st;
}

static status
tell_progress(errand *e)
{
    status st = ST_OK;
    bool sent = false;
    if (e->told_taken < e->n_taken) {
        world_message m = {.kind = WORLD_CREDIT};
        m.u.credit.segments = (uint32_t)(e->n_taken - e->told_taken);
        TRY(errand_tell(e, &m, NULL, 0, &sent));
        if (sent)
            e->told_taken = e->n_taken;
    }
    if (e->told_done < e->n_done) {
        world_message m = {.kind = WORLD_SEGMENTS_DONE};
        m.u.segments_done.segments = e->n_done;
        TRY(errand_tell(e, &m, NULL, 0, &sent));
        if (sent)
            e->told_done = e->n_done;
    }
    if (e->told_drawn < e->n_drawn) {
        world_message m = {.kind = WORLD_TOKEN};
        m.u.token.index = e->n_drawn - 1;
        m.u.token.id = e->drawn;
        m.u.token.logprob = e->logprob;
        TRY(errand_tell(e, &m, NULL, 0, &sent));
        if (sent)
            e->told_drawn = e->n_drawn;
    }
fail:
    return st;
}

static status
tell_snapshot(errand *e)
{
    status st = ST_OK;
    size_t total = snapshot_total(e);
    bool sent = true;

    if (e->snapshot != NULL)
        FAULT_POINT(LEAD_STATE);
    while (sent && e->snapshot != NULL) {
        size_t left = total - (size_t)e->snapshot_at;
        size_t len = left < PART_BYTES ? left : PART_BYTES;
        world_message m = {.kind = WORLD_SNAPSHOT};
        m.u.snapshot.offset = e->snapshot_at;
        m.u.snapshot.total = total;
        m.u.snapshot.last = len == left;
        memcpy(m.u.snapshot.hash, e->snapshot_hash, HASH_BYTES);
        TRY(errand_tell(e, &m, e->snapshot + e->snapshot_at, len, &sent));
        if (sent)
            e->snapshot_at += len;
        if (e->snapshot_at == total) {
            mem_free(e->snapshot);
            e->snapshot = NULL;
        }
    }
fail:
    return st;
}

static status
tell_result(errand *e, bool *sent)
{
    world_message m = {.kind = WORLD_JOB_DONE};
    char finish[8] = "";

    FAULT_POINT(LEAD_DONE);
    if (e->result != ST_OK) {
        char code[16];
        snprintf(code, sizeof code, "%s", status_name(e->result));
        m.kind = WORLD_JOB_FAILED;
        m.u.failed.code = code;
        m.u.failed.text = e->text;
        return errand_tell(e, &m, NULL, 0, sent);
    }
    if (e->finish != NULL)
        snprintf(finish, sizeof finish, "%s", e->finish);
    m.u.job_done.finish = finish;
    m.u.job_done.seconds = (double)(clock_ns() - e->start_ns) * 1e-9;
    return errand_tell(e, &m, NULL, 0, sent);
}

/* Everything that was asked for is there, and known to the daemon or on its
 * way. */
static bool
complete(const errand *e)
{
    return e->n_done == e->n_segment &&
           (!e->want_snapshot || e->snapshot_came) &&
           (e->generate.max_tokens == 0 ||
            (e->finish != NULL && e->told_drawn == e->n_drawn));
}

static status
finish(errand *e)
{
    status st = ST_OK;
    bool sent = e->dropped;
    if (e->result != ST_OK) {
        mem_free(e->snapshot);
        e->snapshot = NULL;
    }
    if (e->has_stream || e->snapshot != NULL)
        return ST_OK;
    if (!sent)
        TRY(tell_result(e, &sent));
    if (sent)
        e->state = ERRAND_IDLE;
fail:
    return st;
}

status
errand_step(errand *e, bool *busy)
{
    status st = ST_OK;
    if (e->state == ERRAND_RUN) {
        TRY(tell_progress(e));
        if (e->draining)
            TRY(errand_checkpoint_drain(e, busy));
        else
            TRY(feed(e, busy));
        TRY(tell_progress(e));
        TRY(errand_checkpoint_tell(e));
        if (e->state == ERRAND_RUN && complete(e))
            errand_end(e);
    }
    TRY(tell_snapshot(e));
    if (e->state == ERRAND_END)
        TRY(finish(e));
fail:
    return st;
}
