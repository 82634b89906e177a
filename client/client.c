/* SPDX-License-Identifier: Apache-2.0 */
/* The calls: a request and its answer, or a job and its events. */
#include "client/client.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "client/connection.h"

enum {
    CHUNK = 1 << 20,   /* bytes sent at once */
    TIMES = 3,         /* that a call is made, if daemons end of it */
    WAIT_MS = 1000,    /* any time will do: connection_receive() slices it */
    FULL_MS = 5,       /* the queue is full: look again after this */
    GOODBYE_MS = 2000, /* for the answer to a cancellation */
    GOODBYE_STEP_MS = 50
};

struct client {
    connection conn;
    uint8_t *chunk; /* CHUNK bytes */
};

/* A job as seen from here. */
typedef struct job {
    uint64_t request, id;    /* id 0: not accepted yet */
    client_message *message; /* that asks for it */
    const upload *input;     /* NULL: nothing to send */
    uint64_t sent, credit;
    const client_events *events;
    client_message *done;
    bool ended, watched; /* watched: somebody else's */
    bool over;           /* refused: it is over on the other side too */
    uint32_t n_token;    /* told so far */
} job;

status
client_default_endpoint(char **out)
{
    char *directory = NULL, *path = NULL, *endpoint = NULL;
    status st;

    TRY(file_runtime_dir(&directory));
    TRY(file_join(&path, directory, "client.sock"));
    TRY(mem_new(&endpoint, strlen(path) + 7, 1));
    memcpy(endpoint, "ipc://", 6);
    memcpy(endpoint + 6, path, strlen(path));
    *out = endpoint;
fail:
    mem_free(path);
    mem_free(directory);
    return st;
}

status
client_open(client **out, const client_config *config)
{
    client *c = NULL;
    status st;

    TRY(mem_new(&c, 1, sizeof(*c)));
    TRY(mem_new(&c->chunk, CHUNK, 1));
    TRY(connection_open(&c->conn, config));
    *out = c;
    return ST_OK;
fail:
    client_close(c);
    return st;
}

void
client_close(client *c)
{
    if (!c)
        return;
    connection_close(&c->conn);
    mem_free(c->chunk);
    mem_free(c);
}

const char *
client_endpoint(const client *c)
{
    return c->conn.endpoint;
}

/* Sends as much as there is credit for and the queue takes.  *idle: there is
 * nothing to send until a message comes. */
static status
push(client *c, job *j, bool *idle)
{
    client_message m = {.kind = CLIENT_CHUNK, .request = j->request};
    uint64_t end = j->input ? j->input->bytes : 0;
    size_t n;
    status st;

    if (j->credit < end)
        end = j->credit;
    *idle = j->sent >= end || j->id != 0;
    if (*idle)
        return ST_OK;
    n = end - j->sent < CHUNK ? (size_t)(end - j->sent) : CHUNK;
    if (j->input->kind == CLIENT_IDS)
        n -= n % sizeof(int32_t);
    *idle = n == 0;
    if (*idle)
        return ST_OK;
    m.u.chunk.offset = j->sent;
    TRY(upload_read(j->input, c->chunk, n, j->sent));
    TRY(connection_try(&c->conn, &m, c->chunk, n));
    j->sent += n;
    if (j->events->sent)
        j->events->sent(j->events->ctx, j->sent, j->input->bytes);
fail:
    return st;
}

static void
grant(job *j, uint64_t credit)
{
    if (credit > j->credit)
        j->credit = credit;
}

/* Takes the message over when it is the end of the job. */
static status
event(job *j, client_message *m)
{
    const client_events *e = j->events;

    switch ((int)m->kind) {
    case CLIENT_ACCEPTED:
        j->id = m->u.accepted.job;
        grant(j, m->u.accepted.input_credit);
        if (e->accepted)
            e->accepted(e->ctx, j->id);
        return ST_OK;
    case CLIENT_MORE_INPUT:
        grant(j, m->u.accepted.input_credit);
        return ST_OK;
    case CLIENT_PROGRESS:
        if (e->progress)
            e->progress(e->ctx, m);
        return ST_OK;
    case CLIENT_TOKEN:
        if (m->u.token.index < j->n_token)
            return ST_OK; /* once more, after a restart of the daemon */
        j->n_token = m->u.token.index + 1;
        if (e->token)
            e->token(e->ctx, m);
        return ST_OK;
    case CLIENT_DONE:
        j->ended = true;
        *j->done = *m;
        *m = (client_message){.request = 0};
        return ST_OK;
    case CLIENT_REFUSED:
        return connection_refusal(m);
    default:
        return status_fail(ST_WIRE, "the daemon answered with message %d",
                           (int)m->kind);
    }
}

/* Asks the daemon to stop the job and waits a moment for it to say so.  A job
 * that is not accepted yet is named by its request. */
