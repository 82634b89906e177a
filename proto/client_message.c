/* SPDX-License-Identifier: Apache-2.0 */
/* The border of the client protocol: versions, order of the checks, release. */
#include "proto/client_message.h"

#include "base/mem.h"
#include "proto/client_wire.h"
#include "proto/prescan.h"

enum { FIELD_MAJOR = 1, FIELD_MINOR, FIELD_REQUEST };

const char *
client_state_name(client_state s)
{
    switch (s) {
    case CLIENT_RECEIVING:
        return "receiving";
    case CLIENT_QUEUED:
        return "queued";
    case CLIENT_RUNNING:
        return "running";
    case CLIENT_STATE_DONE:
        return "done";
    case CLIENT_FAILED:
        return "failed";
    case CLIENT_CANCELED:
        return "canceled";
    }
    return "unknown";
}

status
client_message_encode(uint8_t **out, size_t *len, const client_message *m)
{
    status st = client_check(m);

    return st == ST_OK ? client_encode(out, len, m) : st;
}

size_t
client_message_nomem(uint8_t out[CLIENT_NOMEM_BYTES], uint64_t request)
{
    return client_encode_nomem(out, request);
}

static bool
is_request(client_kind kind)
{
    return kind >= CLIENT_ADD && kind <= CLIENT_WATCH;
}

static bool
known(uint32_t body)
{
    return is_request((client_kind)body) ||
           (body >= CLIENT_ACCEPTED && body <= CLIENT_MORE_INPUT);
}

/* What can be refused before anything else of the message is looked at. */
static status
envelope(client_message *m, const prescan_envelope *e)
{
    uint64_t major = e->value[FIELD_MAJOR - 1];

    if (major != CLIENT_MAJOR)
        return status_fail(ST_UNSUPPORTED,
                           "the peer speaks version %llu of the client "
                           "protocol, this program version %d",
                           (unsigned long long)major, CLIENT_MAJOR);
    if (!known(e->body))
        return status_fail(ST_UNSUPPORTED,
                           "message type %u is not known to version %d.%d of "
                           "the client protocol",
                           e->body, CLIENT_MAJOR, CLIENT_MINOR);
    m->major = (uint32_t)major;
    m->minor = (uint32_t)e->value[FIELD_MINOR - 1];
    m->request = e->value[FIELD_REQUEST - 1];
    m->kind = (client_kind)e->body;
    return ST_OK;
}

static status
decode(client_message *out, uint64_t *request, const uint8_t *data, size_t len,
       bool requests_only)
{
    client_message m = {.request = 0};
    prescan_envelope e;
    status st;

    *request = 0;
    if (len > CLIENT_MAX_MESSAGE)
        return status_fail(ST_LIMIT,
                           "a message of %zu bytes is over the limit of %d",
                           len, CLIENT_MAX_MESSAGE);
    TRY(prescan_read_envelope(&e, data, len));
    *request = e.value[FIELD_REQUEST - 1];
    TRY(envelope(&m, &e));
    if (requests_only && !is_request(m.kind))
        TRY(status_fail(ST_UNSUPPORTED,
                        "message type %d is not a client's to send",
                        (int)m.kind));
    TRY(client_decode(&m, data, len));
    TRY(client_check(&m));
    *out = m;
    return ST_OK;
fail:
    if (st == ST_WIRE)
        *request = 0;
    client_message_fini(&m);
    return st;
}

status
client_message_decode(client_message *out, uint64_t *request,
                      const uint8_t *data, size_t len)
{
    return decode(out, request, data, len, false);
}

status
client_message_decode_request(client_message *out, uint64_t *request,
                              const uint8_t *data, size_t len)
{
    return decode(out, request, data, len, true);
}

static void
fini_documents(client_message *m)
{
    for (size_t i = 0; i < m->u.documents.n; i++) {
        mem_free(m->u.documents.item[i].name);
        mem_free(m->u.documents.item[i].owner);
        mem_free(m->u.documents.item[i].model);
        mem_free(m->u.documents.item[i].warning);
        mem_free(m->u.documents.item[i].state_norm);
    }
    mem_free(m->u.documents.item);
}

static void
fini_jobs(client_message *m)
{
    for (size_t i = 0; i < m->u.jobs.n; i++) {
        client_job *j = &m->u.jobs.item[i];

        mem_free(j->kind);
        mem_free(j->document);
        mem_free(j->owner);
        mem_free(j->code);
        mem_free(j->text);
    }
    mem_free(m->u.jobs.item);
}

static void
fini_status(client_message *m)
{
    for (size_t i = 0; i < m->u.status.n_world; i++) {
        client_world *w = &m->u.status.world[i];

        mem_free(w->model);
        mem_free(w->placement);
        mem_free(w->device);
        mem_free(w->state);
    }
    mem_free(m->u.status.world);
    mem_free(m->u.status.version);
    mem_free(m->u.status.last_error);
}

static void
fini_ask(client_message *m)
{
    for (uint32_t i = 0; i < m->u.ask.sampling.n_stop; i++)
        mem_free(m->u.ask.sampling.stop[i]);
    mem_free(m->u.ask.document);
    mem_free(m->u.ask.key.key);
}

void
client_message_fini(client_message *m)
{
    if (!m)
        return;
    switch ((int)m->kind) {
    case CLIENT_ADD:
        mem_free(m->u.add.name);
        mem_free(m->u.add.model);
        mem_free(m->u.add.key.key);
        break;
    case CLIENT_ASK:
        fini_ask(m);
        break;
    case CLIENT_SHOW:
    case CLIENT_REMOVE:
        mem_free(m->u.name.document);
        break;
    case CLIENT_REFUSED:
        mem_free(m->u.refused.code);
        mem_free(m->u.refused.text);
        break;
    case CLIENT_TOKEN:
        mem_free(m->u.token.text);
        break;
    case CLIENT_DONE:
        mem_free(m->u.done.document);
        mem_free(m->u.done.finish);
        mem_free(m->u.done.warning);
        mem_free(m->u.done.text);
        mem_free(m->u.done.ids);
        mem_free(m->u.done.logprobs);
        break;
    case CLIENT_DOCUMENTS:
        fini_documents(m);
        break;
    case CLIENT_JOB_LIST:
        fini_jobs(m);
        break;
    case CLIENT_STATUS:
        fini_status(m);
        break;
    default: /* nothing owned */
        break;
    }
    *m = (client_message){.request = 0};
}
