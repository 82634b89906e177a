/* SPDX-License-Identifier: Apache-2.0 */
/* Answers ZAP requests from an allow-list. */
#include "proto/zap.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <zmq.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "proto/socket_raw.h"

/* Frames of a request: version, id, domain, address, identity, mechanism,
 * credentials. */
enum {
    F_VERSION = 0,
    F_ID,
    F_DOMAIN,
    F_ADDRESS,
    F_MECHANISM = 5,
    F_KEY,
    N_FRAME,
    MAX_FRAME = 256,
    KEY_BYTES = 32
};
static const uint64_t QUIET_NS = 1000000000; /* between lines of the log */

typedef struct frame {
    char data[MAX_FRAME]; /* cut, and with a NUL */
    size_t len;
} frame;

struct zap {
    void *socket; /* the thread's */
    int wake;     /* eventfd: the end */
    pthread_t thread;
    bool started;

    pthread_mutex_t lock; /* of the rest */
    allowlist *list;
    const char *trusted;
    unsigned trusted_roles;

    uint64_t said_ns; /* the thread's own */
    unsigned unsaid;
};

unsigned
zap_roles(zap *d, const char *key)
{
    unsigned roles;

    pthread_mutex_lock(&d->lock);
    roles = d->list ? allowlist_find(d->list, key) : 0;
    if (d->trusted && strcmp(d->trusted, key) == 0)
        roles |= d->trusted_roles;
    pthread_mutex_unlock(&d->lock);
    return roles;
}

void
zap_take_list(zap *d, allowlist **list)
{
    allowlist *old;

    pthread_mutex_lock(&d->lock);
    old = d->list;
    d->list = *list;
    *list = NULL;
    pthread_mutex_unlock(&d->lock);
    allowlist_free(old);
}

void
zap_trust(zap *d, const char *key, unsigned roles)
{
    pthread_mutex_lock(&d->lock);
    d->trusted = key;
    d->trusted_roles = roles;
    pthread_mutex_unlock(&d->lock);
}

/* ------------------------------------------------------------- the thread ---
 */

/* At most `max` frames are kept; false: there was no request. */
static bool
receive(void *socket, frame *f, int max, int *n)
{
    int more = 1;
    size_t size = sizeof(more);

    for (*n = 0; more; ++*n) {
        frame extra;
        frame *to = *n < max ? &f[*n] : &extra;
        int len = zmq_recv(socket, to->data, MAX_FRAME - 1, ZMQ_DONTWAIT);

        if (len < 0)
            return false;
        to->len = (size_t)len < MAX_FRAME ? (size_t)len : MAX_FRAME;
        to->data[to->len < MAX_FRAME ? to->len : MAX_FRAME - 1] = '\0';
        if (zmq_getsockopt(socket, ZMQ_RCVMORE, &more, &size) != 0)
            return false;
    }
    return true;
}

static bool
is(const frame *f, const char *text)
{
    return f->len == strlen(text) && memcmp(f->data, text, f->len) == 0;
}

static unsigned
needed(const frame *domain)
{
    if (is(domain, zsocket_domain_name(ZSOCKET_WORLDS)))
        return ALLOWLIST_WORLD;
    if (is(domain, zsocket_domain_name(ZSOCKET_CLIENTS)))
        return ALLOWLIST_CLIENT | ALLOWLIST_ADMIN;
    return 0;
}

/* A stranger who knocks all the time must not fill the log. */
static void
say_refused(zap *d, const frame *f, const char *key)
{
    uint64_t now = clock_ns();
    char more[64] = "";

    if (d->said_ns && now - d->said_ns < QUIET_NS) {
        d->unsaid++;
        return;
    }
    if (d->unsaid > 0)
        (void)snprintf(more, sizeof(more), ", nor were %u since the last one",
                       d->unsaid);
    log_warn("the key %s from %s is not let in as one of the %s%s", key,
             f[F_ADDRESS].data, f[F_DOMAIN].data, more);
    d->said_ns = now;
    d->unsaid = 0;
}

