/* SPDX-License-Identifier: Apache-2.0 */
/* Who gets which message. */
#include "worker/desk.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

enum { RATE_MS = 500, ASK_NS = 1000 * 1000 * 1000 };

struct desk {
    world *w;
    uplink *u;
    uint32_t n;
    errand **errand;
    uint64_t rate_ns; /* when the rate was measured last */
    uint64_t n_token; /* since then */
};

static status
send(void *ctx, const world_message *m, const void *raw, size_t raw_len)
{
    desk *d = ctx;
    return uplink_send(d->u, m, raw, raw_len);
}

static void
on_event(void *ctx, const world_event *ev)
{
    desk *d = ctx;
    for (uint32_t i = 0; i < d->n; i++) {
        if (errand_has_stream(d->errand[i], ev->stream)) {
            errand_event(d->errand[i], ev);
            return;
        }
    }
}

status
desk_new(desk **out, world *w, uplink *u, const errand_shape *shape,
         uint32_t n_errand)
{
    desk *d = NULL;
    status st = ST_OK;

    TRY(mem_new(&d, 1, sizeof *d));
    d->w = w;
    d->u = u;
    d->rate_ns = clock_ns();
    TRY(mem_new(&d->errand, n_errand, sizeof(errand *)));
    for (; d->n < n_errand; d->n++)
        TRY(errand_new(&d->errand[d->n], w, shape, send, d));
    world_on_event(w, on_event, d);
    *out = d;
    return ST_OK;
fail:
    desk_free(d);
    return st;
}

void
desk_free(desk *d)
{
    if (d == NULL)
        return;
    world_on_event(d->w, NULL, NULL);
    for (uint32_t i = 0; i < d->n; i++)
        errand_free(d->errand[i]);
    mem_free(d->errand);
    mem_free(d);
}

uint32_t
desk_busy(const desk *d)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < d->n; i++)
        n += !errand_is_idle(d->errand[i]);
    return n;
}

/* ------------------------------------------------------------ messages --- */

static errand *
find(const desk *d, uint64_t job, uint32_t attempt)
{
    for (uint32_t i = 0; i < d->n; i++) {
        if (errand_is(d->errand[i], job, attempt))
            return d->errand[i];
    }
    return NULL;
}

static void
refuse(desk *d, const world_message *begin, status why)
{
    char code[] = "state";
    char text[] = "all streams of the world are in use";
    world_message m = {
        .kind = WORLD_JOB_FAILED, .job = begin->job, .attempt = begin->attempt};
    m.u.failed.code = code;
    m.u.failed.text = text;
    if (uplink_send(d->u, &m, NULL, 0) != ST_OK)
        log_warn("job %llu is neither run nor refused: %s",
                 (unsigned long long)begin->job, status_name(why));
}

static void
begin(desk *d, const uplink_message *got)
{
    const world_message *m = &got->m;
    if (m->job == 0 || find(d, m->job, m->attempt) != NULL) {
        log_warn("the daemon began job %llu twice", (unsigned long long)m->job);
        return;
    }
    for (uint32_t i = 0; i < d->n; i++) {
        if (errand_is_idle(d->errand[i])) {
            errand_begin(d->errand[i], m, got->raw, got->raw_len);
            return;
        }
    }
    refuse(d, m, ST_STATE);
}

static void
handle(desk *d, const uplink_message *got)
{
    const world_message *m = &got->m;
    if (m->kind == WORLD_WELCOME) {
        for (uint32_t i = 0; i < d->n; i++)
            errand_drop(d->errand[i]);
        return;
    }
    if (m->kind == WORLD_BEGIN) {
        begin(d, got);
        return;
    }
    if (m->kind == WORLD_DRAIN) {
        for (uint32_t i = 0; i < d->n; i++)
            if (!errand_is_idle(d->errand[i]))
                errand_drain(d->errand[i]);
        return;
    }
    errand *e = find(d, m->job, m->attempt);
    if (e == NULL)
        return; /* a job that has ended here meanwhile */
    if (m->kind == WORLD_CANCEL)
        errand_cancel(e);
    else if (m->kind == WORLD_KEPT)
        errand_kept(e, m->u.kept.segment);
    else if (m->kind == WORLD_SNAPSHOT)
        errand_part(e, m, got->raw, got->raw_len);
    else if (m->kind == WORLD_SEGMENT_IDS)
        errand_segment(e, m, got->raw, got->raw_len);
}

static void
measure(desk *d)
{
    uint64_t now = clock_ns();
    uint64_t ns = now - d->rate_ns;
    double seconds = 0, hidden = 0;
    for (uint32_t i = 0; i < d->n; i++)
        d->n_token += errand_tokens(d->errand[i]);
    if (ns < (uint64_t)RATE_MS * 1000 * 1000)
        return;
    uplink_load(d->u, (double)d->n_token * 1e9 / (double)ns, desk_busy(d));
    world_hops(d->w, &seconds, &hidden);
    uplink_hops(d->u, seconds, hidden);
    d->rate_ns = now;
    d->n_token = 0;
}

status
desk_turn(desk *d, bool *busy)
{
    status st = ST_OK;
    uplink_message got = {0};
    while (uplink_receive(d->u, &got)) {
        handle(d, &got);
        uplink_message_fini(&got);
        *busy = true;
    }
    for (uint32_t i = 0; i < d->n; i++)
        TRY(errand_step(d->errand[i], busy));
    measure(d);
    world_health health = {0};
    TRY(world_watch(d->w, ASK_NS, &health));
    uplink_steps(d->u, health.steps, health.due);
    uplink_replicas(d->u, &health.stall, health.silent_ns);
fail:
    return st;
}
