/* SPDX-License-Identifier: Apache-2.0 */
/* The border of the world protocol: versions, ranges, release. */
#include "proto/world_message.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "proto/prescan.h"
#include "proto/wiretext.h"
#include "proto/world_wire.h"

enum { FIELD_MAJOR = 1, FIELD_INCARNATION = 3, FIELD_JOB, FIELD_ATTEMPT };
enum {
    MAX_WORD = 64,
    MAX_RANK = 1 << 16,
    MAX_THREAD = 1 << 12,
    MAX_LAYER = 1 << 12,
    MAX_SEGMENT = WORLD_MAX_PART / 4, /* its ids fit in one raw frame */
    MAX_VOCAB = 1 << 24,
    MAX_STREAM = 1 << 16
};
static const float MAX_TEMPERATURE = 100, MAX_PENALTY = 100;

static status
count(uint32_t value, uint32_t max, const char *field)
{
    if (value < 1 || value > max)
        return status_fail(ST_ARG, "field '%s' is %u, not 1 to %u", field,
                           value, max);
    return ST_OK;
}

static status
word(const char *text, const char *field)
{
    if (!text)
        return ST_OK;
    if (strnlen(text, MAX_WORD + 1) > MAX_WORD || !wiretext_is_printable(text))
        return status_fail(ST_ARG, "field '%s' is not one short line", field);
    return ST_OK;
}

static status
number(double value, const char *field)
{
    if (!isfinite(value) || value < 0)
        return status_fail(ST_ARG, "field '%s' is out of range", field);
    return ST_OK;
}

static status
check_hello(const world_hello *h)
{
    status st;

    TRY(word(h->version, "version"));
    TRY(word(h->placement, "placement"));
    TRY(word(h->device, "device"));
    TRY(count(h->ranks, MAX_RANK, "ranks"));
    TRY(count(h->threads, MAX_THREAD, "threads"));
    TRY(count(h->n_layer, MAX_LAYER, "n_layer"));
    TRY(count(h->segment_size, MAX_SEGMENT, "segment_size"));
    TRY(count(h->n_vocab, MAX_VOCAB, "n_vocab"));
    TRY(count(h->streams, MAX_STREAM, "streams"));
    TRY(count(h->credit_segments, UINT32_MAX, "credit_segments"));
    TRY(number(h->measured.flops, "flops_per_second"));
    TRY(number(h->measured.link_bytes_per_s, "link_bytes_per_second"));
    TRY(number(h->measured.link_s, "link_seconds"));
    TRY(number(h->measured.layers_s, "layers_seconds"));
    TRY(number(h->measured.segments_s, "segments_seconds"));
    TRY(number(h->measured.layers_alike_s, "layers_seconds_if_alike"));
    TRY(number(h->measured.segments_alike_s, "segments_seconds_if_alike"));
fail:
    return st;
}

static status
at_most(float value, float most, const char *field)
{
    if (!(value >= 0) || value > most)
        return status_fail(ST_ARG, "field '%s' is out of range", field);
    return ST_OK;
}

static status
check_generate(const world_generate *g)
{
    status st;

    TRY(at_most(g->temperature, MAX_TEMPERATURE, "temperature"));
    TRY(at_most(g->top_p, 1, "top_p"));
    TRY(at_most(g->min_p, 1, "min_p"));
    TRY(at_most(g->penalty, MAX_PENALTY, "repetition_penalty"));
    if (g->n_eos > WORLD_MAX_EOS)
        return status_fail(ST_ARG, "more than %d end tokens", WORLD_MAX_EOS);
fail:
    return st;
}

static status
check_begin(const world_message *m)
{
    const world_generate *g = &m->u.begin.generate;
    status st;

    TRY(check_generate(g));
    if (m->u.begin.n_forced > g->max_tokens)
        return status_fail(ST_ARG, "field 'n_forced' is out of range");
    if (m->u.begin.first_segment > UINT64_MAX - m->u.begin.n_segment)
        return status_fail(ST_ARG, "field 'n_segment' is out of range");
fail:
    return st;
}

static status
check_snapshot(const world_message *m)
{
    if (m->u.snapshot.offset > m->u.snapshot.total)
        return status_fail(ST_ARG, "a part of a snapshot is beyond its end");
    return ST_OK;
}

