/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the ranks go on: each replica is watched by itself.
 *
 * While a replica has work its reports are steps, of which each rank makes one
 * every now and then as it goes on (member.c).  While it has no stream at all,
 * its ranks are asked whether they are well, those too that hold no layers, for
 * which no work waits; the answers are no steps, so that they do not set the
 * pace of work.  Between its streams' openings and their work nobody is asked:
 * answers come behind the states that are on their way.
 */
#include "base/clock.h"
#include "worker/lead_impl.h"

enum { LOOK_NS = 100 * 1000 * 1000 };

/* A stream owes something while a segment is under way, and when it is to give
 * its states or to end. */
static bool
is_due(const lead_stream *s)
{
    return s->open &&
           (s->closing || s->snapshot != NULL || s->n_done < s->n_fed);
}

static status
ask_all(lead *w, uint32_t replica)
{
    command cmd = {.kind = COMMAND_ASK};
    status st = ST_OK;

    for (uint32_t rank = replica == 0; rank < w->place.size; rank++) {
        /* Who holds no layers does not know how the world numbers streams. */
        cmd.stream = rank < w->n_active ? 0 : replica * w->n_each;
        TRY(order_send(w->order, replica * w->place.size + rank, &cmd, NULL));
        w->replica[replica].n_owed++;
    }
fail:
    return st;
}

/* Of what the lead has not seen because it was busy itself, only a little is
 * counted at a look. */
static status
watch_rest(lead *w, uint32_t replica, bool rests, uint64_t every_ns,
           uint64_t away_ns)
{
    lead_replica *r = &w->replica[replica];
    status st = ST_OK;

    if (!rests)
        r->asked_ns = w->look_ns;
    if (!rests || r->n_owed == 0)
        r->silent_ns = 0;
    else
        r->silent_ns += away_ns < LOOK_NS ? away_ns : LOOK_NS;
    if (rests && r->n_owed == 0 && w->order != NULL &&
        w->look_ns - r->asked_ns >= every_ns) {
        TRY(ask_all(w, replica));
        r->asked_ns = w->look_ns;
    }
fail:
    return st;
}

status
lead_watch(lead *w, uint64_t every_ns, world_health *out)
{
    uint64_t now = clock_ns(), away_ns = now - w->look_ns;
    world_health h = {.steps = w->n_turn};
    status st = ST_OK;

    w->look_ns = now;
    for (uint32_t i = 0; i < place_replicas(&w->place); i++) {
        lead_replica *r = &w->replica[i];
        const lead_stream *s = w->stream + (size_t)i * w->n_each;
        bool due = false, rests = true;

        for (uint32_t id = 0; id < w->n_each; id++) {
            due |= is_due(&s[id]);
            rests &= !s[id].open;
        }
        watch_look(&r->work, r->n_step, due, now, away_ns);
        TRY(watch_rest(w, i, rests, every_ns, away_ns));
        watch_stall stall = watch_stall_of(&r->work);
        h.due |= due;
        if (watch_is_worse(&stall, &h.stall))
            h.stall = stall;
        if (r->silent_ns > h.silent_ns)
            h.silent_ns = r->silent_ns;
    }
    *out = h;
fail:
    return st;
}

bool
lead_watch_owed(const lead *w)
{
    for (uint32_t i = 0; i < place_replicas(&w->place); i++)
        if (w->replica[i].n_owed > 0)
            return true;
    return false;
}

status
lead_watch_answered(lead *w, const report *r)
{
    lead_replica *of = &w->replica[r->stream / w->n_each];

    if (of->n_owed == 0)
        return status_fail(ST_WIRE, "rank %u was not asked", r->rank);
    of->n_owed--;
    w->n_here++;
    return ST_OK;
}
