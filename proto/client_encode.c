/* SPDX-License-Identifier: Apache-2.0 */
/* Values of the client protocol to bytes. */
#include "proto/client_wire.h"

#include <string.h>

#include "client.pb-c.h"

#include "base/mem.h"
#include "proto/prescan.h"
#include "proto/wiretext.h"

/* The generated structures of one message.  They borrow every text from the
 * client_message; a NULL text is an absent one, which is "".  Sentences are
 * the exception: a refusal must be sendable whatever its words quote. */
typedef struct building {
    Longwave__Client__ClientMessage top;
    Longwave__Client__Sampling sampling;
    char *stop[CLIENT_MAX_STOP];
    void *item;      /* of a list: the elements */
    void **pointer;  /* and a pointer to each */
    char **sentence; /* copies */
    size_t n_sentence;
    union {
        Longwave__Client__Add add;
        Longwave__Client__Chunk chunk;
        Longwave__Client__Ask ask;
        Longwave__Client__List list;
        Longwave__Client__Show show;
        Longwave__Client__Remove remove;
        Longwave__Client__Jobs jobs;
        Longwave__Client__Cancel cancel;
        Longwave__Client__GetStatus get_status;
        Longwave__Client__Shutdown shutdown;
        Longwave__Client__Watch watch;
        Longwave__Client__Accepted accepted;
        Longwave__Client__Refused refused;
        Longwave__Client__Progress progress;
        Longwave__Client__Token token;
        Longwave__Client__Done done;
        Longwave__Client__DocumentList documents;
        Longwave__Client__JobList job_list;
        Longwave__Client__Status status;
        Longwave__Client__MoreInput more_input;
    } body;
} building;

/* Makes room for n sentences. */
static status
sentences_new(building *b, size_t n)
{
    return mem_new(&b->sentence, n, sizeof(*b->sentence));
}

static status
sentence(building *b, char **to, const char *from)
{
    status st = wiretext_sentence(&b->sentence[b->n_sentence], from);

    if (st != ST_OK)
        return st;
    *to = b->sentence[b->n_sentence++];
    return ST_OK;
}

/* Makes room for the n elements of a list, each with a sentence, and one
 * sentence more. */
static status
list_new(building *b, size_t n, size_t size)
{
    status st;

    TRY(sentences_new(b, n + 1));
    TRY(mem_new(&b->item, n, size));
    TRY(mem_new(&b->pointer, n, sizeof(*b->pointer)));
    for (size_t i = 0; i < n; i++)
        b->pointer[i] = (char *)b->item + i * size;
    return ST_OK;
fail:
    return st;
}

static void
key(const client_key *from, char **text, ProtobufCBinaryData *hash)
{
    *text = from->key;
    if (!from->has_hash)
        return;
    hash->data = (uint8_t *)(uintptr_t)from->hash;
    hash->len = sizeof(from->hash);
}

static void
add(building *b, const client_message *m)
{
    Longwave__Client__Add *p = b->top.add = &b->body.add;

    longwave__client__add__init(p);
    p->name = m->u.add.name;
    p->model = m->u.add.model;
    p->kind = (Longwave__Client__InputKind)m->u.add.input;
    p->bytes = m->u.add.bytes;
    key(&m->u.add.key, &p->key, &p->input_hash);
}

static void
ask(building *b, const client_message *m)
{
    Longwave__Client__Ask *p = b->top.ask = &b->body.ask;
    Longwave__Client__Sampling *to = p->sampling = &b->sampling;
    const client_sampling *from = &m->u.ask.sampling;

    longwave__client__ask__init(p);
    p->document = m->u.ask.document;
    p->kind = (Longwave__Client__InputKind)m->u.ask.input;
    p->bytes = m->u.ask.bytes;
    p->sampling = to;
    key(&m->u.ask.key, &p->key, &p->input_hash);
    longwave__client__sampling__init(to);
    to->max_tokens = from->max_tokens;
    to->temperature = from->temperature;
    to->top_k = from->top_k;
    to->top_p = from->top_p;
    to->min_p = from->min_p;
    to->seed = from->seed;
    to->repetition_penalty = from->penalty;
    to->ignore_eos = from->ignore_eos;
    to->logprobs = from->logprobs;
    to->n_stop = from->n_stop;
    to->stop = b->stop;
    memcpy(b->stop, from->stop, sizeof(b->stop));
}

