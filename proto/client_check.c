/* SPDX-License-Identifier: Apache-2.0 */
/* What the fields of a client message may hold. */
#include "proto/client_wire.h"

#include <math.h>
#include <string.h>

#include "proto/prescan.h"
#include "proto/wiretext.h"

enum { MAX_WORD = 64, MAX_WORLD = 1024 };
static const float MAX_TEMPERATURE = 100;
static const float MIN_PENALTY = 0.01F, MAX_PENALTY = 100;

size_t
client_check_max_field(client_kind kind)
{
    bool list = kind == CLIENT_DOCUMENTS || kind == CLIENT_JOB_LIST;

    return list ? PRESCAN_MAX_LIST_FIELD : PRESCAN_MAX_FIELD;
}

static status
wrong(const char *field)
{
    return status_fail(ST_ARG, "field '%s' is out of range", field);
}

/* One line of at most `max` bytes; NULL is "". */
static status
line(const char *text, size_t max, const char *field)
{
    if (!text)
        return ST_OK;
    if (strnlen(text, max + 1) > max)
        return status_fail(ST_ARG, "field '%s' is longer than %zu bytes", field,
                           max);
    if (!wiretext_is_printable(text))
        return status_fail(ST_ARG, "field '%s' has a control character", field);
    return ST_OK;
}

static status
document(const char *name)
{
    if (!name || !*name)
        return status_fail(ST_ARG, "a document needs a name");
    if (strchr(name, '/'))
        return status_fail(ST_ARG, "a document's name cannot have a '/'");
    return line(name, CLIENT_MAX_NAME, "document");
}

static status
seconds(double value, const char *field)
{
    return isfinite(value) && value >= 0 ? ST_OK : wrong(field);
}

static status
input(client_input kind, uint64_t bytes)
{
    if ((int)kind < CLIENT_TEXT || kind > CLIENT_IDS)
        return wrong("kind");
    if (kind == CLIENT_IDS && bytes % sizeof(int32_t) != 0)
        return status_fail(ST_ARG,
                           "token ids take 4 bytes each, and %llu "
                           "bytes are announced",
                           (unsigned long long)bytes);
    return ST_OK;
}

static status
state(client_state s)
{
    return (int)s >= 0 && s <= CLIENT_CANCELED ? ST_OK : wrong("state");
}

/* 0 is an absent one.  A smaller or larger one leaves no logits to tell
 * apart. */
static bool
penalty(float p)
{
    return !(p < 0) && !(p > 0 && p < MIN_PENALTY) && p <= MAX_PENALTY;
}

static status
sampling(const client_sampling *s)
{
    if (s->max_tokens > CLIENT_MAX_GENERATE)
        return status_fail(ST_ARG, "an answer has at most %d tokens",
                           CLIENT_MAX_GENERATE);
    if (!(s->temperature >= 0 && s->temperature <= MAX_TEMPERATURE))
        return wrong("temperature");
    if (!(s->top_p >= 0 && s->top_p <= 1))
        return wrong("top_p");
    if (!(s->min_p >= 0 && s->min_p <= 1))
        return wrong("min_p");
    if (!penalty(s->penalty))
        return wrong("repetition_penalty");
    if (s->n_stop > CLIENT_MAX_STOP)
        return wrong("stop");
    for (uint32_t i = 0; i < s->n_stop; i++) {
        size_t len =
            s->stop[i] ? strnlen(s->stop[i], CLIENT_MAX_STOP_BYTES + 1) : 0;

        if (len == 0 || len > CLIENT_MAX_STOP_BYTES)
            return status_fail(ST_ARG, "a stop string has 1 to %d bytes",
                               CLIENT_MAX_STOP_BYTES);
    }
    return ST_OK;
}

static status
key(const client_key *k)
{
    return line(k->key, CLIENT_MAX_KEY, "key");
}

static status
add(const client_message *m)
{
    status st;

    TRY(document(m->u.add.name));
    TRY(line(m->u.add.model, CLIENT_MAX_NAME, "model"));
    TRY(input(m->u.add.input, m->u.add.bytes));
    TRY(key(&m->u.add.key));
fail:
    return st;
}

static status
ask(const client_message *m)
{
    status st;

    TRY(document(m->u.ask.document));
    TRY(input(m->u.ask.input, m->u.ask.bytes));
    TRY(sampling(&m->u.ask.sampling));
    TRY(key(&m->u.ask.key));
fail:
    return st;
}

static status
progress(const client_message *m)
{
    status st;

    TRY(state(m->u.progress.state));
    TRY(seconds(m->u.progress.tokens_per_second, "tokens_per_second"));
    if (!isfinite(m->u.progress.seconds_left))
        st = wrong("seconds_left");
fail:
    return st;
}

static status
logprob(float value, const char *field)
{
    return isfinite(value) && value <= 0 ? ST_OK : wrong(field);
}

