/* SPDX-License-Identifier: Apache-2.0 */
/* A world: the lead's part, or that of a rank that serves it. */
#include "worker/world.h"

#include <sys/resource.h>

#include "base/mem.h"
#include "worker/idle.h"
#include "worker/lead.h"
#include "worker/member.h"
#include "worker/order.h"
#include "worker/report.h"

struct world {
    comm *c;
    engine *e;  /* NULL: this rank holds nothing */
    lead *lead; /* rank 0 only; the rest is of the others */
    member *member;
    report_out *out;
    order_in *in;
    uint32_t first_stream; /* of this rank, among those of the world */
    uint32_t rank;         /* in its replica */
};

/* A report of this rank. */
static status
send_report(void *ctx, const report *r, const void *data)
{
    world *w = ctx;
    report out = *r;

    out.stream += w->first_stream;
    /* None is sent before there is a member. */
    member_hop_ns(w->member, &out.hop_ns, &out.hop_hidden_ns);
    return report_send(w->out, &out, data);
}

static status
join(world *w)
{
    status st = ST_OK;
    size_t max_data = 0;
    if (w->e != NULL) {
        const model_config *cfg = model_config_of(engine_model(w->e));
        uint32_t n_seen = engine_seen_room(w->e);
        size_t n_id = n_seen > cfg->segment_size ? n_seen : cfg->segment_size;
        size_t ids = n_id * sizeof(int32_t);
        max_data = engine_state_room(w->e);
        max_data = max_data > ids ? max_data : ids;
        const engine_config *ec = engine_config_of(w->e);
        w->first_stream = ec->place.replica * ec->n_stream;
        TRY(report_out_new(&w->out, w->c, lead_report_bytes(w->e)));
        TRY(member_new(&w->member, w->c, w->e, send_report, w));
    } else {
        TRY(report_out_new(&w->out, w->c, 0));
    }
    TRY(order_in_new(&w->in, w->c, max_data));
fail:
    return st;
}

status
world_new(world **out, comm *c, engine *e, const place *p)
{
    world *w = NULL;
    status st = ST_OK;
    uint32_t shape[3] = {p->kind, p->n_layer, p->size};
    uint32_t rank = p->replica * p->size + p->rank;

    TRY(mem_new(&w, 1, sizeof *w));
    w->c = c;
    w->e = e;
    w->rank = p->rank;
    ASSERT(rank == comm_rank(c) && place_replicas(p) * p->size == comm_size(c));
    ASSERT((e == NULL) == (p->rank >= place_active(p)));
    TRY(comm_same(c, "placement", shape, sizeof shape));
    st = rank == 0 ? lead_new(&w->lead, c, e) : join(w);
    TRY(comm_agree(c, st));
    *out = w;
    return ST_OK;
fail:
    world_free(w);
    return st;
}

void
world_free(world *w)
{
    if (w == NULL)
        return;
    order_in_free(w->in);
    member_free(w->member);
    report_out_free(w->out);
    lead_free(w->lead);
    mem_free(w);
}

/* ------------------------------------------------------------ the lead --- */

void
world_on_event(world *w, world_event_fn *fn, void *ctx)
{
    lead_on_event(w->lead, fn, ctx);
}

status
world_open(world *w, uint32_t *id, const world_stream *s)
{
    return lead_open(w->lead, id, s);
}

uint32_t
world_room(const world *w, uint32_t id)
{
    return lead_room(w->lead, id);
}

status
world_feed(world *w, uint32_t id, const engine_segment *segment,
           const int32_t *ids)
{
    return lead_feed(w->lead, id, segment, ids);
}

status
world_snapshot(world *w, uint32_t id)
{
    return lead_snapshot(w->lead, id);
}

void
world_capture(world *w, uint32_t id)
{
    lead_capture(w->lead, id);
}

status
world_watch(world *w, uint64_t every_ns, world_health *out)
{
    return lead_watch(w->lead, every_ns, out);
}

void
world_close(world *w, uint32_t id)
{
    lead_close(w->lead, id);
}

uint32_t
world_streams_open(const world *w)
{
    return lead_streams_open(w->lead);
}

void
world_hops(const world *w, double *seconds, double *hidden)
{
    lead_hops(w->lead, seconds, hidden);
}

status
world_turn(world *w, bool *busy)
{
    return lead_turn(w->lead, busy);
}

status
world_stop(world *w)
{
    return lead_stop(w->lead);
}

/* ----------------------------------------------------- the other ranks --- */

