/* SPDX-License-Identifier: Apache-2.0 */
/* The thread between the daemon's socket and the world's loop. */
#include <poll.h>
#include <signal.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "worker/uplink_impl.h"

enum {
    POLL_MS = 50, /* a floor under everything that could be missed */
    CLOSE_MS = 1000,
    MIN_BEAT_MS = 20,
    MAX_BEAT_MS = 5000
};
static const uint64_t MS = 1000 * 1000;

/* Ends the connection for a reason that the main thread will see. */
static void
end(uplink *u, uplink_state state, status why, const char *text)
{
    pthread_mutex_lock(&u->lock);
    if (u->state <= UPLINK_JOINED) {
        u->state = state;
        u->why = why;
        snprintf(u->text, sizeof u->text, "%s", text);
    }
    pthread_mutex_unlock(&u->lock);
    uplink_ring(u->wake_main);
}

static bool
ended(uplink *u)
{
    pthread_mutex_lock(&u->lock);
    bool yes = u->state > UPLINK_JOINED;
    pthread_mutex_unlock(&u->lock);
    return yes;
}

static status
say(uplink *u, const world_message *m)
{
    status st = ST_OK;
    uint8_t *data = NULL;
    size_t len = 0;
    TRY(world_message_encode(&data, &len, m));
    TRY(zsocket_send(u->socket, NULL, data, len, NULL, 0));
fail:
    mem_free(data);
    return st;
}

static status
say_hello(uplink *u)
{
    world_message m = {.kind = WORLD_HELLO, .u.hello = *u->cfg.hello};
    return say(u, &m);
}

static void
welcome(uplink *u, const world_message *m)
{
    uint32_t beat = m->u.welcome.heartbeat_ms;
    uint32_t timeout = m->u.welcome.timeout_ms;
    beat = beat < MIN_BEAT_MS   ? MIN_BEAT_MS
           : beat > MAX_BEAT_MS ? MAX_BEAT_MS
                                : beat;
    if (timeout < 2 * beat || timeout > u->cfg.gone_ms)
        timeout = u->cfg.gone_ms / 2;
    u->beat_every_ns = beat * MS;
    u->silence_ns = timeout * MS;
    pthread_mutex_lock(&u->lock);
    u->incarnation = m->u.welcome.incarnation;
    if (u->state == UPLINK_CONNECTING)
        u->state = UPLINK_JOINED;
    pthread_mutex_unlock(&u->lock);
}

static void
deliver(uplink *u, uplink_message *got)
{
    uplink_message *item = NULL;
    if (mem_new(&item, 1, sizeof *item) != ST_OK) {
        end(u, UPLINK_GONE, ST_NOMEM, "no memory for a message");
        return;
    }
    *item = *got;
    *got = (uplink_message){0};
    pthread_mutex_lock(&u->lock);
    uplink_queue_push(&u->in, item, item->raw_len);
    pthread_mutex_unlock(&u->lock);
    uplink_ring(u->wake_main);
}

static void
handle(uplink *u, uplink_message *got)
{
    const world_message *m = &got->m;
    char text[512];
    switch (m->kind) {
    case WORLD_WELCOME:
        welcome(u, m);
        deliver(u, got);
        break;
    case WORLD_REFUSE:
        snprintf(text, sizeof text, "the daemon refuses this world: %s",
                 m->u.failed.text != NULL ? m->u.failed.text : "");
        end(u, UPLINK_REFUSED, ST_ARG, text);
        break;
    case WORLD_STOP:
        end(u, UPLINK_STOPPED, ST_OK, "");
        break;
    case WORLD_ABORT:
        /* The main thread may be deaf for ever, and so may other ranks: the
         * launcher ends them when this one dies. */
        log_error("the daemon gave this world up: it hangs");
        raise(SIGKILL);
        break;
    case WORLD_BEGIN:
    case WORLD_SEGMENT_IDS:
    case WORLD_SNAPSHOT:
    case WORLD_CANCEL:
    case WORLD_KEPT:
    case WORLD_DRAIN:
        if (m->incarnation == u->incarnation && m->incarnation != 0)
            deliver(u, got);
        break;
    case WORLD_HEARTBEAT:
        break;
    case WORLD_HELLO:
    case WORLD_CREDIT:
    case WORLD_SEGMENTS_DONE:
    case WORLD_TOKEN:
    case WORLD_JOB_DONE:
    case WORLD_JOB_FAILED:
    case WORLD_CHECKPOINT:
        log_warn("the daemon sent message %d, which is a world's to send",
                 (int)m->kind);
        break;
    }
}