/* Bodies of one number or one name. */
static void
small(building *b, const client_message *m)
{
    switch ((int)m->kind) {
    case CLIENT_CHUNK:
        longwave__client__chunk__init(b->top.chunk = &b->body.chunk);
        b->body.chunk.offset = m->u.chunk.offset;
        break;
    case CLIENT_SHOW:
        longwave__client__show__init(b->top.show = &b->body.show);
        b->body.show.document = m->u.name.document;
        break;
    case CLIENT_REMOVE:
        longwave__client__remove__init(b->top.remove = &b->body.remove);
        b->body.remove.document = m->u.name.document;
        break;
    case CLIENT_CANCEL:
        longwave__client__cancel__init(b->top.cancel = &b->body.cancel);
        b->body.cancel.job = m->u.job.job;
        b->body.cancel.submission = m->u.job.submission;
        break;
    case CLIENT_WATCH:
        longwave__client__watch__init(b->top.watch = &b->body.watch);
        b->body.watch.job = m->u.job.job;
        break;
    case CLIENT_MORE_INPUT:
        b->top.more_input = &b->body.more_input;
        longwave__client__more_input__init(b->top.more_input);
        b->body.more_input.input_credit = m->u.accepted.input_credit;
        break;
    case CLIENT_ACCEPTED:
        longwave__client__accepted__init(b->top.accepted = &b->body.accepted);
        b->body.accepted.job = m->u.accepted.job;
        b->body.accepted.input_credit = m->u.accepted.input_credit;
        b->body.accepted.epoch = m->u.accepted.epoch;
        break;
    }
}

static void
empty(building *b, const client_message *m)
{
    switch ((int)m->kind) {
    case CLIENT_LIST:
        longwave__client__list__init(b->top.list = &b->body.list);
        break;
    case CLIENT_JOBS:
        longwave__client__jobs__init(b->top.jobs = &b->body.jobs);
        break;
    case CLIENT_GET_STATUS:
        b->top.get_status = &b->body.get_status;
        longwave__client__get_status__init(b->top.get_status);
        break;
    case CLIENT_SHUTDOWN:
        longwave__client__shutdown__init(b->top.shutdown = &b->body.shutdown);
        break;
    }
}

static status
refused(building *b, const client_message *m)
{
    Longwave__Client__Refused *p = b->top.refused = &b->body.refused;
    status st;

    longwave__client__refused__init(p);
    TRY(sentences_new(b, 1));
    TRY(sentence(b, &p->text, m->u.refused.text));
    p->code = m->u.refused.code;
    p->retry_after_s = m->u.refused.retry_after_s;
    p->job = m->u.refused.job;
fail:
    return st;
}

static void
progress(building *b, const client_message *m)
{
    Longwave__Client__Progress *p = b->top.progress = &b->body.progress;

    longwave__client__progress__init(p);
    p->job = m->u.progress.job;
    p->state = (Longwave__Client__JobState)m->u.progress.state;
    p->tokens_in = m->u.progress.tokens_in;
    p->segments_done = m->u.progress.segments_done;
    p->segments_total = m->u.progress.segments_total;
    p->tokens_per_second = m->u.progress.tokens_per_second;
    p->seconds_left = m->u.progress.seconds_left;
}

static void
token(building *b, const client_message *m)
{
    Longwave__Client__Token *p = b->top.token = &b->body.token;

    longwave__client__token__init(p);
    p->job = m->u.token.job;
    p->index = m->u.token.index;
    p->id = m->u.token.id;
    p->logprob = m->u.token.logprob;
    p->text.data = (uint8_t *)m->u.token.text;
    p->text.len = m->u.token.text_len;
}

