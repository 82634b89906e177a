/* SPDX-License-Identifier: Apache-2.0 */
/* ROUTER and DEALER on libzmq, with limits: how they open and close. */
#include "proto/socket.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <zmq.h>

#include "base/mem.h"
#include "proto/endpoint.h"
#include "proto/socket_raw.h"
#include "proto/socket_state.h"

enum {
    /* What a peer may have waiting, in messages and, with the size of the
     * largest one, in bytes; credits keep honest peers far below. */
    QUEUE_MAX = 64,
    QUEUE_MIN = 8,
    HANDSHAKE_MS = 3000,
    HEARTBEAT_MS = 5000,
    HEARTBEAT_TTL_MS = 15000,
    RECONNECT_MS = 100,
    RECONNECT_MAX_MS = 1000,
    SPARE_DESCRIPTORS = 16,
    /* ZMQ_ZAP_ENFORCE_DOMAIN, which only the draft header names: without a
     * handler nobody is let in.  Libraries that do not know it refuse it. */
    ENFORCE_DOMAIN = 93
};

struct zcontext {
    void *zmq;
    unsigned n_watched; /* each watched socket has a name of its own */
};

status
zsocket_status(const char *what)
{
    int code = zmq_errno();

    return status_fail(code == ENOMEM ? ST_NOMEM : ST_IO, "%s: %s", what,
                       zmq_strerror(code));
}

/* ZeroMQ ends the process where its threads and first sockets get none. */
static status
check_descriptors(void)
{
    int fd[SPARE_DESCRIPTORS];
    int n = 0;
    status st = ST_OK;

    while (n < SPARE_DESCRIPTORS && (fd[n] = eventfd(0, EFD_CLOEXEC)) >= 0)
        n++;
    if (n < SPARE_DESCRIPTORS)
        st = status_fail(ST_NOMEM, "less than %d file descriptors are left: %s",
                         SPARE_DESCRIPTORS, strerror(errno));
    while (n > 0)
        (void)close(fd[--n]);
    return st;
}

status
zcontext_new(zcontext **out)
{
    zcontext *z = NULL;
    status st;

    TRY(check_descriptors());
    TRY(mem_new(&z, 1, sizeof(*z)));
    z->zmq = zmq_ctx_new();
    if (!z->zmq)
        TRY(zsocket_status("no ZeroMQ context"));
    *out = z;
    return ST_OK;
fail:
    mem_free(z);
    return st;
}

void
zcontext_free(zcontext *z)
{
    if (!z)
        return;
    while (zmq_ctx_term(z->zmq) != 0 && zmq_errno() == EINTR)
        ;
    mem_free(z);
}

typedef struct setting {
    int option, value;
} setting;

static status
set(zsocket *s, const setting *table, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (zmq_setsockopt(s->zmq, table[i].option, &table[i].value,
                           sizeof(int)) != 0)
            return zsocket_status("a socket option is refused");
    return ST_OK;
}

static int
queue_of(size_t max_message)
{
    size_t n = ZSOCKET_QUEUE_BYTES / (max_message > 0 ? max_message : 1);

    return n < QUEUE_MIN ? QUEUE_MIN : n > QUEUE_MAX ? QUEUE_MAX : (int)n;
}

static status
configure(zsocket *s, const endpoint *e, size_t max_message)
{
    int queue = queue_of(max_message);
    const setting every[] = {
        {ZMQ_LINGER, 0},         {ZMQ_RCVHWM, queue},
        {ZMQ_SNDHWM, QUEUE_MAX}, {ZMQ_HANDSHAKE_IVL, HANDSHAKE_MS},
        {ZMQ_IPV6, e->ipv6},
    };
    const setting tcp[] = {
        {ZMQ_HEARTBEAT_IVL, HEARTBEAT_MS},
        {ZMQ_HEARTBEAT_TTL, HEARTBEAT_TTL_MS},
        {ZMQ_HEARTBEAT_TIMEOUT, HEARTBEAT_TTL_MS},
    };
    const setting router[] = {{ZMQ_ROUTER_MANDATORY, 1}};
    const setting dealer[] = {
        {ZMQ_RECONNECT_IVL, RECONNECT_MS},
        {ZMQ_RECONNECT_IVL_MAX, RECONNECT_MAX_MS},
    };
    int64_t max = (int64_t)max_message;
    status st;

    TRY(set(s, every, sizeof(every) / sizeof(*every)));
    if (!e->path)
        TRY(set(s, tcp, sizeof(tcp) / sizeof(*tcp)));
    if (s->router)
        TRY(set(s, router, 1));
    else
        TRY(set(s, dealer, 2));
    if (zmq_setsockopt(s->zmq, ZMQ_MAXMSGSIZE, &max, sizeof(max)) != 0)
        TRY(zsocket_status("a socket option is refused"));
fail:
    return st;
}

