/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes of the client protocol to values. */
#include "proto/client_wire.h"

#include <string.h>

#include "client.pb-c.h"

#include "base/mem.h"
#include "proto/prescan.h"
#include "proto/wiretext.h"

/* `bytes`, with a NUL behind them for those who print. */
static status
bytes(char **out, size_t *len, const ProtobufCBinaryData *in)
{
    status st = mem_new(out, in->len + 1, 1);

    if (st != ST_OK)
        return st;
    if (in->len > 0)
        memcpy(*out, in->data, in->len);
    *len = in->len;
    return ST_OK;
}

static status
key(client_key *to, const char *text, const ProtobufCBinaryData *hash)
{
    if (hash->len > 0 && hash->len != sizeof(to->hash))
        return status_fail(ST_ARG, "field 'input_hash' has %zu bytes, not %zu",
                           hash->len, sizeof(to->hash));
    to->has_hash = hash->len > 0;
    if (to->has_hash)
        memcpy(to->hash, hash->data, sizeof(to->hash));
    return mem_strdup(&to->key, text);
}

static status
add(client_message *m, const Longwave__Client__Add *p)
{
    status st;

    TRY(mem_strdup(&m->u.add.name, p->name));
    TRY(mem_strdup(&m->u.add.model, p->model));
    m->u.add.input = (client_input)p->kind;
    m->u.add.bytes = p->bytes;
    return key(&m->u.add.key, p->key, &p->input_hash);
fail:
    return st;
}

static status
sampling(client_sampling *to, const Longwave__Client__Sampling *from)
{
    status st;

    if (from->n_stop > CLIENT_MAX_STOP)
        return status_fail(ST_ARG, "more than %d stop strings",
                           CLIENT_MAX_STOP);
    to->max_tokens = from->max_tokens;
    to->temperature = from->temperature;
    to->top_k = from->top_k;
    to->top_p = from->top_p;
    to->min_p = from->min_p;
    to->seed = from->seed;
    to->penalty = from->repetition_penalty;
    to->ignore_eos = from->ignore_eos;
    to->logprobs = from->logprobs;
    for (size_t i = 0; i < from->n_stop; i++) {
        TRY(mem_strdup(&to->stop[i], from->stop[i]));
        to->n_stop++;
    }
    return ST_OK;
fail:
    return st;
}

static status
ask(client_message *m, const Longwave__Client__Ask *p)
{
    client_sampling *s = &m->u.ask.sampling;
    status st;

    TRY(mem_strdup(&m->u.ask.document, p->document));
    m->u.ask.input = (client_input)p->kind;
    m->u.ask.bytes = p->bytes;
    if (p->sampling)
        TRY(sampling(s, p->sampling));
    if (s->top_p <= 0 && s->top_p >= 0)
        s->top_p = 1; /* proto3 does not tell 0 from absent */
    if (s->penalty <= 0 && s->penalty >= 0)
        s->penalty = 1;
    return key(&m->u.ask.key, p->key, &p->input_hash);
fail:
    return st;
}

static status
refused(client_message *m, const Longwave__Client__Refused *p)
{
    status st;

    TRY(mem_strdup(&m->u.refused.code, p->code));
    TRY(wiretext_sentence(&m->u.refused.text, p->text));
    m->u.refused.retry_after_s = p->retry_after_s;
    m->u.refused.job = p->job;
    return ST_OK;
fail:
    return st;
}

static status
progress(client_message *m, const Longwave__Client__Progress *p)
{
    m->u.progress.job = p->job;
    m->u.progress.state = (client_state)p->state;
    m->u.progress.tokens_in = p->tokens_in;
    m->u.progress.segments_done = p->segments_done;
    m->u.progress.segments_total = p->segments_total;
    m->u.progress.tokens_per_second = p->tokens_per_second;
    m->u.progress.seconds_left = p->seconds_left;
    return ST_OK;
}

static status
token(client_message *m, const Longwave__Client__Token *p)
{
    m->u.token.job = p->job;
    m->u.token.index = p->index;
    m->u.token.id = p->id;
    m->u.token.logprob = p->logprob;
    return bytes(&m->u.token.text, &m->u.token.text_len, &p->text);
}