/* Takes one frame; *more: there may be another. */
static void
receive(uplink *u, bool *more)
{
    zsocket_message frame = {0};
    uplink_message got = {0};
    status st = zsocket_recv(u->socket, &frame, 0);

    *more = st == ST_OK || st == ST_WIRE;
    if (st != ST_OK) {
        if (!*more && st != ST_TIMEOUT)
            end(u, UPLINK_GONE, st, status_text());
        return;
    }
    st = world_message_decode(&got.m, frame.control, frame.control_len);
    if (st == ST_OK) {
        u->heard_ns = clock_ns();
        u->hello_again = false;
        got.raw = frame.raw;
        got.raw_len = frame.raw_len;
        frame.raw = NULL;
        handle(u, &got);
    } else if (st == ST_UNSUPPORTED && u->incarnation == 0) {
        end(u, UPLINK_REFUSED, ST_ARG, status_text());
    } else if (st == ST_NOMEM || st == ST_LIMIT) {
        /* It may be a job's, which would then wait for ever. */
        end(u, UPLINK_GONE, ST_NOMEM, "no memory for a message");
    } else {
        log_warn("a message of the daemon is dropped: %s", status_text());
    }
    uplink_message_fini(&got);
    zsocket_message_fini(&frame);
}

static void
receive_all(uplink *u)
{
    bool more = true;
    while (more && !ended(u)) {
        pthread_mutex_lock(&u->lock);
        bool room = uplink_queue_fits(&u->in, WORLD_MAX_PART);
        pthread_mutex_unlock(&u->lock);
        if (!room) {
            u->heard_ns = clock_ns(); /* the silence is ours */
            return;
        }
        receive(u, &more);
    }
}

static void
send_all(uplink *u)
{
    for (;;) {
        pthread_mutex_lock(&u->lock);
        uplink_packet *p = uplink_queue_peek(&u->out);
        pthread_mutex_unlock(&u->lock);
        if (p == NULL)
            return;
        status st = zsocket_send(u->socket, NULL, p->control, p->control_len,
                                 p->raw, p->raw_len);
        if (st == ST_TIMEOUT)
            return;
        if (st != ST_OK) {
            end(u, UPLINK_GONE, st, status_text());
            return;
        }
        pthread_mutex_lock(&u->lock);
        uplink_queue_pop(&u->out);
        pthread_mutex_unlock(&u->lock);
        uplink_packet_free(p);
        uplink_ring(u->wake_main); /* it may wait for room */
    }
}

/* What the daemon is told: also when the main thread comes back no more. */
static void
fill_beat(uplink *u, world_message *beat)
{
    watch_stall own = watch_stall_of(&u->loop), stall;

    pthread_mutex_lock(&u->lock);
    *beat = u->beat;
    stall = u->stall;
    beat->u.heartbeat.silent_ms = u->silent_ns / MS;
    pthread_mutex_unlock(&u->lock);
    if (watch_is_worse(&own, &stall))
        stall = own;
    beat->kind = WORLD_HEARTBEAT;
    beat->incarnation = u->incarnation;
    beat->u.heartbeat.stalled_ms = stall.ns / MS;
    /* 0 until the first step has been seen. */
    beat->u.heartbeat.slowest_ms =
        stall.slowest_ns == 0 ? 0 : 1 + stall.slowest_ns / MS;
}