const char *
zsocket_domain_name(zsocket_domain domain)
{
    return domain == ZSOCKET_WORLDS ? "worlds" : "clients";
}

static status
set_text(zsocket *s, int option, const char *text)
{
    if (zmq_setsockopt(s->zmq, option, text, strlen(text)) != 0)
        return zsocket_status("a key is refused");
    return ST_OK;
}

/* A key is given as text of 40 characters, with its NUL. */
static status
set_key(zsocket *s, int option, const char *key)
{
    if (zmq_setsockopt(s->zmq, option, key, KEYFILE_SIZE) != 0)
        return zsocket_status("a key is refused");
    return ST_OK;
}

static status
be_server(zsocket *s, const zsocket_guard *guard)
{
    const setting server[] = {{ZMQ_CURVE_SERVER, 1}};
    int yes = 1;
    status st;

    TRY(set(s, server, 1));
    TRY(set_key(s, ZMQ_CURVE_SECRETKEY, guard->key->secret_key));
    TRY(set_text(s, ZMQ_ZAP_DOMAIN, zsocket_domain_name(guard->domain)));
    (void)zmq_setsockopt(s->zmq, ENFORCE_DOMAIN, &yes, sizeof(yes));
    s->guarded = true;
fail:
    return st;
}

static status
be_client(zsocket *s, const keyfile *key)
{
    status st;

    TRY(set_key(s, ZMQ_CURVE_SERVERKEY, key->server_key));
    TRY(set_key(s, ZMQ_CURVE_PUBLICKEY, key->public_key));
    TRY(set_key(s, ZMQ_CURVE_SECRETKEY, key->secret_key));
fail:
    return st;
}

static status
socket_new(zsocket **out, zcontext *z, bool router)
{
    zsocket *s = NULL;
    status st;

    TRY(mem_new(&s, 1, sizeof(*s)));
    s->router = router;
    s->zmq = zmq_socket(z->zmq, router ? ZMQ_ROUTER : ZMQ_DEALER);
    if (!s->zmq)
        TRY(zsocket_status("no ZeroMQ socket"));
    *out = s;
    return ST_OK;
fail:
    mem_free(s);
    return st;
}

/* A DEALER listens for what becomes of its key and of its connection, a ROUTER
 * for who is there. */
static status
watch(zsocket *s, zcontext *z)
{
    const int failed = ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
                       ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL |
                       ZMQ_EVENT_HANDSHAKE_FAILED_AUTH;
    const int events =
        ZMQ_EVENT_DISCONNECTED | (s->router ? ZMQ_EVENT_ACCEPTED : failed);
    const int none = 0; /* to linger; and no limit: who tells would wait for
                           room, and all connections for it */
    char name[64];

    (void)snprintf(name, sizeof(name), "inproc://longwave-watch-%u",
                   z->n_watched++);
    if (zmq_socket_monitor(s->zmq, name, events) != 0)
        return zsocket_status("a socket cannot be watched");
    s->monitor = zmq_socket(z->zmq, ZMQ_PAIR);
    if (!s->monitor ||
        zmq_setsockopt(s->monitor, ZMQ_LINGER, &none, sizeof(none)) != 0 ||
        zmq_setsockopt(s->monitor, ZMQ_RCVHWM, &none, sizeof(none)) != 0 ||
        zmq_connect(s->monitor, name) != 0)
        return zsocket_status("a socket cannot be watched");
    return ST_OK;
}

static status
bind_to(zsocket *s, const endpoint *e)
{
    size_t len = sizeof(s->endpoint);

    if (zmq_bind(s->zmq, e->text) != 0) {
        if (zmq_errno() == EADDRINUSE)
            return status_fail(ST_STATE, "%s is in use", e->text);
        return zsocket_status(e->text);
    }
    if (zmq_getsockopt(s->zmq, ZMQ_LAST_ENDPOINT, s->endpoint, &len) != 0)
        return zsocket_status(e->text);
    if (e->path && chmod(e->path, S_IRUSR | S_IWUSR) != 0)
        return status_fail(ST_IO, "%s: %s", e->path, strerror(errno));
    return ST_OK;
}