static status
answer(client_message *m, const Longwave__Client__Done *p)
{
    status st;

    TRY(mem_new(&m->u.done.ids, p->n_generated_ids, sizeof(int32_t)));
    TRY(mem_new(&m->u.done.logprobs, p->n_logprobs, sizeof(float)));
    m->u.done.n_id = p->n_generated_ids;
    m->u.done.n_logprob = p->n_logprobs;
    if (m->u.done.n_id > 0)
        memcpy(m->u.done.ids, p->generated_ids,
               m->u.done.n_id * sizeof(int32_t));
    if (m->u.done.n_logprob > 0)
        memcpy(m->u.done.logprobs, p->logprobs,
               m->u.done.n_logprob * sizeof(float));
fail:
    return st;
}

static status
done(client_message *m, const Longwave__Client__Done *p)
{
    status st;

    m->u.done.job = p->job;
    m->u.done.tokens = p->tokens;
    m->u.done.segments = p->segments;
    m->u.done.seconds = p->seconds;
    m->u.done.seconds_to_first_token = p->seconds_to_first_token;
    m->u.done.snapshot_bytes = p->snapshot_bytes;
    m->u.done.skipped_tokens = p->skipped_tokens;
    m->u.done.tokens_per_second = p->tokens_per_second;
    TRY(mem_strdup(&m->u.done.document, p->document));
    TRY(mem_strdup(&m->u.done.finish, p->finish));
    TRY(mem_strdup(&m->u.done.warning, p->warning));
    TRY(bytes(&m->u.done.text, &m->u.done.text_len, &p->text));
    return answer(m, p);
fail:
    return st;
}

static status
documents(client_message *m, const Longwave__Client__DocumentList *p)
{
    status st;

    TRY(mem_new(&m->u.documents.item, p->n_document,
                sizeof(*m->u.documents.item)));
    m->u.documents.n = p->n_document;
    for (size_t i = 0; i < p->n_document; i++) {
        const Longwave__Client__Document *from = p->document[i];
        client_document *to = &m->u.documents.item[i];

        TRY(mem_strdup(&to->name, from->name));
        TRY(mem_strdup(&to->model, from->model));
        TRY(mem_strdup(&to->owner, from->owner));
        TRY(mem_strdup(&to->warning, from->warning));
        TRY(mem_new(&to->state_norm, from->n_state_norm, sizeof(float)));
        to->n_norm = from->n_state_norm;
        if (to->n_norm > 0)
            memcpy(to->state_norm, from->state_norm,
                   to->n_norm * sizeof(float));
        to->tokens = from->tokens;
        to->segments = from->segments;
        to->snapshot_bytes = from->snapshot_bytes;
        to->created_ms = from->created_ms;
        to->pending_tokens = from->pending_tokens;
    }
    return ST_OK;
fail:
    return st;
}

static status
job(client_job *to, const Longwave__Client__Job *from)
{
    status st;

    TRY(mem_strdup(&to->kind, from->kind));
    TRY(mem_strdup(&to->document, from->document));
    TRY(mem_strdup(&to->owner, from->owner));
    TRY(mem_strdup(&to->code, from->code));
    TRY(wiretext_sentence(&to->text, from->text));
    to->job = from->job;
    to->state = (client_state)from->state;
    to->created_ms = from->created_ms;
    to->tokens = from->tokens;
    to->segments_done = from->segments_done;
    to->segments_total = from->segments_total;
    to->attempts = from->attempts;
    to->checkpoint_segments = from->checkpoint_segments;
    to->redone_segments = from->redone_segments;
    return ST_OK;
fail:
    return st;
}

static status
job_list(client_message *m, const Longwave__Client__JobList *p)
{
    status st;

    TRY(mem_new(&m->u.jobs.item, p->n_job, sizeof(*m->u.jobs.item)));
    m->u.jobs.n = p->n_job;
    for (size_t i = 0; i < p->n_job; i++)
        TRY(job(&m->u.jobs.item[i], p->job[i]));
    return ST_OK;
fail:
    return st;
}

