/* SPDX-License-Identifier: Apache-2.0 */
/* Messages between neighbours, timed: small ones there and back for latency,
 * larger and larger ones there for bandwidth, and large ones between which both
 * ends sleep, for what a byte takes of a rank's own time. */
#include <sched.h>

#include "base/clock.h"
#include "base/mem.h"
#include "worker/probe.h"
#include "worker/world_wire.h"

enum {
    N_PING = 15,
    SMALL = 64,       /* bytes */
    FIRST = 64 << 10, /* of the messages that grow */
    LAST = 16 << 20,  /* likewise */
    REST_US = 500,    /* between looks where CPU time is what counts */
    N_LARGE = 2,      /* of each length; the last one counts */
    N_SPIN = 200,     /* looks before the core is given away between them */
    N_LOOK = 1000     /* between looks at the clock */
};

static const double LONG = 0.03;   /* seconds of a message that tells enough */
static const double PATIENCE = 20; /* seconds without a word */

/* The world's own tags begin to be used later. */
enum { TAG_PLAN = TAG_TOTALS + 1, TAG_PING, TAG_PONG };

/* What comes next: `n` messages of `len` bytes; none: that was all. */
typedef struct round {
    uint64_t n, len;
    uint32_t rests; /* 1: sleep between looks */
} round;

/* What comes back. */
typedef struct echo {
    double cpu_s; /* that receiving took */
    uint8_t rest[SMALL - sizeof(double)];
} echo;

typedef struct prober {
    comm *c;
    uint8_t *data; /* [LAST] */
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

/* Of n messages of which each is answered by a small one: seconds, and CPU
 * time at either end. */
typedef struct times {
    double least, last;
    double send_s, receive_s; /* least */
} times;

static double
lesser(double a, double b, bool first)
{
    return first || a < b ? a : b;
}

static status
ping(prober *p, uint32_t peer, const round *r, times *t)
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

/* Bandwidth is the slope between the two longest messages, so that what a link
 * lets through at once does not count. */
static status
measure(prober *p, uint32_t peer, cost_link *out)
{
    const round end = {0};
    round r = {.n = N_PING, .len = SMALL};
    times t = {0};
    double before = 0;
    status st = ST_OK;

    TRY(ping(p, peer, &r, &t));
    cost_link l = {.latency_s = t.least / 2};
    r = (round){.n = N_LARGE, .len = FIRST / 2};
    for (t.last = 0; t.last < LONG && r.len < LAST;) {
        r.len *= 2;
        before = t.last;
        TRY(ping(p, peer, &r, &t));
    }
    if (r.len > FIRST && t.last > before)
        l.bytes_per_s = (double)(r.len / 2) / (t.last - before);
    else if (t.last > 2 * l.latency_s)
        l.bytes_per_s = (double)r.len / (t.last - 2 * l.latency_s);
    r.rests = 1;
    TRY(ping(p, peer, &r, &t));
    l.send_s = t.send_s / (double)r.len;
    l.receive_s = t.receive_s / (double)r.len;
    TRY(send(p, peer, TAG_PLAN, &end, sizeof end));
    *out = l;
fail:
    return st;
}

/* ------------------------------------------------ the rank that answers --- */

static status
answer_round(prober *p, uint32_t peer, const round *r)
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
    round r = {0};
    status st = ST_OK;

    for (;;) {
        TRY(receive(p, peer, TAG_PLAN, &r, sizeof r));
        if (r.n == 0)
            return ST_OK;
        if (r.len > LAST || r.n > N_PING)
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

status
probe_links(cost_link *out, comm *c)
{
    uint32_t size = comm_size(c), rank = comm_rank(c);
    uint32_t next = (rank + 1) % size, last = (rank + size - 1) % size;
    cost_link l = {0};
    prober p = {.c = c};
    status st = ST_OK;

    TRY(comm_agree(c, mem_new(&p.data, LAST, 1)));
    for (uint32_t turn = 0; size > 1 && turn < 3; turn++) {
        if (turn_of(rank, size) == turn)
            st = measure(&p, next, &l);
        else if (turn_of(last, size) == turn)
            st = answer(&p, last);
        TRY(comm_agree(c, st));
    }
    *out = l;
fail:
    mem_free(p.data);
    return st;
}
