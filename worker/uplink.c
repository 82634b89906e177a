/* SPDX-License-Identifier: Apache-2.0 */
/* The thread between the daemon's socket and the world's loop. */
#include "worker/uplink.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "proto/socket.h"
#include "worker/uplink_queue.h"

enum {
    POLL_MS = 50, /* a floor under everything that could be missed */
    CLOSE_MS = 1000,
    MIN_BEAT_MS = 20,
    MAX_BEAT_MS = 5000
};
static const uint64_t MS = 1000 * 1000;

/* A message on its way out, encoded. */
typedef struct packet {
    uint8_t *control, *raw;
    size_t control_len, raw_len;
} packet;

struct uplink {
    uplink_config cfg;
    zcontext *z;
    int wake_thread, wake_main; /* eventfds */
    pthread_t thread;
    bool started;

    pthread_mutex_t lock; /* of everything down to the next comment */
    uplink_queue in;      /* uplink_message */
    uplink_queue out;     /* packet */
    uplink_state state;
    status why;
    char text[512];
    uint64_t incarnation;
    world_message beat;
    bool closing;

    /* the thread's own */
    zsocket *socket;
    uint64_t start_ns, heard_ns, beat_ns;
    uint64_t beat_every_ns, silence_ns;
    bool hello_again; /* said since the daemon was heard last */
};

void
uplink_message_fini(uplink_message *m)
{
    world_message_fini(&m->m);
    mem_free(m->raw);
    *m = (uplink_message){0};
}

static void
packet_free(packet *p)
{
    if (p == NULL)
        return;
    mem_free(p->control);
    mem_free(p->raw);
    mem_free(p);
}

static void
ring(int fd)
{
    uint64_t one = 1;
    ssize_t n = write(fd, &one, sizeof one);
    (void)n; /* a full counter is readable too */
}

static void
hush(int fd)
{
    uint64_t count;
    ssize_t n = read(fd, &count, sizeof count);
    (void)n;
}

/* ------------------------------------------------------------ the thread */

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
    ring(u->wake_main);
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
    ring(u->wake_main);
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
    case WORLD_BEGIN:
    case WORLD_SEGMENT_IDS:
    case WORLD_SNAPSHOT:
    case WORLD_CANCEL:
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
        packet *p = uplink_queue_peek(&u->out);
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
        packet_free(p);
        ring(u->wake_main); /* it may wait for room */
    }
}

/* Heartbeats, and what to do about silence. */
static void
keep_time(uplink *u)
{
    uint64_t now = clock_ns();
    char text[512];

    if (u->incarnation == 0) {
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
    pthread_mutex_lock(&u->lock);
    world_message beat = u->beat;
    pthread_mutex_unlock(&u->lock);
    beat.kind = WORLD_HEARTBEAT;
    beat.incarnation = u->incarnation;
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
        hush(u->wake_thread);
}

static void *
run(void *ctx)
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
    return NULL;
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
    int e = pthread_create(&u->thread, NULL, run, u);
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
    u->wake_thread = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    u->wake_main = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (u->wake_thread < 0 || u->wake_main < 0)
        TRY(status_fail(ST_IO, "no eventfd: %s", strerror(errno)));
    TRY(zcontext_new(&u->z));
    TRY(zsocket_dealer(&u->socket, u->z, cfg->endpoint, WORLD_MAX_PART));
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
        ring(u->wake_thread);
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
    packet *p;
    while ((p = uplink_queue_pop(&u->out)) != NULL)
        packet_free(p);
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
        ring(u->wake_thread);
    *out = *item;
    mem_free(item);
    return true;
}

status
uplink_send(uplink *u, const world_message *m, const void *raw, size_t raw_len)
{
    status st = ST_OK;
    packet *p = NULL;
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
    ring(u->wake_thread);
    return ST_OK;
fail:
    packet_free(p);
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
uplink_wait(uplink *u, uint32_t us)
{
    struct pollfd fd = {.fd = u->wake_main, .events = POLLIN};
    struct timespec limit = {.tv_sec = us / 1000000,
                             .tv_nsec = (long)(us % 1000000) * 1000};
    if (ppoll(&fd, 1, &limit, NULL) > 0)
        hush(u->wake_main);
}