static status
world(client_world *to, const Longwave__Client__World *from)
{
    status st;

    TRY(mem_strdup(&to->model, from->model));
    TRY(mem_strdup(&to->placement, from->placement));
    TRY(mem_strdup(&to->device, from->device));
    TRY(wiretext_sentence(&to->state, from->state));
    to->incarnation = from->incarnation;
    to->ranks = from->ranks;
    to->threads = from->threads;
    to->streams = from->streams;
    to->streams_busy = from->streams_busy;
    to->tokens_per_second = from->tokens_per_second;
    to->hop_s = from->hop_seconds;
    to->hop_hidden_s = from->hop_hidden_seconds;
    to->measured =
        (world_measured){.flops = from->flops_per_second,
                         .link_bytes_per_s = from->link_bytes_per_second,
                         .link_s = from->link_seconds,
                         .layers_s = from->layers_seconds,
                         .segments_s = from->segments_seconds,
                         .plan_segments = from->plan_segments,
                         .layers_alike_s = from->layers_seconds_if_alike,
                         .segments_alike_s = from->segments_seconds_if_alike};
    return ST_OK;
fail:
    return st;
}

static status
daemon_status(client_message *m, const Longwave__Client__Status *p)
{
    status st;

    m->u.status.uptime_seconds = p->uptime_seconds;
    m->u.status.jobs_queued = p->jobs_queued;
    m->u.status.jobs_running = p->jobs_running;
    m->u.status.documents = p->documents;
    m->u.status.longest_turn_ms = p->longest_turn_ms;
    m->u.status.epoch = p->epoch;
    m->u.status.max_input = p->max_input;
    TRY(mem_strdup(&m->u.status.version, p->version));
    TRY(wiretext_sentence(&m->u.status.last_error, p->last_error));
    TRY(mem_new(&m->u.status.world, p->n_world, sizeof(*m->u.status.world)));
    m->u.status.n_world = p->n_world;
    for (size_t i = 0; i < p->n_world; i++)
        TRY(world(&m->u.status.world[i], p->world[i]));
    return ST_OK;
fail:
    return st;
}

static status
body(client_message *m, const Longwave__Client__ClientMessage *p)
{
    switch (m->kind) {
    case CLIENT_ADD:
        return add(m, p->add);
    case CLIENT_ASK:
        return ask(m, p->ask);
    case CLIENT_CHUNK:
        m->u.chunk.offset = p->chunk->offset;
        return ST_OK;
    case CLIENT_SHOW:
        return mem_strdup(&m->u.name.document, p->show->document);
    case CLIENT_REMOVE:
        return mem_strdup(&m->u.name.document, p->remove->document);
    case CLIENT_CANCEL:
        m->u.job.job = p->cancel->job;
        m->u.job.submission = p->cancel->submission;
        return ST_OK;
    case CLIENT_WATCH:
        m->u.job.job = p->watch->job;
        return ST_OK;
    case CLIENT_ACCEPTED:
        m->u.accepted.job = p->accepted->job;
        m->u.accepted.input_credit = p->accepted->input_credit;
        m->u.accepted.epoch = p->accepted->epoch;
        return ST_OK;
    case CLIENT_MORE_INPUT:
        m->u.accepted.input_credit = p->more_input->input_credit;
        return ST_OK;
    case CLIENT_LIST:
    case CLIENT_JOBS:
    case CLIENT_GET_STATUS:
    case CLIENT_SHUTDOWN:
        return ST_OK;
    case CLIENT_REFUSED:
        return refused(m, p->refused);
    case CLIENT_PROGRESS:
        return progress(m, p->progress);
    case CLIENT_TOKEN:
        return token(m, p->token);
    case CLIENT_DONE:
        return done(m, p->done);
    case CLIENT_DOCUMENTS:
        return documents(m, p->documents);
    case CLIENT_JOB_LIST:
        return job_list(m, p->job_list);
    case CLIENT_STATUS:
        return daemon_status(m, p->status);
    }
    return status_fail(ST_UNSUPPORTED, "there is no message of kind %d",
                       (int)m->kind);
}

status
client_decode(client_message *m, const uint8_t *data, size_t len)
{
    ProtobufCMessage *p = NULL;
    status st;

    TRY(prescan_unpack(&p, &longwave__client__client_message__descriptor, data,
                       len, client_check_max_field(m->kind)));
    st = body(m, (const Longwave__Client__ClientMessage *)(const void *)p);
fail:
    prescan_free(p);
    return st;
}
