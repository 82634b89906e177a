/* SPDX-License-Identifier: Apache-2.0 */
/* A reactor on zmq_poll(): what is ready is called, then timers that are due.
 *
 * Not CZMQ's zloop: that one aborts when memory is out and takes SIGINT and
 * SIGTERM for itself. */
#include "proto/loop.h"

#include <errno.h>

#include <zmq.h>

#include "base/clock.h"
#include "base/mem.h"
#include "proto/socket_raw.h"

typedef struct source {
    zsocket *socket; /* NULL: fd */
    int fd;
    loop_socket_fn *socket_fn;
    loop_fd_fn *fd_fn;
    void *ctx;
    bool again;   /* it has more to do */
    bool removed; /* swept between turns */
} source;

typedef struct timer {
    int id;
    uint64_t period_ns, due_ns;
    loop_timer_fn *fn;
    void *ctx;
    bool removed;
} timer;

struct loop {
    source *source;
    zmq_pollitem_t *item; /* as long as source */
    size_t n_source;
    timer *timer;
    size_t n_timer;
    int last_id;
    bool stopped;
    uint64_t longest_ns;
};

status
loop_new(loop **out)
{
    return mem_new(out, 1, sizeof(**out));
}

void
loop_free(loop *l)
{
    if (!l)
        return;
    mem_free(l->source);
    mem_free(l->item);
    mem_free(l->timer);
    mem_free(l);
}

static status
add_source(loop *l, source s)
{
    status st;

    TRY(mem_resize(&l->item, l->n_source + 1, sizeof(*l->item)));
    TRY(mem_resize(&l->source, l->n_source + 1, sizeof(*l->source)));
    l->source[l->n_source++] = s;
fail:
    return st;
}

status
loop_add_socket(loop *l, zsocket *s, loop_socket_fn *fn, void *ctx)
{
    return add_source(l, (source){.socket = s, .socket_fn = fn, .ctx = ctx});
}

void
loop_remove_socket(loop *l, zsocket *s)
{
    for (size_t i = 0; i < l->n_source; i++)
        if (l->source[i].socket == s)
            l->source[i].removed = true;
}

status
loop_add_fd(loop *l, int fd, loop_fd_fn *fn, void *ctx)
{
    return add_source(l, (source){.fd = fd, .fd_fn = fn, .ctx = ctx});
}

status
loop_add_timer(loop *l, uint32_t ms, loop_timer_fn *fn, void *ctx, int *id)
{
    uint64_t period = (uint64_t)(ms ? ms : 1) * 1000000;
    status st;

    TRY(mem_resize(&l->timer, l->n_timer + 1, sizeof(*l->timer)));
    l->timer[l->n_timer++] = (timer){.id = ++l->last_id,
                                     .period_ns = period,
                                     .due_ns = clock_ns() + period,
                                     .fn = fn,
                                     .ctx = ctx};
    *id = l->last_id;
fail:
    return st;
}

void
loop_remove_timer(loop *l, int id)
{
    for (size_t i = 0; i < l->n_timer; i++)
        if (l->timer[i].id == id)
            l->timer[i].removed = true;
}

/* Callbacks may remove anything, themselves too, so removal waits for here. */
static void
sweep(loop *l)
{
    size_t n = 0;

    for (size_t i = 0; i < l->n_source; i++)
        if (!l->source[i].removed)
            l->source[n++] = l->source[i];
    l->n_source = n;
    n = 0;
    for (size_t i = 0; i < l->n_timer; i++)
        if (!l->timer[i].removed)
            l->timer[n++] = l->timer[i];
    l->n_timer = n;
}

/* Milliseconds until the next timer, rounded up, or none when somebody has more
 * to do; -1: nobody waits for anything. */
static long
next_due(const loop *l)
{
    uint64_t now = clock_ns(), due = UINT64_MAX;

    for (size_t i = 0; i < l->n_source; i++)
        if (l->source[i].again)
            return 0;
    for (size_t i = 0; i < l->n_timer; i++)
        if (l->timer[i].due_ns < due)
            due = l->timer[i].due_ns;
    if (due == UINT64_MAX)
        return -1;
    return due <= now ? 0 : (long)((due - now + 999999) / 1000000);
}

static status
wait(loop *l)
{
    for (size_t i = 0; i < l->n_source; i++) {
        source *s = &l->source[i];

        l->item[i] = (zmq_pollitem_t){
            .socket = s->socket ? zsocket_raw(s->socket) : NULL,
            .fd = s->fd,
            .events = ZMQ_POLLIN};
    }
    if (zmq_poll(l->item, (int)l->n_source, next_due(l)) < 0) {
        if (zmq_errno() != EINTR)
            return status_fail(ST_IO, "the loop cannot wait: %s",
                               zmq_strerror(zmq_errno()));
        for (size_t i = 0; i < l->n_source; i++)
            l->item[i].revents = 0; /* nothing is known of them */
    }
    return ST_OK;
}

/* Callbacks may add sources, which moves the arrays: entries are copied before
 * a call, and the new ones have their first turn after the next wait. */
static void
call_sources(loop *l)
{
    size_t n = l->n_source;

    for (size_t i = 0; i < n && !l->stopped; i++) {
        source s = l->source[i];

        if (s.removed || (!l->item[i].revents && !s.again))
            continue;
        if (s.socket)
            l->source[i].again = s.socket_fn(s.ctx, s.socket);
        else
            s.fd_fn(s.ctx, s.fd);
    }
}

/* Turns that were missed are not made up for. */
static void
call_timers(loop *l)
{
    size_t n = l->n_timer;
    uint64_t now = clock_ns();

    for (size_t i = 0; i < n && !l->stopped; i++) {
        timer t = l->timer[i];

        if (t.removed || t.due_ns > now)
            continue;
        l->timer[i].due_ns += t.period_ns;
        if (l->timer[i].due_ns <= now)
            l->timer[i].due_ns = now + t.period_ns;
        t.fn(t.ctx);
    }
}

status
loop_run(loop *l)
{
    l->stopped = false;
    while (!l->stopped) {
        uint64_t start, turn;
        status st;

        sweep(l);
        st = wait(l);
        if (st != ST_OK)
            return st;
        start = clock_ns();
        call_sources(l);
        call_timers(l);
        turn = clock_ns() - start;
        if (turn > l->longest_ns)
            l->longest_ns = turn;
    }
    return ST_OK;
}

void
loop_stop(loop *l)
{
    l->stopped = true;
}

double
loop_longest_turn_ms(const loop *l)
{
    return (double)l->longest_ns / 1e6;
}
