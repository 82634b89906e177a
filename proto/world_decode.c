/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes of the world protocol to values. */
#include "proto/world_wire.h"

#include <string.h>

#include "world.pb-c.h"

#include "base/mem.h"
#include "proto/prescan.h"
#include "proto/wiretext.h"

/* Exactly the 32 bytes of a hash. */
static status
hash(uint8_t out[32], const ProtobufCBinaryData *in, const char *field)
{
    if (in->len != 32)
        return status_fail(ST_ARG, "field '%s' has %zu bytes, not 32", field,
                           in->len);
    memcpy(out, in->data, 32);
    return ST_OK;
}

static status
layer_bytes(world_hello *to, const Longwave__World__Hello *from)
{
    size_t n = from->n_layer_bytes;
    status st = ST_OK;

    if (n == 0)
        return ST_OK;
    if (n != from->n_layer || n > WORLD_MAX_LAYER)
        return status_fail(ST_ARG, "states of %zu layers, the world has %u", n,
                           from->n_layer);
    TRY(mem_new(&to->layer_bytes, n, sizeof(*to->layer_bytes)));
    memcpy(to->layer_bytes, from->layer_bytes, n * sizeof(*to->layer_bytes));
    to->n_layer_bytes = n;
fail:
    return st;
}

static status
hello(world_hello *to, const Longwave__World__Hello *from)
{
    status st;

    TRY(mem_strdup(&to->version, from->version));
    TRY(mem_strdup(&to->model_dir, from->model_dir));
    TRY(mem_strdup(&to->placement, from->placement));
    TRY(mem_strdup(&to->device, from->device));
    TRY(mem_strdup(&to->device_name, from->device_name));
    TRY(hash(to->fingerprint, &from->fingerprint, "fingerprint"));
    to->ranks = from->ranks;
    to->threads = from->threads;
    to->n_layer = from->n_layer;
    to->segment_size = from->segment_size;
    to->n_vocab = from->n_vocab;
    to->snapshot_bytes = from->snapshot_bytes;
    to->launch = from->launch;
    to->kin = from->kin;
    to->streams = from->streams;
    to->credit_segments = from->credit_segments;
    to->max_generate = from->max_generate;
    to->token_bytes = from->token_bytes;
    to->max_context = from->max_context;
    to->measured =
        (world_measured){.flops = from->flops_per_second,
                         .link_bytes_per_s = from->link_bytes_per_second,
                         .link_s = from->link_seconds,
                         .layers_s = from->layers_seconds,
                         .segments_s = from->segments_seconds,
                         .plan_segments = from->plan_segments,
                         .layers_alike_s = from->layers_seconds_if_alike,
                         .segments_alike_s = from->segments_seconds_if_alike};
    TRY(layer_bytes(to, from));
    return ST_OK;
fail:
    return st;
}

static status
generate(world_generate *to, const Longwave__World__Generate *from)
{
    if (from->n_eos > WORLD_MAX_EOS)
        return status_fail(ST_ARG, "more than %d end tokens", WORLD_MAX_EOS);
    to->max_tokens = from->max_tokens;
    to->temperature = from->temperature;
    to->top_k = from->top_k;
    to->top_p = from->top_p;
    to->min_p = from->min_p;
    to->penalty = from->repetition_penalty;
    to->logprobs = from->logprobs;
    to->seed = from->seed;
    to->n_eos = (uint32_t)from->n_eos;
    for (size_t i = 0; i < from->n_eos; i++)
        to->eos[i] = from->eos[i];
    return ST_OK;
}

static status
begin(world_message *m, const Longwave__World__Begin *p)
{
    m->u.begin.snapshot_bytes = p->snapshot_bytes;
    m->u.begin.first_segment = p->first_segment;
    m->u.begin.n_segment = p->n_segment;
    m->u.begin.want_snapshot = p->want_snapshot;
    m->u.begin.checkpoint_segments = p->checkpoint_segments;
    m->u.begin.checkpoint_ms = p->checkpoint_ms;
    m->u.begin.n_forced = p->n_forced;
    m->u.begin.n_token = p->n_token;
    return p->generate ? generate(&m->u.begin.generate, p->generate) : ST_OK;
}

