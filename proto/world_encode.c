/* SPDX-License-Identifier: Apache-2.0 */
/* Values of the world protocol to bytes. */
#include "proto/world_wire.h"

#include <string.h>

#include "world.pb-c.h"

#include "base/mem.h"
#include "proto/prescan.h"
#include "proto/wiretext.h"

/* The generated structures of one message.  They borrow from the
 * world_message, but for the sentence of a failure. */
typedef struct building {
    Longwave__World__WorldMessage top;
    Longwave__World__Generate generate;
    uint8_t hash[32];
    int32_t eos[WORLD_MAX_EOS];
    char *sentence;
    union {
        Longwave__World__Hello hello;
        Longwave__World__Heartbeat heartbeat;
        Longwave__World__Credit credit;
        Longwave__World__SegmentsDone segments_done;
        Longwave__World__Token token;
        Longwave__World__JobDone job_done;
        Longwave__World__JobFailed job_failed;
        Longwave__World__SnapshotPart snapshot;
        Longwave__World__Welcome welcome;
        Longwave__World__Begin begin;
        Longwave__World__SegmentIds segment_ids;
        Longwave__World__CancelJob cancel;
        Longwave__World__Stop stop;
        Longwave__World__Refuse refuse;
        Longwave__World__CheckpointPart checkpoint;
        Longwave__World__CheckpointKept kept;
        Longwave__World__Drain drain;
        Longwave__World__Abort abort;
    } body;
} building;

static void
hello(building *b, const world_hello *from)
{
    Longwave__World__Hello *to = b->top.hello = &b->body.hello;

    longwave__world__hello__init(to);
    to->version = from->version;
    memcpy(b->hash, from->fingerprint, sizeof(b->hash));
    to->fingerprint.data = b->hash;
    to->fingerprint.len = sizeof(b->hash);
    to->model_dir = from->model_dir;
    to->ranks = from->ranks;
    to->placement = from->placement;
    to->device = from->device;
    to->device_name = from->device_name;
    to->threads = from->threads;
    to->n_layer = from->n_layer;
    to->segment_size = from->segment_size;
    to->n_vocab = from->n_vocab;
    to->snapshot_bytes = from->snapshot_bytes;
    to->streams = from->streams;
    to->credit_segments = from->credit_segments;
    to->max_generate = from->max_generate;
    to->launch = from->launch;
    to->kin = from->kin;
    to->token_bytes = from->token_bytes;
    to->max_context = from->max_context;
    to->layer_bytes = from->layer_bytes;
    to->n_layer_bytes = from->n_layer_bytes;
    to->flops_per_second = from->measured.flops;
    to->link_bytes_per_second = from->measured.link_bytes_per_s;
    to->link_seconds = from->measured.link_s;
    to->layers_seconds = from->measured.layers_s;
    to->segments_seconds = from->measured.segments_s;
    to->plan_segments = from->measured.plan_segments;
    to->layers_seconds_if_alike = from->measured.layers_alike_s;
    to->segments_seconds_if_alike = from->measured.segments_alike_s;
}

static void
begin(building *b, const world_message *m)
{
    Longwave__World__Begin *p = b->top.begin = &b->body.begin;
    Longwave__World__Generate *to = &b->generate;
    const world_generate *from = &m->u.begin.generate;

    longwave__world__begin__init(p);
    p->snapshot_bytes = m->u.begin.snapshot_bytes;
    p->first_segment = m->u.begin.first_segment;
    p->n_segment = m->u.begin.n_segment;
    p->want_snapshot = m->u.begin.want_snapshot;
    p->checkpoint_segments = m->u.begin.checkpoint_segments;
    p->checkpoint_ms = m->u.begin.checkpoint_ms;
    p->n_forced = m->u.begin.n_forced;
    p->n_token = m->u.begin.n_token;
    if (from->max_tokens == 0)
        return; /* nothing is generated: the field is absent */
    p->generate = to;
    longwave__world__generate__init(to);
    to->max_tokens = from->max_tokens;
    to->temperature = from->temperature;
    to->top_k = from->top_k;
    to->top_p = from->top_p;
    to->min_p = from->min_p;
    to->repetition_penalty = from->penalty;
    to->logprobs = from->logprobs;
    to->seed = from->seed;
    to->n_eos = from->n_eos;
    to->eos = b->eos;
    memcpy(b->eos, from->eos, sizeof(b->eos));
}

static void
welcome(building *b, const world_message *m)
{
    Longwave__World__Welcome *p = b->top.welcome = &b->body.welcome;

    longwave__world__welcome__init(p);
    p->incarnation = m->u.welcome.incarnation;
    p->heartbeat_ms = m->u.welcome.heartbeat_ms;
    p->timeout_ms = m->u.welcome.timeout_ms;
}

static void
snapshot(building *b, const world_message *m)
{
    Longwave__World__SnapshotPart *p = b->top.snapshot = &b->body.snapshot;

    longwave__world__snapshot_part__init(p);
    p->offset = m->u.snapshot.offset;
    p->total = m->u.snapshot.total;
    if (m->u.snapshot.last) {
        memcpy(b->hash, m->u.snapshot.hash, sizeof(b->hash));
        p->hash.data = b->hash;
        p->hash.len = sizeof(b->hash);
    }
}

static void
checkpoint(building *b, const world_message *m)
{
    Longwave__World__CheckpointPart *p = &b->body.checkpoint;

    longwave__world__checkpoint_part__init(p);
    b->top.checkpoint = p;
    p->segment = m->u.checkpoint.segment;
    p->layer = m->u.checkpoint.layer;
    p->offset = m->u.checkpoint.offset;
    p->total = m->u.checkpoint.total;
    p->crc = m->u.checkpoint.crc;
}