static void
done(building *b, const client_message *m)
{
    Longwave__Client__Done *p = b->top.done = &b->body.done;

    longwave__client__done__init(p);
    p->job = m->u.done.job;
    p->document = m->u.done.document;
    p->tokens = m->u.done.tokens;
    p->segments = m->u.done.segments;
    p->seconds = m->u.done.seconds;
    p->seconds_to_first_token = m->u.done.seconds_to_first_token;
    p->n_generated_ids = m->u.done.n_id;
    p->generated_ids = m->u.done.ids;
    p->n_logprobs = m->u.done.n_logprob;
    p->logprobs = m->u.done.logprobs;
    p->text.data = (uint8_t *)m->u.done.text;
    p->text.len = m->u.done.text_len;
    p->snapshot_bytes = m->u.done.snapshot_bytes;
    p->finish = m->u.done.finish;
    p->warning = m->u.done.warning;
    p->skipped_tokens = m->u.done.skipped_tokens;
    p->tokens_per_second = m->u.done.tokens_per_second;
}

static status
documents(building *b, const client_message *m)
{
    Longwave__Client__DocumentList *p = &b->body.documents;
    status st =
        list_new(b, m->u.documents.n, sizeof(Longwave__Client__Document));

    if (st != ST_OK)
        return st;
    longwave__client__document_list__init(p);
    b->top.documents = p;
    p->n_document = m->u.documents.n;
    p->document = (Longwave__Client__Document **)b->pointer;
    for (size_t i = 0; i < p->n_document; i++) {
        Longwave__Client__Document *to = p->document[i];
        const client_document *from = &m->u.documents.item[i];

        longwave__client__document__init(to);
        to->name = from->name;
        to->tokens = from->tokens;
        to->segments = from->segments;
        to->snapshot_bytes = from->snapshot_bytes;
        to->model = from->model;
        to->owner = from->owner;
        to->created_ms = from->created_ms;
        to->pending_tokens = from->pending_tokens;
        to->n_state_norm = from->n_norm;
        to->state_norm = from->state_norm;
        to->warning = from->warning;
    }
    return ST_OK;
}

static status
job_list(building *b, const client_message *m)
{
    Longwave__Client__JobList *p = &b->body.job_list;
    status st;

    TRY(list_new(b, m->u.jobs.n, sizeof(Longwave__Client__Job)));
    longwave__client__job_list__init(p);
    b->top.job_list = p;
    p->n_job = m->u.jobs.n;
    p->job = (Longwave__Client__Job **)b->pointer;
    for (size_t i = 0; i < p->n_job; i++) {
        Longwave__Client__Job *to = p->job[i];
        const client_job *from = &m->u.jobs.item[i];

        longwave__client__job__init(to);
        to->job = from->job;
        to->kind = from->kind;
        to->document = from->document;
        to->owner = from->owner;
        to->state = (Longwave__Client__JobState)from->state;
        to->code = from->code;
        TRY(sentence(b, &to->text, from->text));
        to->created_ms = from->created_ms;
        to->tokens = from->tokens;
        to->segments_done = from->segments_done;
        to->segments_total = from->segments_total;
        to->attempts = from->attempts;
        to->checkpoint_segments = from->checkpoint_segments;
        to->redone_segments = from->redone_segments;
    }
fail:
    return st;
}

static status
world(building *b, Longwave__Client__World *to, const client_world *from)
{
    longwave__client__world__init(to);
    to->incarnation = from->incarnation;
    to->model = from->model;
    to->ranks = from->ranks;
    to->placement = from->placement;
    to->device = from->device;
    to->threads = from->threads;
    to->streams = from->streams;
    to->streams_busy = from->streams_busy;
    to->tokens_per_second = from->tokens_per_second;
    to->flops_per_second = from->measured.flops;
    to->link_bytes_per_second = from->measured.link_bytes_per_s;
    to->link_seconds = from->measured.link_s;
    to->layers_seconds = from->measured.layers_s;
    to->segments_seconds = from->measured.segments_s;
    to->plan_segments = from->measured.plan_segments;
    to->layers_seconds_if_alike = from->measured.layers_alike_s;
    to->segments_seconds_if_alike = from->measured.segments_alike_s;
    to->hop_seconds = from->hop_s;
    to->hop_hidden_seconds = from->hop_hidden_s;
    return sentence(b, &to->state, from->state);
}