static status
check_guard(const endpoint *e, const zsocket_guard *guard)
{
    if (e->path || (guard && guard->key))
        return ST_OK;
    if (!e->loopback)
        return status_fail(ST_DENIED,
                           "%s is open to the network: that needs a key and a "
                           "list of the keys that may come in",
                           e->text);
    if (!guard || !guard->allow_local_users)
        return status_fail(ST_DENIED,
                           "%s is open to everybody who is logged in here: "
                           "that needs a key and a list of the keys that may "
                           "come in, or --allow-local-users",
                           e->text);
    return ST_OK;
}

status
zsocket_router(zsocket **out, zcontext *z, const char *text,
               const zsocket_guard *guard, size_t max_message)
{
    zsocket *s = NULL;
    endpoint e;
    int lock = -1;
    status st;

    TRY(endpoint_parse(&e, text, ENDPOINT_BIND));
    TRY(check_guard(&e, guard));
    TRY(socket_new(&s, z, true));
    TRY(configure(s, &e, max_message));
    if (!e.path && guard->key)
        TRY(be_server(s, guard));
    TRY(watch(s, z));
    TRY(endpoint_claim(&lock, &e));
    TRY(bind_to(s, &e));
    endpoint_release(lock);
    *out = s;
    return ST_OK;
fail:
    endpoint_release(lock);
    zsocket_close(s);
    return st;
}

const char *
zsocket_endpoint(const zsocket *s)
{
    return s->endpoint;
}

/* What is said there must not reach whoever listens on the way. */
static status
check_key(const endpoint *e, const keyfile *key)
{
    if (e->path || (key && *key->server_key))
        return ST_OK;
    if (key)
        return status_fail(ST_ARG,
                           "the key has no server: whose key %s must prove to "
                           "hold is not known",
                           e->text);
    if (!e->loopback)
        return status_fail(ST_ARG, "%s is on the network: that needs a key",
                           e->text);
    return ST_OK;
}

status
zsocket_dealer(zsocket **out, zcontext *z, const char *text, const keyfile *key,
               size_t max_message)
{
    zsocket *s = NULL;
    endpoint e;
    status st;

    TRY(endpoint_parse(&e, text, ENDPOINT_CONNECT));
    TRY(check_key(&e, key));
    TRY(socket_new(&s, z, false));
    TRY(configure(s, &e, max_message));
    if (!e.path && key) {
        TRY(be_client(s, key));
        TRY(watch(s, z));
    }
    if (zmq_connect(s->zmq, e.text) != 0)
        TRY(zsocket_status(e.text));
    memcpy(s->endpoint, e.text, sizeof(s->endpoint));
    *out = s;
    return ST_OK;
fail:
    zsocket_close(s);
    return st;
}

status
zsocket_count_cuts(zsocket *s, zcontext *z)
{
    return s->monitor ? ST_OK : watch(s, z);
}

status
zsocket_probe(const char *text)
{
    endpoint e;
    status st;

    TRY(endpoint_parse(&e, text, ENDPOINT_CONNECT));
    TRY(endpoint_probe(&e));
fail:
    return st;
}

/* While this socket still listens nobody else takes the path over, so it is
 * ours to remove; ZeroMQ leaves it. */
static void
remove_path(const zsocket *s)
{
    if (s->router && strncmp(s->endpoint, "ipc://", 6) == 0)
        (void)unlink(s->endpoint + 6);
}

static void
close_lingering(zsocket *s, int linger_ms)
{
    if (!s)
        return;
    remove_path(s);
    zsocket_drop_parts(s);
    (void)zmq_setsockopt(s->zmq, ZMQ_LINGER, &linger_ms, sizeof(linger_ms));
    zsocket_close_watched(s->zmq, s->monitor);
    links_fini(&s->links);
    mem_free(s);
}

void
zsocket_close(zsocket *s)
{
    close_lingering(s, 0);
}

void
zsocket_flush_close(zsocket *s, int timeout_ms)
{
    close_lingering(s, timeout_ms);
}

int
zsocket_fd(zsocket *s)
{
    int fd = -1;
    size_t len = sizeof(fd);

    (void)zmq_getsockopt(s->zmq, ZMQ_FD, &fd, &len);
    return fd;
}

void *
zcontext_raw(zcontext *z)
{
    return z->zmq;
}

void *
zsocket_raw(zsocket *s)
{
    return s->zmq;
}