static status
failed(building *b, const world_message *m)
{
    status st = wiretext_sentence(&b->sentence, m->u.failed.text);

    if (st != ST_OK)
        return st;
    if (m->kind == WORLD_REFUSE) {
        longwave__world__refuse__init(b->top.refuse = &b->body.refuse);
        b->body.refuse.code = m->u.failed.code;
        b->body.refuse.text = b->sentence;
    } else {
        b->top.job_failed = &b->body.job_failed;
        longwave__world__job_failed__init(b->top.job_failed);
        b->body.job_failed.code = m->u.failed.code;
        b->body.job_failed.text = b->sentence;
    }
    return ST_OK;
}

/* Bodies of at most one number. */
static void
order(building *b, const world_message *m)
{
    switch ((int)m->kind) {
    case WORLD_CANCEL:
        longwave__world__cancel_job__init(b->top.cancel = &b->body.cancel);
        break;
    case WORLD_STOP:
        longwave__world__stop__init(b->top.stop = &b->body.stop);
        break;
    case WORLD_KEPT:
        longwave__world__checkpoint_kept__init(b->top.kept = &b->body.kept);
        b->body.kept.segment = m->u.kept.segment;
        break;
    case WORLD_DRAIN:
        longwave__world__drain__init(b->top.drain = &b->body.drain);
        break;
    case WORLD_ABORT:
        longwave__world__abort__init(b->top.abort = &b->body.abort);
        break;
    }
}

/* The rest: bodies of a few numbers. */
static void
small(building *b, const world_message *m)
{
    switch ((int)m->kind) {
    case WORLD_HEARTBEAT:
        longwave__world__heartbeat__init(b->top.heartbeat = &b->body.heartbeat);
        b->body.heartbeat.tokens_per_second = m->u.heartbeat.tokens_per_second;
        b->body.heartbeat.streams_busy = m->u.heartbeat.streams_busy;
        b->body.heartbeat.stalled_ms = m->u.heartbeat.stalled_ms;
        b->body.heartbeat.slowest_ms = m->u.heartbeat.slowest_ms;
        b->body.heartbeat.silent_ms = m->u.heartbeat.silent_ms;
        b->body.heartbeat.hop_seconds = m->u.heartbeat.hop_s;
        b->body.heartbeat.hop_hidden_seconds = m->u.heartbeat.hop_hidden_s;
        break;
    case WORLD_CREDIT:
        longwave__world__credit__init(b->top.credit = &b->body.credit);
        b->body.credit.segments = m->u.credit.segments;
        break;
    case WORLD_SEGMENTS_DONE:
        b->top.segments_done = &b->body.segments_done;
        longwave__world__segments_done__init(b->top.segments_done);
        b->body.segments_done.segments = m->u.segments_done.segments;
        break;
    case WORLD_TOKEN:
        longwave__world__token__init(b->top.token = &b->body.token);
        b->body.token.index = m->u.token.index;
        b->body.token.id = m->u.token.id;
        b->body.token.logprob = m->u.token.logprob;
        break;
    case WORLD_JOB_DONE:
        longwave__world__job_done__init(b->top.job_done = &b->body.job_done);
        b->body.job_done.finish = m->u.job_done.finish;
        b->body.job_done.seconds = m->u.job_done.seconds;
        break;
    case WORLD_SEGMENT_IDS:
        b->top.segment_ids = &b->body.segment_ids;
        longwave__world__segment_ids__init(b->top.segment_ids);
        b->body.segment_ids.segment = m->u.segment_ids.segment;
        b->body.segment_ids.prompt = m->u.segment_ids.prompt;
        break;
    }
}

static status
body(building *b, const world_message *m)
{
    switch (m->kind) {
    case WORLD_HELLO:
        hello(b, &m->u.hello);
        return ST_OK;
    case WORLD_WELCOME:
        welcome(b, m);
        return ST_OK;
    case WORLD_BEGIN:
        begin(b, m);
        return ST_OK;
    case WORLD_SNAPSHOT:
        snapshot(b, m);
        return ST_OK;
    case WORLD_JOB_FAILED:
    case WORLD_REFUSE:
        return failed(b, m);
    case WORLD_HEARTBEAT:
    case WORLD_CREDIT:
    case WORLD_SEGMENTS_DONE:
    case WORLD_TOKEN:
    case WORLD_JOB_DONE:
    case WORLD_SEGMENT_IDS:
        small(b, m);
        return ST_OK;
    case WORLD_CHECKPOINT:
        checkpoint(b, m);
        return ST_OK;
    case WORLD_CANCEL:
    case WORLD_STOP:
    case WORLD_KEPT:
    case WORLD_DRAIN:
    case WORLD_ABORT:
        order(b, m);
        return ST_OK;
    }
    return status_fail(ST_ARG, "there is no message of kind %d", (int)m->kind);
}

status
world_encode(uint8_t **out, size_t *len, const world_message *m)
{
    building b = {.sentence = NULL};
    status st;

    longwave__world__world_message__init(&b.top);
    b.top.major = WORLD_MAJOR;
    b.top.minor = WORLD_MINOR;
    b.top.incarnation = m->incarnation;
    b.top.job = m->job;
    b.top.attempt = m->attempt;
    b.top.body_case = (Longwave__World__WorldMessage__BodyCase)m->kind;
    TRY(body(&b, m));
    TRY(prescan_pack(out, len, &b.top.base, WORLD_MAX_MESSAGE,
                     PRESCAN_MAX_FIELD));
fail:
    mem_free(b.sentence);
    return st;
}