static status
done(const client_message *m)
{
    status st;

    TRY(line(m->u.done.document, CLIENT_MAX_NAME, "document"));
    TRY(line(m->u.done.finish, MAX_WORD, "finish"));
    TRY(line(m->u.done.warning, CLIENT_MAX_WARNING, "warning"));
    TRY(seconds(m->u.done.seconds, "seconds"));
    TRY(seconds(m->u.done.seconds_to_first_token, "seconds_to_first_token"));
    TRY(seconds(m->u.done.tokens_per_second, "tokens_per_second"));
    if (m->u.done.n_id > CLIENT_MAX_GENERATE)
        TRY(wrong("generated_ids"));
    if (m->u.done.n_logprob != 0 && m->u.done.n_logprob != m->u.done.n_id)
        TRY(wrong("logprobs"));
    for (size_t i = 0; i < m->u.done.n_logprob; i++)
        TRY(logprob(m->u.done.logprobs[i], "logprobs"));
fail:
    return st;
}

static status
norms(const client_document *d)
{
    status st;

    TRY(line(d->warning, CLIENT_MAX_WARNING, "warning"));
    if (d->n_norm > CLIENT_MAX_LAYER)
        st = wrong("state_norm");
    for (size_t i = 0; st == ST_OK && i < d->n_norm; i++)
        if (!(d->state_norm[i] >= 0) || !isfinite(d->state_norm[i]))
            st = wrong("state_norm");
fail:
    return st;
}

static status
documents(const client_message *m)
{
    status st = ST_OK;

    for (size_t i = 0; i < m->u.documents.n; i++) {
        TRY(document(m->u.documents.item[i].name));
        TRY(line(m->u.documents.item[i].model, CLIENT_MAX_NAME, "model"));
        TRY(line(m->u.documents.item[i].owner, MAX_WORD, "owner"));
        TRY(norms(&m->u.documents.item[i]));
    }
fail:
    return st;
}

static status
jobs(const client_message *m)
{
    status st = ST_OK;

    for (size_t i = 0; i < m->u.jobs.n; i++) {
        const client_job *j = &m->u.jobs.item[i];

        TRY(line(j->kind, MAX_WORD, "kind"));
        TRY(line(j->document, CLIENT_MAX_NAME, "document"));
        TRY(line(j->owner, MAX_WORD, "owner"));
        TRY(line(j->code, MAX_WORD, "code"));
        TRY(state(j->state));
    }
fail:
    return st;
}

static status
world(const client_world *w)
{
    status st;

    TRY(line(w->model, CLIENT_MAX_NAME, "model"));
    TRY(line(w->placement, MAX_WORD, "placement"));
    TRY(line(w->device, MAX_WORD, "device"));
    TRY(seconds(w->tokens_per_second, "tokens_per_second"));
    TRY(seconds(w->measured.flops, "flops_per_second"));
    TRY(seconds(w->measured.link_bytes_per_s, "link_bytes_per_second"));
    TRY(seconds(w->measured.link_s, "link_seconds"));
    TRY(seconds(w->measured.layers_s, "layers_seconds"));
    TRY(seconds(w->measured.segments_s, "segments_seconds"));
    TRY(seconds(w->measured.layers_alike_s, "layers_seconds_if_alike"));
    TRY(seconds(w->measured.segments_alike_s, "segments_seconds_if_alike"));
    TRY(seconds(w->hop_s, "hop_seconds"));
    TRY(seconds(w->hop_hidden_s, "hop_hidden_seconds"));
fail:
    return st;
}

static status
daemon_status(const client_message *m)
{
    status st;

    TRY(line(m->u.status.version, MAX_WORD, "version"));
    TRY(seconds(m->u.status.uptime_seconds, "uptime_seconds"));
    TRY(seconds(m->u.status.longest_turn_ms, "longest_turn_ms"));
    if (m->u.status.n_world > MAX_WORLD)
        return wrong("world");
    for (size_t i = 0; i < m->u.status.n_world; i++)
        TRY(world(&m->u.status.world[i]));
fail:
    return st;
}

status
client_check(const client_message *m)
{
    switch (m->kind) {
    case CLIENT_ADD:
        return add(m);
    case CLIENT_ASK:
        return ask(m);
    case CLIENT_SHOW:
    case CLIENT_REMOVE:
        return document(m->u.name.document);
    case CLIENT_REFUSED:
        return line(m->u.refused.code, MAX_WORD, "code");
    case CLIENT_PROGRESS:
        return progress(m);
    case CLIENT_TOKEN:
        return logprob(m->u.token.logprob, "logprob");
    case CLIENT_DONE:
        return done(m);
    case CLIENT_DOCUMENTS:
        return documents(m);
    case CLIENT_JOB_LIST:
        return jobs(m);
    case CLIENT_STATUS:
        return daemon_status(m);
    case CLIENT_CHUNK:
    case CLIENT_LIST:
    case CLIENT_JOBS:
    case CLIENT_CANCEL:
    case CLIENT_GET_STATUS:
    case CLIENT_SHUTDOWN:
    case CLIENT_WATCH:
    case CLIENT_ACCEPTED:
    case CLIENT_MORE_INPUT:
        return ST_OK;
    }
    return status_fail(ST_ARG, "there is no message of kind %d", (int)m->kind);
}