static bool
decide(zap *d, const frame *f, int n, char key[KEYFILE_SIZE])
{
    if (n != N_FRAME || !is(&f[F_VERSION], "1.0") ||
        !is(&f[F_MECHANISM], "CURVE") || f[F_KEY].len != KEY_BYTES ||
        !zmq_z85_encode(key, (const uint8_t *)f[F_KEY].data, KEY_BYTES))
        return false;
    if (zap_roles(d, key) & needed(&f[F_DOMAIN]))
        return true;
    say_refused(d, f, key);
    return false;
}

static void
reply(void *socket, const frame *id, bool yes, const char *user)
{
    const char *part[] = {yes ? "200" : "400", yes ? "OK" : "refused",
                          yes ? user : ""};

    (void)zmq_send(socket, "1.0", 3, ZMQ_SNDMORE);
    (void)zmq_send(socket, id->data, id->len, ZMQ_SNDMORE);
    for (size_t i = 0; i < sizeof(part) / sizeof(*part); i++)
        (void)zmq_send(socket, part[i], strlen(part[i]), ZMQ_SNDMORE);
    (void)zmq_send(socket, "", 0, 0); /* no metadata */
}

static void
answer_all(zap *d)
{
    frame f[N_FRAME];
    int n;

    while (receive(d->socket, f, N_FRAME, &n)) {
        char key[KEYFILE_SIZE] = "";
        bool yes = decide(d, f, n, key);

        reply(d->socket, &f[F_ID], yes && n > F_ID, key);
    }
}

static void *
run(void *ctx)
{
    zap *d = ctx;
    zmq_pollitem_t item[2] = {{.socket = d->socket, .events = ZMQ_POLLIN},
                              {.fd = d->wake, .events = ZMQ_POLLIN}};

    while (!(item[1].revents & ZMQ_POLLIN)) {
        if (zmq_poll(item, 2, -1) < 0 && zmq_errno() != EINTR)
            break; /* the context ends: nobody knocks any more */
        answer_all(d);
    }
    return NULL;
}

/* ---------------------------------------------------------------- opening ---
 */

/* Signals are the main thread's. */
static status
start_thread(zap *d)
{
    sigset_t all, old;
    int code;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    code = pthread_create(&d->thread, NULL, run, d);
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (code != 0)
        return status_fail(ST_IO, "no thread for the door: %s", strerror(code));
    d->started = true;
    return ST_OK;
}

status
zap_new(zap **out, zcontext *z)
{
    const int linger = 0;
    zap *d = NULL;
    status st;

    TRY(mem_new(&d, 1, sizeof(*d)));
    pthread_mutex_init(&d->lock, NULL);
    d->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    d->socket = zmq_socket(zcontext_raw(z), ZMQ_REP);
    if (d->wake < 0 || !d->socket ||
        zmq_setsockopt(d->socket, ZMQ_LINGER, &linger, sizeof(linger)) != 0 ||
        zmq_bind(d->socket, "inproc://zeromq.zap.01") != 0)
        TRY(status_fail(ST_IO, "no door: %s", zmq_strerror(zmq_errno())));
    TRY(start_thread(d));
    *out = d;
    return ST_OK;
fail:
    zap_free(d);
    return st;
}

void
zap_free(zap *d)
{
    uint64_t one = 1;
    ssize_t n;

    if (!d)
        return;
    if (d->started) {
        n = write(d->wake, &one, sizeof(one));
        (void)n; /* a counter of 1 fits */
        (void)pthread_join(d->thread, NULL);
    }
    if (d->socket)
        (void)zmq_close(d->socket);
    if (d->wake >= 0)
        (void)close(d->wake);
    allowlist_free(d->list);
    pthread_mutex_destroy(&d->lock);
    mem_free(d);
}
