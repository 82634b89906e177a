/* SPDX-License-Identifier: Apache-2.0 */
/* Messages between neighbours, timed: which ones, probe_pace.h says. */
#include <sched.h>

#include "base/clock.h"
#include "base/mem.h"
#include "worker/probe.h"
#include "worker/probe_pace.h"
#include "worker/world_wire.h"

enum {
    REST_US = 500, /* between looks where CPU time is what counts */
    N_SPIN = 200,  /* looks before the core is given away between them */
    N_LOOK = 1000  /* between looks at the clock */
};

static const double BUDGET = 0.36; /* seconds of all links */
static const double LEAST = 0.03;  /* of one, come what may */
static const double PATIENCE = 20; /* seconds without a word */

/* The world's own tags begin to be used later. */
enum { TAG_PLAN = TAG_TOTALS + 1, TAG_PING, TAG_PONG };

/* What comes back. */
typedef struct echo {
    double cpu_s; /* that receiving took */
    uint8_t rest[PROBE_PACE_SMALL - sizeof(double)];
} echo;

typedef struct prober {
    comm *c;
    uint8_t *data; /* [PROBE_PACE_LONGEST] */
    bool rests;
} prober;

static status
await(const prober *p, comm_request *req)
{
    double start = clock_seconds();
    bool done = false;
    status st = ST_OK;

    for (uint32_t n = 1;; n++) {
        TRY(comm_test(p->c, req, &done));
        if (done)
            return ST_OK;
        if (p->rests)
            clock_sleep_us(REST_US);
        else if (n > N_SPIN)
            sched_yield();
        if ((p->rests || n % N_LOOK == 0) && clock_seconds() - start > PATIENCE)
            return status_fail(ST_TIMEOUT, "a neighbour does not answer");
    }
fail:
    return st;
}

static status
send(prober *p, uint32_t peer, int tag, const void *data, size_t len)
{
    comm_request req = {0};
    status st = ST_OK;

    TRY(comm_isend(p->c, &req, peer, tag, data, len, false));
    TRY(await(p, &req));
fail:
    return st;
}

static status
receive(prober *p, uint32_t peer, int tag, void *data, size_t len)
{
    comm_request req = {0};
    status st = ST_OK;

    TRY(comm_irecv(p->c, &req, peer, tag, data, len));
    TRY(await(p, &req));
    return ST_OK;
fail:
    comm_cancel(p->c, &req); /* what comes late finds no memory of ours */
    return st;
}

/* ------------------------------------------------- the rank that begins --- */

static double
lesser(double a, double b, bool first)
{
    return first || a < b ? a : b;
}

static status
ping(prober *p, uint32_t peer, const probe_round *r, probe_times *t)
{
    echo back = {0};
    comm_request req = {0};
    status st = ST_OK;

    TRY(send(p, peer, TAG_PLAN, r, sizeof *r));
    p->rests = r->rests != 0;
    for (uint64_t i = 0; i < r->n; i++) {
        double start = clock_seconds(), cpu = clock_thread_seconds();
        TRY(comm_irecv(p->c, &req, peer, TAG_PONG, &back, sizeof back));
        TRY(send(p, peer, TAG_PING, p->data, (size_t)r->len));
        cpu = clock_thread_seconds() - cpu;
        TRY(await(p, &req));
        t->last = clock_seconds() - start;
        t->least = lesser(t->last, t->least, i == 0);
        t->send_s = lesser(cpu, t->send_s, i == 0);
        t->receive_s = lesser(back.cpu_s, t->receive_s, i == 0);
    }
fail:
    comm_cancel(p->c, &req); /* an echo that comes late, as in receive() */
    p->rests = false;
    return st;
}

static status
measure(prober *p, uint32_t peer, double budget, cost_link *out)
{
    const probe_round end = {0};
    probe_pace pace;
    probe_round r;
    status st = ST_OK;

    probe_pace_init(&pace, budget);
    while (probe_pace_next(&pace, &r)) {
        probe_times t = {0};
        double start = clock_seconds();
        TRY(ping(p, peer, &r, &t));
        probe_pace_tell(&pace, &r, &t, clock_seconds() - start);
    }
    TRY(send(p, peer, TAG_PLAN, &end, sizeof end));
    *out = probe_pace_link(&pace);
fail:
    return st;
}

/* ------------------------------------------------ the rank that answers --- */

static status
answer_round(prober *p, uint32_t peer, const probe_round *r)
{
    status st = ST_OK;

    p->rests = r->rests != 0;
    for (uint64_t i = 0; i < r->n; i++) {
        echo back = {0};
        double cpu = clock_thread_seconds();
        TRY(receive(p, peer, TAG_PING, p->data, (size_t)r->len));
        back.cpu_s = clock_thread_seconds() - cpu;
        TRY(send(p, peer, TAG_PONG, &back, sizeof back));
    }
fail:
    p->rests = false;
    return st;
}

static status
answer(prober *p, uint32_t peer)
{
    probe_round r = {0};
    status st = ST_OK;

    for (;;) {
        TRY(receive(p, peer, TAG_PLAN, &r, sizeof r));
        if (r.n == 0)
            return ST_OK;
        if (r.len > PROBE_PACE_LONGEST || r.n > PROBE_PACE_MOST)
            return status_fail(ST_WIRE, "a probe of %llu bytes",
                               (unsigned long long)r.len);
        TRY(answer_round(p, peer, &r));
    }
fail:
    return st;
}

/* Every second link at once: a rank has to do with one of them.  With an odd
 * number of ranks the last link has a turn of its own. */
static uint32_t
turn_of(uint32_t link, uint32_t size)
{
    return size % 2 == 1 && link + 1 == size ? 2 : link % 2;
}

/* Seconds of this turn, one of n_turn that are left. */
static double
turn_seconds(double end, uint32_t n_turn)
{
    double left = end - clock_seconds();

    left = (left < BUDGET ? left : BUDGET) / n_turn;
    return left > LEAST ? left : LEAST;
}

status
probe_links(cost_link *out, comm *c, double end)
{
    uint32_t size = comm_size(c), rank = comm_rank(c);
    uint32_t next = (rank + 1) % size, last = (rank + size - 1) % size;
    uint32_t n_turn = size % 2 == 1 ? 3 : 2;
    cost_link l = {0};
    prober p = {.c = c};
    status st = ST_OK;

    TRY(comm_agree(c, mem_new(&p.data, PROBE_PACE_LONGEST, 1)));
    for (uint32_t turn = 0; size > 1 && turn < n_turn; turn++) {
        if (turn_of(rank, size) == turn)
            st = measure(&p, next, turn_seconds(end, n_turn - turn), &l);
        else if (turn_of(last, size) == turn)
            st = answer(&p, last);
        TRY(comm_agree(c, st));
    }
    *out = l;
fail:
    mem_free(p.data);
    return st;
}