static status
check_checkpoint(const world_message *m)
{
    if (m->u.checkpoint.offset > m->u.checkpoint.total ||
        m->u.checkpoint.layer >= MAX_LAYER)
        return status_fail(ST_ARG, "a part of a checkpoint is beyond its end");
    return ST_OK;
}

static status
check_token(const world_message *m)
{
    if (!isfinite(m->u.token.logprob) || m->u.token.logprob > 0)
        return status_fail(ST_ARG, "field 'logprob' is out of range");
    return ST_OK;
}

static status
check_job_done(const world_message *m)
{
    status st;

    TRY(word(m->u.job_done.finish, "finish"));
    TRY(number(m->u.job_done.seconds, "seconds"));
fail:
    return st;
}

static status
check_heartbeat(const world_message *m)
{
    status st = ST_OK;

    TRY(number(m->u.heartbeat.tokens_per_second, "tokens_per_second"));
    TRY(number(m->u.heartbeat.hop_s, "hop_seconds"));
    TRY(number(m->u.heartbeat.hop_hidden_s, "hop_hidden_seconds"));
fail:
    return st;
}

static status
check(const world_message *m)
{
    switch ((int)m->kind) {
    case WORLD_HELLO:
        return check_hello(&m->u.hello);
    case WORLD_HEARTBEAT:
        return check_heartbeat(m);
    case WORLD_TOKEN:
        return check_token(m);
    case WORLD_JOB_DONE:
        return check_job_done(m);
    case WORLD_JOB_FAILED:
    case WORLD_REFUSE:
        return word(m->u.failed.code, "code");
    case WORLD_SNAPSHOT:
        return check_snapshot(m);
    case WORLD_CHECKPOINT:
        return check_checkpoint(m);
    case WORLD_BEGIN:
        return check_begin(m);
    default: /* every value is in range */
        return ST_OK;
    }
}

status
world_message_encode(uint8_t **out, size_t *len, const world_message *m)
{
    status st = check(m);

    return st == ST_OK ? world_encode(out, len, m) : st;
}

static bool
known(uint32_t body)
{
    return (body >= WORLD_HELLO && body <= WORLD_CHECKPOINT) ||
           (body >= WORLD_WELCOME && body <= WORLD_ABORT);
}

static status
envelope(world_message *m, const prescan_envelope *e)
{
    uint64_t major = e->value[FIELD_MAJOR - 1];

    if (major != WORLD_MAJOR)
        return status_fail(ST_UNSUPPORTED,
                           "the peer speaks version %llu of the world "
                           "protocol, this program version %d",
                           (unsigned long long)major, WORLD_MAJOR);
    if (!known(e->body))
        return status_fail(ST_UNSUPPORTED,
                           "message type %u is not known to version %d.%d of "
                           "the world protocol",
                           e->body, WORLD_MAJOR, WORLD_MINOR);
    m->kind = (world_kind)e->body;
    m->incarnation = e->value[FIELD_INCARNATION - 1];
    m->job = e->value[FIELD_JOB - 1];
    m->attempt = (uint32_t)e->value[FIELD_ATTEMPT - 1];
    return ST_OK;
}

status
world_message_decode(world_message *out, const uint8_t *data, size_t len)
{
    world_message m = {.job = 0};
    prescan_envelope e;
    status st;

    if (len > WORLD_MAX_MESSAGE)
        return status_fail(ST_LIMIT,
                           "a message of %zu bytes is over the limit of %d",
                           len, WORLD_MAX_MESSAGE);
    TRY(prescan_read_envelope(&e, data, len));
    TRY(envelope(&m, &e));
    TRY(world_decode(&m, data, len));
    TRY(check(&m));
    *out = m;
    return ST_OK;
fail:
    world_message_fini(&m);
    return st;
}

void
world_message_fini(world_message *m)
{
    if (!m)
        return;
    switch ((int)m->kind) {
    case WORLD_HELLO:
        mem_free(m->u.hello.version);
        mem_free(m->u.hello.model_dir);
        mem_free(m->u.hello.placement);
        mem_free(m->u.hello.device);
        mem_free(m->u.hello.device_name);
        mem_free(m->u.hello.layer_bytes);
        break;
    case WORLD_JOB_DONE:
        mem_free(m->u.job_done.finish);
        break;
    case WORLD_JOB_FAILED:
    case WORLD_REFUSE:
        mem_free(m->u.failed.code);
        mem_free(m->u.failed.text);
        break;
    default: /* nothing owned */
        break;
    }
    *m = (world_message){.job = 0};
}