static void
cancel(client *c, job *j)
{
    client_message m = {.kind = CLIENT_CANCEL, .u.job.job = j->id}, got;
    bool sent = false, over = false;

    if (j->id == 0)
        m.u.job.submission = j->request;

    c->conn.deaf = true;
    (void)connection_begin(&c->conn);
    for (int i = 0; i < GOODBYE_MS / GOODBYE_STEP_MS && !over; i++) {
        if (!sent) {
            m.request = ++c->conn.last_request;
            sent = connection_try(&c->conn, &m, NULL, 0) == ST_OK;
        }
        if (connection_receive(&c->conn, &got, GOODBYE_STEP_MS) != ST_OK) {
            sent = sent && !c->conn.lost;
            if (c->conn.lost)
                (void)connection_begin(&c->conn);
            continue;
        }
        if (got.request == j->request && got.kind == CLIENT_ACCEPTED)
            j->id = got.u.accepted.job;
        over = got.kind == CLIENT_REFUSED || got.kind == CLIENT_DONE;
        client_message_fini(&got);
    }
    c->conn.deaf = false;
}

/* Asks for the job; a short input goes along. */
static status
submit(client *c, job *j)
{
    bool whole = j->input && j->input->bytes <= CLIENT_MAX_INLINE;
    size_t n = whole ? (size_t)j->input->bytes : 0;
    status st;

    j->sent = j->credit = 0;
    j->request = j->message->request = connection_begin(&c->conn);
    if (whole)
        TRY(upload_read(j->input, c->chunk, n, 0));
    TRY(connection_send(&c->conn, j->message, n > 0 ? c->chunk : NULL, n));
    if (n > 0 && j->events->sent)
        j->events->sent(j->events->ctx, n, n);
    j->sent = n;
fail:
    return st;
}

/* Nothing comes of the request any more: a job that was acknowledged is there,
 * any other is asked for again, by the same key. */
static status
resume(client *c, job *j)
{
    client_message watch = {.kind = CLIENT_WATCH, .u.job.job = j->id};

    if (j->id == 0)
        return submit(c, j);
    j->request = watch.request = connection_begin(&c->conn);
    return connection_send(&c->conn, &watch, NULL, 0);
}

/* One step: sends what can be sent, takes what has come. */
static status
step(client *c, job *j)
{
    client_message m = {.request = 0};
    bool idle = false;
    status st = push(c, j, &idle);

    if (st != ST_OK && st != ST_TIMEOUT)
        return st;
    st = connection_receive(&c->conn, &m,
                            st == ST_TIMEOUT ? FULL_MS
                            : idle           ? WAIT_MS
                                             : 0);
    if (st == ST_TIMEOUT)
        return ST_OK;
    if (st == ST_STATE && c->conn.lost)
        return resume(c, j);
    if (st != ST_OK)
        return st;
    if (m.request == j->request) {
        if (m.kind == CLIENT_ACCEPTED)
            c->conn.epoch = m.u.accepted.epoch;
        st = event(j, &m);
        j->over = st != ST_OK;
    }
    client_message_fini(&m);
    return st;
}

static status
run(client *c, job *j, client_message *request)
{
    char text[512];
    status st;

    j->message = request;
    st = submit(c, j);
    while (st == ST_OK && !j->ended)
        st = step(c, j);
    /* ST_STATE: there is nobody to tell. */
    if (st == ST_OK || j->over || st == ST_STATE || j->watched)
        return st;
    /* Nobody will read the answer. */
    snprintf(text, sizeof(text), "%s", status_text());
    cancel(c, j);
    if (j->id == 0)
        return status_fail(st, "%s", text);
    return status_fail(st, "%s: job %llu is canceled", text,
                       (unsigned long long)j->id);
}

/* A key of its own for every call, so that asking again is no second job. */
static status
make_key(client *c, client_key *key, const upload *input)
{
    uint8_t random[16];
    char hex[2 * sizeof(random) + 1];
    hash sum;
    status st;

    hash_random(random, sizeof(random));
    for (size_t i = 0; i < sizeof(random); i++)
        snprintf(hex + 2 * i, 3, "%02x", random[i]);
    TRY(mem_strdup(&key->key, hex));
    hash_init(&sum);
    for (uint64_t at = 0; at < input->bytes;) {
        uint64_t left = input->bytes - at;
        size_t n = left < CHUNK ? (size_t)left : CHUNK;

        if (connection_interrupted(&c->conn))
            TRY(status_fail(ST_CANCELED, "interrupted"));
        TRY(upload_read(input, c->chunk, n, at));
        hash_add(&sum, c->chunk, n);
        at += n;
    }
    hash_end(&sum, key->hash);
    key->has_hash = true;
fail:
    return st;
}

static const client_events NO_EVENTS = {.ctx = NULL};

status
client_add(client *c, client_message *done, const char *name,
           const upload *input, const client_events *events)
{
    job j = {.input = input, .events = events ? events : &NO_EVENTS};
    client_message m = {.kind = CLIENT_ADD};
    status st;

    j.done = done;
    TRY(mem_strdup(&m.u.add.name, name));
    m.u.add.input = input->kind;
    m.u.add.bytes = input->bytes;
    TRY(make_key(c, &m.u.add.key, input));
    TRY(run(c, &j, &m));
fail:
    client_message_fini(&m);
    return st;
}