/* Heartbeats, and what to do about silence. */
static void
keep_time(uplink *u)
{
    uint64_t now = clock_ns();
    char text[512];
    world_message beat;

    watch_look(&u->loop, atomic_load_explicit(&u->steps, memory_order_relaxed),
               atomic_load_explicit(&u->due, memory_order_relaxed), now, 0);
    if (u->incarnation == 0) {
        if (zsocket_is_refused(u->socket)) {
            snprintf(text, sizeof text,
                     "the daemon at %s does not let the key %s in",
                     u->cfg.endpoint, u->cfg.key->public_key);
            end(u, UPLINK_REFUSED, ST_ARG, text);
            return;
        }
        if (now - u->start_ns <= u->cfg.connect_timeout_ms * MS)
            return;
        snprintf(text, sizeof text, "no daemon answered at %s within %.1f s",
                 u->cfg.endpoint, u->cfg.connect_timeout_ms * 1e-3);
        end(u, UPLINK_GONE, ST_TIMEOUT, text);
        return;
    }
    uint64_t silent = now - u->heard_ns;
    if (silent > u->cfg.gone_ms * MS) {
        snprintf(text, sizeof text,
                 "the daemon at %s is gone: silent for %.1f s", u->cfg.endpoint,
                 (double)silent * 1e-9);
        end(u, UPLINK_GONE, ST_TIMEOUT, text);
        return;
    }
    if (silent > u->silence_ns && !u->hello_again) {
        log_warn("the daemon is silent; joining again");
        u->hello_again = say_hello(u) == ST_OK;
    }
    if (now - u->beat_ns < u->beat_every_ns)
        return;
    u->beat_ns = now;
    fill_beat(u, &beat);
    if (say(u, &beat) != ST_OK)
        log_debug("a heartbeat was not sent: %s", status_text());
}

static void
wait_for_work(const uplink *u)
{
    uint64_t ms = u->beat_every_ns / MS;
    struct pollfd fd[2] = {{.fd = zsocket_fd(u->socket), .events = POLLIN},
                           {.fd = u->wake_thread, .events = POLLIN}};
    poll(fd, 2, ms != 0 && ms < POLL_MS ? (int)ms : POLL_MS);
    if (fd[1].revents != 0)
        uplink_hush(u->wake_thread);
}

/* The main thread of a world whose daemon is gone may be deaf for ever, or wait
 * for ranks that are, and nobody else looks after it. */
static void
see_it_end(uplink *u)
{
    uint64_t due = clock_ns() + u->cfg.gone_ms * MS;
    struct pollfd fd = {.fd = u->wake_thread, .events = POLLIN};
    bool closing = false, gone = true;

    while (!closing && gone && clock_ns() < due) {
        pthread_mutex_lock(&u->lock);
        closing = u->closing;
        gone = u->state == UPLINK_GONE;
        pthread_mutex_unlock(&u->lock);
        if (!closing && gone && poll(&fd, 1, POLL_MS) > 0)
            uplink_hush(u->wake_thread);
    }
    if (closing || !gone)
        return;
    log_error("the daemon is gone, and this world does not end: it hangs");
    raise(SIGKILL);
}

void *
uplink_thread_run(void *ctx)
{
    uplink *u = ctx;
    bool closing = false;

    if (say_hello(u) != ST_OK)
        end(u, UPLINK_GONE, ST_IO, status_text());
    while (!closing && !ended(u)) {
        receive_all(u);
        send_all(u);
        keep_time(u);
        /* Sending takes the descriptor's edge along. */
        receive_all(u);
        pthread_mutex_lock(&u->lock);
        closing = u->closing;
        pthread_mutex_unlock(&u->lock);
        if (!closing)
            wait_for_work(u);
    }
    send_all(u);
    pthread_mutex_lock(&u->lock);
    bool heard = u->state == UPLINK_JOINED || u->state == UPLINK_STOPPED;
    pthread_mutex_unlock(&u->lock);
    zsocket_flush_close(u->socket, heard ? CLOSE_MS : 0);
    u->socket = NULL;
    see_it_end(u);
    return NULL;
}