/* A rank that holds nothing says that it is well, and can nothing else. */
static status
obey_idle(world *w, const command *cmd)
{
    const report here = {
        .kind = REPORT_HERE, .stream = cmd->stream, .rank = w->rank};

    if (cmd->kind != COMMAND_ASK)
        return status_fail(ST_WIRE, "a command to a rank that holds nothing");
    return report_send(w->out, &here, NULL);
}

/* Obeys every command that has come. */
static status
obey(world *w, bool *busy, bool *stop)
{
    status st = ST_OK;
    const command *cmd = NULL;
    const void *data = NULL;
    for (;;) {
        TRY(order_poll(w->in, &cmd, &data));
        if (cmd == NULL)
            return ST_OK;
        *busy = true;
        *stop = cmd->kind == COMMAND_STOP;
        if (*stop)
            return ST_OK;
        if (w->member == NULL)
            TRY(obey_idle(w, cmd));
        else
            TRY(member_command(w->member, cmd, data));
        TRY(order_next(w->in));
    }
fail:
    return st;
}

status
world_serve(world *w)
{
    status st = ST_OK;
    idle wait = {0};
    bool stop = false;
    for (;;) {
        bool busy = false;
        TRY(obey(w, &busy, &stop));
        if (stop)
            return ST_OK;
        if (w->member != NULL)
            TRY(member_turn(w->member, &busy));
        if (busy)
            idle_reset(&wait);
        else
            idle_wait(&wait,
                      w->member != NULL && member_streams_open(w->member) > 0);
    }
fail:
    return st;
}

/* -------------------------------------------------------------- totals --- */

static status
wait_for(comm *c, comm_request *req)
{
    status st = ST_OK;
    idle wait = {0};
    bool done = false;
    for (;;) {
        TRY(comm_test(c, req, &done));
        if (done)
            return ST_OK;
        idle_wait(&wait, true);
    }
fail:
    return st;
}

static void
own_totals(const world *w, world_totals *out)
{
    engine_counts counts = {0};
    struct rusage usage = {0};
    if (w->e != NULL)
        engine_counts_get(w->e, &counts);
    getrusage(RUSAGE_SELF, &usage);
    uint64_t n_byte = 0, total_ns = 0, hidden_ns = 0;
    double work = 0, work_cpu = 0;
    const member *m = w->lead != NULL ? lead_member(w->lead) : w->member;
    if (m != NULL) {
        n_byte = member_moved(m);
        member_hop_ns(m, &total_ns, &hidden_ns);
        member_work(m, &work, &work_cpu);
    }
    *out = (world_totals){.n_group = counts.n_group,
                          .n_group_most = counts.n_group,
                          .n_group_all = counts.n_group,
                          .n_cell = counts.n_cell,
                          .n_ahead = counts.n_ahead,
                          .n_byte = n_byte,
                          .peak_rss_bytes = (uint64_t)usage.ru_maxrss * 1024,
                          .hop_seconds = (double)total_ns * 1e-9,
                          .hop_hidden_seconds = (double)hidden_ns * 1e-9,
                          .work_seconds = work,
                          .work_cpu_seconds = work_cpu,
                          .flops = counts.flops};
}

static void
add_totals(world_totals *sum, const world_totals *one)
{
    sum->n_group_all += one->n_group;
    sum->n_cell += one->n_cell;
    sum->n_ahead += one->n_ahead;
    sum->n_byte += one->n_byte;
    sum->flops += one->flops;
    sum->hop_seconds += one->hop_seconds;
    sum->hop_hidden_seconds += one->hop_hidden_seconds;
    sum->work_seconds += one->work_seconds;
    sum->work_cpu_seconds += one->work_cpu_seconds;
    if (one->n_group > sum->n_group_most)
        sum->n_group_most = one->n_group;
    if (one->peak_rss_bytes > sum->peak_rss_bytes)
        sum->peak_rss_bytes = one->peak_rss_bytes;
}

status
world_totals_get(world *w, world_totals *out, world_totals *each)
{
    status st = ST_OK;
    comm_request req = {0};
    world_totals sum;

    own_totals(w, &sum);
    if (each != NULL)
        each[0] = sum;
    if (comm_rank(w->c) != 0) {
        TRY(comm_isend(w->c, &req, 0, TAG_TOTALS, &sum, sizeof sum, false));
        TRY(wait_for(w->c, &req));
    }
    for (uint32_t rank = 1; w->lead != NULL && rank < comm_size(w->c); rank++) {
        world_totals one = {0};
        TRY(comm_irecv(w->c, &req, rank, TAG_TOTALS, &one, sizeof one));
        TRY(wait_for(w->c, &req));
        add_totals(&sum, &one);
        if (each != NULL)
            each[rank] = one;
    }
    *out = sum;
fail:
    return st;
}
