/* SPDX-License-Identifier: Apache-2.0 */
/* Messages between neighbours, timed: small ones there and back for latency,
 * larger and larger ones there for bandwidth. */
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
} round;

typedef struct prober {
    comm *c;
    uint8_t *data; /* [LAST] */
} prober;

static status
await(comm *c, comm_request *req)
{
    double start = clock_seconds();
    bool done = false;
    status st = ST_OK;

    for (uint32_t n = 1;; n++) {
        TRY(comm_test(c, req, &done));
        if (done)
            return ST_OK;
        if (n > N_SPIN)
            sched_yield();
        if (n % N_LOOK == 0 && clock_seconds() - start > PATIENCE)
            return status_fail(ST_TIMEOUT, "a neighbour does not answer");
    }
fail:
    return st;
}

static status
send(comm *c, uint32_t peer, int tag, const void *data, size_t len)
{
    comm_request req = {0};
    status st = ST_OK;

    TRY(comm_isend(c, &req, peer, tag, data, len, false));
    TRY(await(c, &req));
fail:
    return st;
}

static status
receive(comm *c, uint32_t peer, int tag, void *data, size_t len)
{
    comm_request req = {0};
    status st = ST_OK;

    TRY(comm_irecv(c, &req, peer, tag, data, len));
    TRY(await(c, &req));
fail:
    return st;
}

/* ------------------------------------------------- the rank that begins --- */

/* Seconds until each of n messages is there and a small one is back: the least
 * and the last. */
static status
ping(prober *p, uint32_t peer, const round *r, double *least, double *last)
{
    uint8_t back[SMALL];
    comm_request req = {0};
    status st = ST_OK;

    TRY(send(p->c, peer, TAG_PLAN, r, sizeof *r));
    for (uint64_t i = 0; i < r->n; i++) {
        double start = clock_seconds();
        TRY(comm_irecv(p->c, &req, peer, TAG_PONG, back, sizeof back));
        TRY(send(p->c, peer, TAG_PING, p->data, (size_t)r->len));
        TRY(await(p->c, &req));
        *last = clock_seconds() - start;
        if (i == 0 || *last < *least)
            *least = *last;
    }
fail:
    return st;
}

/* Bandwidth is the slope between the two longest messages, so that what a link
 * lets through at once does not count. */
static status
measure(prober *p, uint32_t peer, cost_link *out)
{
    const round end = {0};
    round r = {.n = N_PING, .len = SMALL};
    double least = 0, t = 0, before = 0;
    status st = ST_OK;

    TRY(ping(p, peer, &r, &least, &t));
    cost_link l = {.latency_s = least / 2};
    r = (round){.n = N_LARGE, .len = FIRST / 2};
    for (t = 0; t < LONG && r.len < LAST;) {
        r.len *= 2;
        before = t;
        TRY(ping(p, peer, &r, &least, &t));
    }
    TRY(send(p->c, peer, TAG_PLAN, &end, sizeof end));
    if (r.len > FIRST && t > before)
        l.bytes_per_s = (double)(r.len / 2) / (t - before);
    else if (t > 2 * l.latency_s)
        l.bytes_per_s = (double)r.len / (t - 2 * l.latency_s);
    *out = l;
fail:
    return st;
}

/* ------------------------------------------------ the rank that answers --- */

static status
answer(prober *p, uint32_t peer)
{
    uint8_t back[SMALL] = {0};
    round r = {0};
    status st = ST_OK;

    for (;;) {
        TRY(receive(p->c, peer, TAG_PLAN, &r, sizeof r));
        if (r.n == 0)
            return ST_OK;
        if (r.len > LAST || r.n > N_PING)
            return status_fail(ST_WIRE, "a probe of %llu bytes",
                               (unsigned long long)r.len);
        for (uint64_t i = 0; i < r.n; i++) {
            TRY(receive(p->c, peer, TAG_PING, p->data, (size_t)r.len));
            TRY(send(p->c, peer, TAG_PONG, back, sizeof back));
        }
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
