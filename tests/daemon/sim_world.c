/* SPDX-License-Identifier: Apache-2.0 */
/* Worlds that work, die, hang and speak of another life. */
#include "tests/daemon/sim.h"

/* Token `index` of the answer to job `id`: the same in every attempt, unless it
 * is sampled on another device; then only force keeps it. */
static int32_t
token_of(sim *s, const sim_machine *m)
{
    if (m->drawn < m->n_forced)
        return m->forced[m->drawn];
    return (int32_t)sim_draw(&s->chance, 100);
}

static zsocket_peer
world_peer(const sim *s, size_t i)
{
    return (zsocket_peer){.len = 3, .id = {(uint8_t)i, s->world[i].life, 'w'}};
}

static void
world_say(sim *s, size_t i, world_message m, size_t raw_len)
{
    zsocket_peer peer = world_peer(s, i);
    uint8_t *none = NULL;
    core_raw raw = {.data = &none, .len = raw_len};

    core_world_event(s->c, &peer, &m, &raw);
    if (sim_chance(s, 3)) /* once more */
        core_world_event(s->c, &peer, &m, &raw);
}

static void
hello(sim *s, size_t i)
{
    static char word[] = "cpu";
    world_message m = {.kind = WORLD_HELLO};

    m.u.hello.version = m.u.hello.model_dir = m.u.hello.placement = word;
    m.u.hello.device = m.u.hello.device_name = word;
    m.u.hello.fingerprint[0] = 1;
    m.u.hello.ranks = m.u.hello.threads = 1;
    m.u.hello.n_layer = 2;
    m.u.hello.segment_size = SEGMENT;
    m.u.hello.n_vocab = 100;
    m.u.hello.snapshot_bytes = SNAPSHOT;
    m.u.hello.streams = 1;
    m.u.hello.credit_segments = 4;
    m.u.hello.max_generate = 16;
    m.u.hello.kin = s->world[i].kin;
    world_say(s, i, m, 0);
}

static world_message
of(const sim_machine *w, world_kind kind)
{
    return (world_message){.kind = kind,
                           .incarnation = w->incarnation,
                           .job = w->job,
                           .attempt = w->attempt};
}

static void
send_shards(sim *s, size_t i)
{
    sim_machine *w = &s->world[i];

    w->checkpoint = w->done;
    for (uint32_t layer = 0; layer < 2; layer++) {
        world_message m = of(w, WORLD_CHECKPOINT);

        m.u.checkpoint.segment = w->done;
        m.u.checkpoint.layer = layer;
        m.u.checkpoint.total = 32;
        world_say(s, i, m, 32);
    }
}

static void
finish(sim *s, size_t i)
{
    static char how[] = "length";
    sim_machine *w = &s->world[i];
    world_message m = of(w, WORLD_SNAPSHOT);

    if (w->add && !w->snapshot_sent) {
        m.u.snapshot.total = SNAPSHOT;
        m.u.snapshot.last = true;
        w->snapshot_sent = true;
        world_say(s, i, m, SNAPSHOT);
        return;
    }
    m = of(w, WORLD_JOB_DONE);
    m.u.job_done.finish = how;
    w->job = 0;
    world_say(s, i, m, 0);
}

void
sim_forget(sim_machine *w)
{
    *w = (sim_machine){.kin = w->kin,
                       .life = w->life,
                       .stale_incarnation = w->incarnation,
                       .stale_job = w->job,
                       .stale_attempt = w->attempt};
}

/* One rank of several: the others come by another connection, and that the old
 * one is gone is noticed before that, after it, or never. */
static void
lose_a_rank(sim *s, size_t i)
{
    zsocket_peer before = world_peer(s, i);
    uint32_t noticed = sim_draw(&s->chance, 3);

    sim_forget(&s->world[i]);
    s->world[i].life++;
    if (noticed == 0)
        core_world_gone(s->c, &before, "a rank was killed");
    s->world[i].up = true;
    hello(s, i);
    if (noticed == 1)
        core_world_gone(s->c, &before, "a rank was killed");
}

void
sim_die(sim *s, size_t i, bool noticed)
{
    zsocket_peer peer = world_peer(s, i);
    sim_machine *w = &s->world[i];

    if (w->kin != 0 && w->joined && sim_draw(&s->chance, 4) > 0) {
        lose_a_rank(s, i);
        return;
    }
    sim_forget(w);
    w->kin = 0; /* of ranks that are gone, all of them */
    if (noticed)
        core_world_gone(s->c, &peer, "killed");
}

void
sim_haunt(sim *s, size_t i)
{
    sim_machine *w = &s->world[i];
    sim_machine was = {.incarnation = w->stale_incarnation,
                       .job = w->stale_job,
                       .attempt = w->stale_attempt};
    world_message m = of(&was, WORLD_TOKEN);

    if (was.job == 0 || !w->joined)
        return; /* it has not been given up yet */
    m.u.token.id = 77;
    world_say(s, i, m, 0);
    m = of(&was, WORLD_JOB_DONE);
    m.u.job_done.finish = (char *)(uintptr_t) "length";
    world_say(s, i, m, 0);
}

void
sim_world_once(sim *s, size_t i)
{
    sim_machine *w = &s->world[i];
    world_message m;

    if (!w->up) {
        w->up = true;
        if (w->kin == 0 && sim_draw(&s->chance, 2) == 0)
            w->kin = s->n_event;
        hello(s, i);
        return;
    }
    m = (world_message){.kind = WORLD_HEARTBEAT, .incarnation = w->incarnation};
    world_say(s, i, m, 0);
    if (w->job == 0)
        return;
    if (w->poison || sim_chance(s, 2)) {
        sim_die(s, i, true);
    } else if (w->done < w->n_segment) {
        w->done++;
        m = of(w, WORLD_SEGMENTS_DONE);
        m.u.segments_done.segments = w->done - w->first;
        world_say(s, i, m, 0);
        if (w->job && w->done >= w->checkpoint + 2 && w->done < w->n_segment)
            send_shards(s, i);
    } else if (!w->add && w->drawn < w->max_token) {
        m = of(w, WORLD_TOKEN);
        m.u.token.index = w->drawn;
        m.u.token.id = token_of(s, w);
        w->drawn++;
        world_say(s, i, m, 0);
    } else {
        finish(s, i);
    }
}