static status
snapshot(world_message *m, const Longwave__World__SnapshotPart *p)
{
    m->u.snapshot.offset = p->offset;
    m->u.snapshot.total = p->total;
    m->u.snapshot.last = p->hash.len > 0;
    return p->hash.len > 0 ? hash(m->u.snapshot.hash, &p->hash, "hash") : ST_OK;
}

static status
failed(world_message *m, const char *code, const char *text)
{
    status st;

    TRY(mem_strdup(&m->u.failed.code, code));
    TRY(wiretext_sentence(&m->u.failed.text, text));
fail:
    return st;
}

static void
checkpoint(world_message *m, const Longwave__World__CheckpointPart *p)
{
    m->u.checkpoint.segment = p->segment;
    m->u.checkpoint.layer = p->layer;
    m->u.checkpoint.offset = p->offset;
    m->u.checkpoint.total = p->total;
    m->u.checkpoint.crc = p->crc;
}

/* Bodies of a few numbers. */
static void
small(world_message *m, const Longwave__World__WorldMessage *p)
{
    switch ((int)m->kind) {
    case WORLD_HEARTBEAT:
        m->u.heartbeat.tokens_per_second = p->heartbeat->tokens_per_second;
        m->u.heartbeat.streams_busy = p->heartbeat->streams_busy;
        m->u.heartbeat.stalled_ms = p->heartbeat->stalled_ms;
        m->u.heartbeat.slowest_ms = p->heartbeat->slowest_ms;
        m->u.heartbeat.silent_ms = p->heartbeat->silent_ms;
        m->u.heartbeat.hop_s = p->heartbeat->hop_seconds;
        m->u.heartbeat.hop_hidden_s = p->heartbeat->hop_hidden_seconds;
        break;
    case WORLD_CREDIT:
        m->u.credit.segments = p->credit->segments;
        break;
    case WORLD_SEGMENTS_DONE:
        m->u.segments_done.segments = p->segments_done->segments;
        break;
    case WORLD_TOKEN:
        m->u.token.index = p->token->index;
        m->u.token.id = p->token->id;
        m->u.token.logprob = p->token->logprob;
        break;
    case WORLD_WELCOME:
        m->u.welcome.incarnation = p->welcome->incarnation;
        m->u.welcome.heartbeat_ms = p->welcome->heartbeat_ms;
        m->u.welcome.timeout_ms = p->welcome->timeout_ms;
        break;
    case WORLD_SEGMENT_IDS:
        m->u.segment_ids.segment = p->segment_ids->segment;
        m->u.segment_ids.prompt = p->segment_ids->prompt;
        break;
    }
}

static status
body(world_message *m, const Longwave__World__WorldMessage *p)
{
    switch (m->kind) {
    case WORLD_HELLO:
        return hello(&m->u.hello, p->hello);
    case WORLD_BEGIN:
        return begin(m, p->begin);
    case WORLD_SNAPSHOT:
        return snapshot(m, p->snapshot);
    case WORLD_JOB_DONE:
        m->u.job_done.seconds = p->job_done->seconds;
        return mem_strdup(&m->u.job_done.finish, p->job_done->finish);
    case WORLD_JOB_FAILED:
        return failed(m, p->job_failed->code, p->job_failed->text);
    case WORLD_REFUSE:
        return failed(m, p->refuse->code, p->refuse->text);
    case WORLD_HEARTBEAT:
    case WORLD_CREDIT:
    case WORLD_SEGMENTS_DONE:
    case WORLD_TOKEN:
    case WORLD_WELCOME:
    case WORLD_SEGMENT_IDS:
        small(m, p);
        return ST_OK;
    case WORLD_CHECKPOINT:
        checkpoint(m, p->checkpoint);
        return ST_OK;
    case WORLD_KEPT:
        m->u.kept.segment = p->kept->segment;
        return ST_OK;
    case WORLD_CANCEL:
    case WORLD_STOP:
    case WORLD_DRAIN:
    case WORLD_ABORT:
        return ST_OK;
    }
    return status_fail(ST_UNSUPPORTED, "there is no message of kind %d",
                       (int)m->kind);
}

status
world_decode(world_message *m, const uint8_t *data, size_t len)
{
    ProtobufCMessage *p = NULL;
    status st;

    TRY(prescan_unpack(&p, &longwave__world__world_message__descriptor, data,
                       len, PRESCAN_MAX_FIELD));
    st = body(m, (const Longwave__World__WorldMessage *)(const void *)p);
fail:
    prescan_free(p);
    return st;
}
