/* SPDX-License-Identifier: Apache-2.0 */
/* The main thread's side of the line to the daemon. */
#include "worker/uplink.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "worker/uplink_impl.h"

void
uplink_message_fini(uplink_message *m)
{
    world_message_fini(&m->m);
    mem_free(m->raw);
    *m = (uplink_message){0};
}

void
uplink_packet_free(uplink_packet *p)
{
    if (p == NULL)
        return;
    mem_free(p->control);
    mem_free(p->raw);
    mem_free(p);
}

void
uplink_ring(int fd)
{
    uint64_t one = 1;
    ssize_t n = write(fd, &one, sizeof one);
    (void)n; /* a full counter is readable too */
}

void
uplink_hush(int fd)
{
    uint64_t count;
    ssize_t n = read(fd, &count, sizeof count);
    (void)n;
}

/* -------------------------------------------------------- the main thread */

/* Signals are the main thread's. */
static status
start_thread(uplink *u)
{
    sigset_t all;
    sigset_t old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int e = pthread_create(&u->thread, NULL, uplink_thread_run, u);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (e != 0)
        return status_fail(ST_NOMEM, "no thread for the daemon's messages: %s",
                           strerror(e));
    u->started = true;
    return ST_OK;
}

status
uplink_open(uplink **out, const uplink_config *cfg)
{
    uplink *u = NULL;
    status st = ST_OK;

    TRY(mem_new(&u, 1, sizeof *u));
    u->wake_thread = -1;
    u->wake_main = -1;
    u->cfg = *cfg;
    pthread_mutex_init(&u->lock, NULL);
    u->start_ns = clock_ns();
    u->heard_ns = u->start_ns;
    u->loop.since_ns = u->start_ns;
    u->wake_thread = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    u->wake_main = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (u->wake_thread < 0 || u->wake_main < 0)
        TRY(status_fail(ST_IO, "no eventfd: %s", strerror(errno)));
    TRY(zcontext_new(&u->z));
    TRY(zsocket_dealer(&u->socket, u->z, cfg->endpoint, cfg->key,
                       WORLD_MAX_PART));
    TRY(start_thread(u));
    *out = u;
    return ST_OK;
fail:
    uplink_close(u);
    return st;
}

void
uplink_close(uplink *u)
{
    if (u == NULL)
        return;
    if (u->started) {
        pthread_mutex_lock(&u->lock);
        u->closing = true;
        pthread_mutex_unlock(&u->lock);
        uplink_ring(u->wake_thread);
        pthread_join(u->thread, NULL);
    }
    if (u->socket != NULL)
        zsocket_close(u->socket);
    zcontext_free(u->z);
    uplink_message *m;
    while ((m = uplink_queue_pop(&u->in)) != NULL) {
        uplink_message_fini(m);
        mem_free(m);
    }
    uplink_packet *p;
    while ((p = uplink_queue_pop(&u->out)) != NULL)
        uplink_packet_free(p);
    if (u->wake_main >= 0)
        close(u->wake_main);
    if (u->wake_thread >= 0)
        close(u->wake_thread);
    pthread_mutex_destroy(&u->lock);
    mem_free(u);
}

status
uplink_check(uplink *u, uplink_state *state)
{
    pthread_mutex_lock(&u->lock);
    status st = u->why;
    *state = u->state;
    if (st != ST_OK)
        st = status_fail(st, "%s", u->text);
    pthread_mutex_unlock(&u->lock);
    return st;
}

bool
uplink_receive(uplink *u, uplink_message *out)
{
    pthread_mutex_lock(&u->lock);
    bool full = !uplink_queue_fits(&u->in, WORLD_MAX_PART);
    uplink_message *item = uplink_queue_pop(&u->in);
    pthread_mutex_unlock(&u->lock);
    if (item == NULL)
        return false;
    if (full)
        uplink_ring(u->wake_thread);
    *out = *item;
    mem_free(item);
    return true;
}

status
uplink_send(uplink *u, const world_message *m, const void *raw, size_t raw_len)
{
    status st = ST_OK;
    uplink_packet *p = NULL;
    world_message tagged = *m;

    pthread_mutex_lock(&u->lock);
    bool room = uplink_queue_fits(&u->out, raw_len);
    tagged.incarnation = u->incarnation;
    pthread_mutex_unlock(&u->lock);
    if (!room)
        return status_fail(ST_TIMEOUT, "the daemon is slow to take messages");
    TRY(mem_new(&p, 1, sizeof *p));
    TRY(world_message_encode(&p->control, &p->control_len, &tagged));
    if (raw != NULL) {
        TRY(mem_new(&p->raw, raw_len, 1));
        memcpy(p->raw, raw, raw_len);
        p->raw_len = raw_len;
    }
    /* Only this thread fills the queue: there is still room. */
    pthread_mutex_lock(&u->lock);
    uplink_queue_push(&u->out, p, raw_len);
    pthread_mutex_unlock(&u->lock);
    uplink_ring(u->wake_thread);
    return ST_OK;
fail:
    uplink_packet_free(p);
    return st;
}

void
uplink_load(uplink *u, double tokens_per_second, uint32_t streams_busy)
{
    pthread_mutex_lock(&u->lock);
    u->beat.u.heartbeat.tokens_per_second = tokens_per_second;
    u->beat.u.heartbeat.streams_busy = streams_busy;
    pthread_mutex_unlock(&u->lock);
}

void
uplink_hops(uplink *u, double seconds, double hidden_seconds)
{
    pthread_mutex_lock(&u->lock);
    u->beat.u.heartbeat.hop_s = seconds;
    u->beat.u.heartbeat.hop_hidden_s = hidden_seconds;
    pthread_mutex_unlock(&u->lock);
}

void
uplink_steps(uplink *u, uint64_t steps, bool due)
{
    atomic_store_explicit(&u->steps, steps, memory_order_relaxed);
    atomic_store_explicit(&u->due, due, memory_order_relaxed);
}

void
uplink_replicas(uplink *u, const watch_stall *stall, uint64_t silent_ns)
{
    pthread_mutex_lock(&u->lock);
    u->stall = *stall;
    u->silent_ns = silent_ns;
    pthread_mutex_unlock(&u->lock);
}

void
uplink_wait(uplink *u, uint32_t us)
{
    struct pollfd fd = {.fd = u->wake_main, .events = POLLIN};
    struct timespec limit = {.tv_sec = us / 1000000,
                             .tv_nsec = (long)(us % 1000000) * 1000};
    if (ppoll(&fd, 1, &limit, NULL) > 0)
        uplink_hush(u->wake_main);
}