status
client_ask(client *c, client_message *done, const char *document,
           const upload *question, const client_sampling *sampling,
           const client_events *events)
{
    job j = {.input = question, .events = events ? events : &NO_EVENTS};
    client_message m = {.kind = CLIENT_ASK};
    status st;

    j.done = done;
    TRY(mem_strdup(&m.u.ask.document, document));
    m.u.ask.input = question->kind;
    m.u.ask.bytes = question->bytes;
    m.u.ask.sampling = *sampling;
    TRY(make_key(c, &m.u.ask.key, question));
    TRY(run(c, &j, &m));
fail:
    m.u.ask.sampling.n_stop = 0; /* the caller's strings */
    client_message_fini(&m);
    return st;
}

status
client_watch(client *c, client_message *done, uint64_t id,
             const client_events *events)
{
    job j = {.id = id, .watched = true, .events = events ? events : &NO_EVENTS};
    client_message m = {.kind = CLIENT_WATCH, .u.job.job = id};

    j.done = done;
    return run(c, &j, &m);
}

/* A request with one answer, of kind `expected`. */
static status
call_once(client *c, client_message *out, client_message *m,
          client_kind expected)
{
    client_message got;
    status st;

    m->request = connection_begin(&c->conn);
    TRY(connection_send(&c->conn, m, NULL, 0));
    for (;;) {
        st = connection_receive(&c->conn, &got, WAIT_MS);
        if (st == ST_TIMEOUT)
            continue;
        if (st != ST_OK)
            return st;
        if (got.request == m->request)
            break;
        client_message_fini(&got); /* of a job that was left */
    }
    if (got.kind == expected) {
        *out = got;
        return ST_OK;
    }
    st = got.kind == CLIENT_REFUSED
             ? connection_refusal(&got)
             : status_fail(ST_WIRE, "the daemon answered with message %d",
                           (int)got.kind);
    client_message_fini(&got);
fail:
    return st;
}

/* The same for one that does no harm when it is carried out twice: it is made
 * again if it is lost. */
static status
call(client *c, client_message *out, client_message *m, client_kind expected)
{
    status st = call_once(c, out, m, expected);

    for (int i = 1; i < TIMES && st == ST_STATE && c->conn.lost; i++)
        st = call_once(c, out, m, expected);
    return st;
}

/* A request that is answered by DONE alone, made once: what has the name of a
 * document that was removed is another one, and a daemon that comes after one
 * that was shut down was started on purpose. */
static status
order(client *c, client_message *m)
{
    client_message done = {.request = 0};
    status st = call_once(c, &done, m, CLIENT_DONE);

    if (st == ST_OK)
        client_message_fini(&done);
    return st;
}

status
client_list(client *c, client_message *documents)
{
    client_message m = {.kind = CLIENT_LIST};

    return call(c, documents, &m, CLIENT_DOCUMENTS);
}

status
client_show(client *c, client_message *documents, const char *name)
{
    client_message m = {.kind = CLIENT_SHOW}, got = {.request = 0};
    status st;

    TRY(mem_strdup(&m.u.name.document, name));
    TRY(call(c, &got, &m, CLIENT_DOCUMENTS));
    if (got.u.documents.n != 1)
        TRY(status_fail(ST_WIRE, "the daemon answered with %zu documents",
                        got.u.documents.n));
    *documents = got;
    client_message_fini(&m);
    return ST_OK;
fail:
    client_message_fini(&got);
    client_message_fini(&m);
    return st;
}

status
client_remove(client *c, const char *name)
{
    client_message m = {.kind = CLIENT_REMOVE};
    status st;

    TRY(mem_strdup(&m.u.name.document, name));
    TRY(order(c, &m));
fail:
    client_message_fini(&m);
    return st;
}

status
client_jobs(client *c, client_message *jobs)
{
    client_message m = {.kind = CLIENT_JOBS};

    return call(c, jobs, &m, CLIENT_JOB_LIST);
}

status
client_cancel(client *c, uint64_t id)
{
    client_message m = {.kind = CLIENT_CANCEL, .u.job.job = id}, done;
    status st = call(c, &done, &m, CLIENT_DONE); /* a job ends once */

    if (st == ST_OK)
        client_message_fini(&done);
    return st;
}

status
client_status(client *c, client_message *daemon_status)
{
    client_message m = {.kind = CLIENT_GET_STATUS};

    return call(c, daemon_status, &m, CLIENT_STATUS);
}

status
client_max_input(client *c, uint64_t *bytes)
{
    client_message m = {.request = 0};
    status st = client_status(c, &m);

    if (st != ST_OK)
        return st;
    *bytes = m.u.status.max_input > 0 ? m.u.status.max_input : UINT64_MAX;
    client_message_fini(&m);
    return ST_OK;
}

status
client_shutdown(client *c)
{
    client_message m = {.kind = CLIENT_SHUTDOWN};

    return order(c, &m);
}