static status
daemon_status(building *b, const client_message *m)
{
    Longwave__Client__Status *p = &b->body.status;
    status st;

    TRY(list_new(b, m->u.status.n_world, sizeof(Longwave__Client__World)));
    longwave__client__status__init(p);
    b->top.status = p;
    p->version = m->u.status.version;
    p->uptime_seconds = m->u.status.uptime_seconds;
    p->jobs_queued = m->u.status.jobs_queued;
    p->jobs_running = m->u.status.jobs_running;
    p->documents = m->u.status.documents;
    p->longest_turn_ms = m->u.status.longest_turn_ms;
    p->epoch = m->u.status.epoch;
    p->max_input = m->u.status.max_input;
    TRY(sentence(b, &p->last_error, m->u.status.last_error));
    p->n_world = m->u.status.n_world;
    p->world = (Longwave__Client__World **)b->pointer;
    for (size_t i = 0; i < p->n_world; i++)
        TRY(world(b, p->world[i], &m->u.status.world[i]));
fail:
    return st;
}

static status
body(building *b, const client_message *m)
{
    switch (m->kind) {
    case CLIENT_ADD:
        add(b, m);
        return ST_OK;
    case CLIENT_ASK:
        ask(b, m);
        return ST_OK;
    case CLIENT_CHUNK:
    case CLIENT_SHOW:
    case CLIENT_REMOVE:
    case CLIENT_CANCEL:
    case CLIENT_WATCH:
    case CLIENT_ACCEPTED:
    case CLIENT_MORE_INPUT:
        small(b, m);
        return ST_OK;
    case CLIENT_LIST:
    case CLIENT_JOBS:
    case CLIENT_GET_STATUS:
    case CLIENT_SHUTDOWN:
        empty(b, m);
        return ST_OK;
    case CLIENT_REFUSED:
        return refused(b, m);
    case CLIENT_PROGRESS:
        progress(b, m);
        return ST_OK;
    case CLIENT_TOKEN:
        token(b, m);
        return ST_OK;
    case CLIENT_DONE:
        done(b, m);
        return ST_OK;
    case CLIENT_DOCUMENTS:
        return documents(b, m);
    case CLIENT_JOB_LIST:
        return job_list(b, m);
    case CLIENT_STATUS:
        return daemon_status(b, m);
    }
    return status_fail(ST_ARG, "there is no message of kind %d", (int)m->kind);
}

status
client_encode(uint8_t **out, size_t *len, const client_message *m)
{
    building b = {.item = NULL};
    status st;

    longwave__client__client_message__init(&b.top);
    b.top.major = CLIENT_MAJOR;
    b.top.minor = CLIENT_MINOR;
    b.top.request = m->request;
    b.top.body_case = (Longwave__Client__ClientMessage__BodyCase)m->kind;
    TRY(body(&b, m));
    TRY(prescan_pack(out, len, &b.top.base, CLIENT_MAX_MESSAGE,
                     client_check_max_field(m->kind)));
fail:
    for (size_t i = 0; i < b.n_sentence; i++)
        mem_free(b.sentence[i]);
    mem_free(b.sentence);
    mem_free(b.pointer);
    mem_free(b.item);
    return st;
}

size_t
client_encode_nomem(uint8_t out[CLIENT_NOMEM_BYTES], uint64_t request)
{
    char code[] = "nomem";
    char text[] = "no memory";
    Longwave__Client__ClientMessage top;
    Longwave__Client__Refused refused;

    longwave__client__client_message__init(&top);
    longwave__client__refused__init(&refused);
    refused.code = code;
    refused.text = text;
    top.major = CLIENT_MAJOR;
    top.minor = CLIENT_MINOR;
    top.request = request;
    top.body_case = LONGWAVE__CLIENT__CLIENT_MESSAGE__BODY_REFUSED;
    top.refused = &refused;
    ASSERT(longwave__client__client_message__get_packed_size(&top) <=
           CLIENT_NOMEM_BYTES);
    return longwave__client__client_message__pack(&top, out);
}
