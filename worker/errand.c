/* SPDX-License-Identifier: Apache-2.0 */
/* A job from the daemon's messages to its end. */
#include "worker/errand.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/mem.h"
#include "proto/snapshot.h"
#include "worker/errand_impl.h"
#include "worker/seen.h"

status
errand_new(errand **out, world *w, const errand_shape *shape,
           errand_send_fn *send, void *ctx)
{
    errand *e = NULL;
    status st = ST_OK;
    size_t n = 0;

    TRY(mem_new(&e, 1, sizeof *e));
    e->w = w;
    e->shape = *shape;
    e->send = send;
    e->ctx = ctx;
    TRY(size_mul(&n, shape->credit_segments, shape->model->segment_size));
    TRY(mem_new(&e->ids, n, sizeof *e->ids));
    TRY(decode_init(&e->decode, shape->model));
    TRY(mem_new(&e->n_token, shape->credit_segments, sizeof *e->n_token));
    *out = e;
    return ST_OK;
fail:
    errand_free(e);
    return st;
}

void
errand_free(errand *e)
{
    if (e == NULL)
        return;
    decode_fini(&e->decode);
    errand_checkpoint_fini(e);
    mem_free(e->snapshot);
    mem_free(e->restore);
    mem_free(e->forced);
    mem_free(e->n_token);
    mem_free(e->ids);
    mem_free(e);
}

bool
errand_is_idle(const errand *e)
{
    return e->state == ERRAND_IDLE;
}

bool
errand_is(const errand *e, uint64_t job, uint32_t attempt)
{
    return e->state != ERRAND_IDLE && !e->dropped && e->job == job &&
           e->attempt == attempt;
}

bool
errand_has_stream(const errand *e, uint32_t id)
{
    return e->has_stream && e->stream == id;
}

uint64_t
errand_tokens(errand *e)
{
    uint64_t n = e->n_token_fed - e->n_token_counted;
    e->n_token_counted = e->n_token_fed;
    return n;
}

void
errand_shape_bytes(errand_shape *s, kernel_type compute)
{
    uint32_t size = s->model->segment_size;
    const memory_past one = {.n_token = size, .n_last = size};
    const memory_past two = {.n_token = 2 * (uint64_t)size, .n_last = size};
    size_t n = memory_states_bytes(s->model, compute, &one);
    s->compute = compute;
    s->token_bytes = (memory_states_bytes(s->model, compute, &two) - n) / size;
    s->state_bytes = n - size * s->token_bytes;
}

size_t
errand_layer_bytes(const errand_shape *s, uint32_t layer)
{
    uint32_t size = s->model->segment_size;
    const memory_past past = {.n_token = size, .n_last = size};
    return memory_state_bytes(s->model, s->compute, layer, &past);
}

size_t
errand_snapshot_bytes(const errand *e, uint64_t n)
{
    const errand_shape *s = &e->shape;
    return SNAPSHOT_HEADER + s->state_bytes +
           (size_t)n * s->model->segment_size * s->token_bytes;
}

uint64_t
errand_n_input(const errand *e)
{
    return e->n_segment + (e->generate.max_tokens > 0);
}

/* ---------------------------------------------------------------- ends --- */

void
errand_end(errand *e)
{
    if (e->state == ERRAND_END)
        return;
    e->state = ERRAND_END;
    mem_free(e->restore);
    e->restore = NULL;
    e->n_queued = 0;
    if (e->has_stream)
        world_close(e->w, e->stream);
}

void
errand_fail(errand *e, status st)
{
    if (e->state == ERRAND_END)
        return;
    e->result = st;
    snprintf(e->text, sizeof e->text, "%s", status_text());
    errand_end(e);
}

void
errand_cancel(errand *e)
{
    errand_fail(e, status_fail(ST_CANCELED, "the job was canceled"));
}

/* What is nearly read is read to its end; answers go on from their tokens. */
void
errand_drain(errand *e)
{
    bool reading = e->state == ERRAND_RUN && e->keep.every > 0;
    bool read = e->state == ERRAND_RUN && e->n_taken == e->n_segment &&
                e->want_snapshot;
    if (e->state == ERRAND_IDLE || read)
        return;
    e->draining = true;
    if (!reading)
        errand_fail(e, status_fail(ST_CANCELED, "the world was drained"));
}

void
errand_drop(errand *e)
{
    if (e->state == ERRAND_IDLE)
        return;
    e->dropped = true;
    errand_cancel(e);
}

/* --------------------------------------------------------------- begin --- */

static status
check_begin(const errand *e, const world_message *m)
{
    const errand_shape *s = &e->shape;
    uint64_t n = m->u.begin.n_segment;
    uint32_t most = m->u.begin.generate.max_tokens;
    if ((m->u.begin.first_segment > 0) != (m->u.begin.snapshot_bytes > 0))
        return status_fail(ST_WIRE,
                           "a job from segment %llu on with a "
                           "snapshot of %llu bytes",
                           (unsigned long long)m->u.begin.first_segment,
                           (unsigned long long)m->u.begin.snapshot_bytes);
    /* No number of bytes or tokens overflows. */
    uint64_t most_segment =
        UINT64_MAX / 4 / s->model->segment_size / (s->token_bytes + 1);
    if (n > most_segment || m->u.begin.first_segment > most_segment)
        return status_fail(ST_LIMIT, "a job of too many segments");
    if (m->u.begin.snapshot_bytes > 0 &&
        m->u.begin.snapshot_bytes !=
            errand_snapshot_bytes(e, m->u.begin.first_segment))
        return status_fail(
            ST_ARG,
            "the document's snapshot has %llu bytes, that of this model has "
            "%zu",
            (unsigned long long)m->u.begin.snapshot_bytes,
            errand_snapshot_bytes(e, m->u.begin.first_segment));
    if (n == 0 && (most == 0 || m->u.begin.want_snapshot))
        return status_fail(ST_ARG, "a job without segments to read");
    if (most > s->max_generate)
        return status_fail(ST_LIMIT,
                           "an answer of %u tokens; this world gives at most "
                           "%u (--max-generate)",
                           most, s->max_generate);
    return seen_check(s->model, m->u.begin.generate.penalty,
                      (uint64_t)s->model->segment_size + most);
}

static int32_t
read_id(const uint8_t *raw)
{
    uint32_t u = (uint32_t)raw[0] | (uint32_t)raw[1] << 8 |
                 (uint32_t)raw[2] << 16 | (uint32_t)raw[3] << 24;
    return (int32_t)u;
}

static status
take_forced(errand *e, uint32_t n, const uint8_t *raw, size_t len)
{
    status st = ST_OK;
    if (len != n * sizeof *e->forced)
        return status_fail(ST_WIRE, "%u tokens in %zu bytes", n, len);
    TRY(mem_new(&e->forced, n, sizeof *e->forced));
    e->n_forced = n;
    for (uint32_t i = 0; i < n; i++) {
        e->forced[i] = read_id(raw + 4 * i);
        if (e->forced[i] < 0 ||
            (uint32_t)e->forced[i] >= e->shape.model->n_vocab)
            TRY(status_fail(ST_ARG, "token id %d is not below %u", e->forced[i],
                            e->shape.model->n_vocab));
    }
fail:
    return st;
}

void
errand_begin(errand *e, const world_message *m, const uint8_t *raw, size_t len)
{
    errand fresh = {.w = e->w,
                    .shape = e->shape,
                    .send = e->send,
                    .ctx = e->ctx,
                    .ids = e->ids,
                    .n_token = e->n_token,
                    .decode = e->decode,
                    .job = m->job,
                    .attempt = m->attempt,
                    .start_ns = clock_ns(),
                    .first_segment = m->u.begin.first_segment,
                    .n_segment = m->u.begin.n_segment,
                    .n_token_most = m->u.begin.n_token,
                    .want_snapshot = m->u.begin.want_snapshot,
                    .generate = m->u.begin.generate,
                    .state = ERRAND_RESTORE};

    FAULT_POINT(LEAD_BEGIN);
    status st = check_begin(e, m);

    mem_free(e->forced);
    errand_checkpoint_fini(e);
    *e = fresh;
    decode_clear(&e->decode); /* of a job that ended before its token was fed */
    errand_checkpoint_init(e, m);
    if (st == ST_OK && m->u.begin.n_forced > 0)
        st = take_forced(e, m->u.begin.n_forced, raw, len);
    if (e->generate.top_p == 0)
        e->generate.top_p = 1;
    if (st != ST_OK) {
        errand_fail(e, st);
    } else if (m->u.begin.snapshot_bytes == 0) {
        errand_open(e);
    } else {
        st = mem_new(&e->restore, m->u.begin.snapshot_bytes, 1);
        hash_init(&e->restore_hash);
        if (st != ST_OK)
            errand_fail(e, st);
    }
}

/* At most, drawn ones too. */
static uint64_t
tokens_to_come(const errand *e)
{
    uint64_t size = e->shape.model->segment_size;
    uint64_t most = errand_n_input(e) * size + e->generate.max_tokens;
    uint64_t before = e->first_segment * size;

    if (e->n_token_most == 0 || e->n_token_most >= before + most)
        return most;
    return e->n_token_most > before ? e->n_token_most - before : 0;
}

void
errand_open(errand *e)
{
    const void *states =
        e->restore == NULL ? NULL : e->restore + SNAPSHOT_HEADER;
    uint64_t size = e->shape.model->segment_size;
    world_stream s = {
        .first_seg = e->first_segment,
        .past = {.n_token = e->first_segment * size,
                 .n_last = e->first_segment > 0 ? (uint32_t)size : 0},
        .n_write = e->n_segment,
        .n_token = tokens_to_come(e),
        .prompt = e->generate.max_tokens > 0,
        .priority = e->generate.max_tokens > 0,
        .states = states};
    status st = world_open(e->w, &e->stream, &s);
    mem_free(e->restore);
    e->restore = NULL;
    if (st != ST_OK) {
        errand_fail(e, st);
        return;
    }
    e->has_stream = true;
    e->state = ERRAND_RUN;
}

/* ------------------------------------------------------------- restore --- */

static status
check_snapshot(errand *e, const uint8_t wire_hash[HASH_BYTES])
{
    status st = ST_OK;
    uint8_t sum[HASH_BYTES];
    snapshot_info info = {0};

    hash_end(&e->restore_hash, sum);
    if (memcmp(sum, wire_hash, sizeof sum) != 0)
        return status_fail(ST_WIRE, "the snapshot's parts do not add up to "
                                    "its hash");
    TRY(snapshot_check(&info, e->restore,
                       errand_snapshot_bytes(e, e->first_segment)));
    if (info.n_layer != e->shape.model->n_layer ||
        memcmp(info.fingerprint, e->shape.fingerprint,
               sizeof info.fingerprint) != 0)
        return status_fail(ST_ARG, "the snapshot is of another model");
    if (info.n_segment != e->first_segment)
        return status_fail(ST_ARG, "the snapshot is of %llu segments, not %llu",
                           (unsigned long long)info.n_segment,
                           (unsigned long long)e->first_segment);
fail:
    return st;
}

void
errand_part(errand *e, const world_message *m, const uint8_t *raw, size_t len)
{
    uint64_t total = errand_snapshot_bytes(e, e->first_segment);
    status st = ST_OK;

    if (e->state == ERRAND_END)
        return;
    if (e->state != ERRAND_RESTORE || len == 0 ||
        m->u.snapshot.offset != e->restore_at || m->u.snapshot.total != total ||
        len > total - e->restore_at) {
        errand_fail(e, status_fail(ST_WIRE, "a part of a snapshot that was "
                                            "not due"));
        return;
    }
    memcpy(e->restore + e->restore_at, raw, len);
    hash_add(&e->restore_hash, raw, len);
    e->restore_at += len;
    if (m->u.snapshot.last != (e->restore_at == total))
        st = status_fail(ST_WIRE, "the last part of a snapshot does not end "
                                  "it");
    else if (e->restore_at == total)
        st = check_snapshot(e, m->u.snapshot.hash);
    if (st != ST_OK)
        errand_fail(e, st);
    else if (e->restore_at == total)
        errand_open(e);
}

/* ------------------------------------------------------------ segments --- */

static status
put_segment(errand *e, const world_message *m, const uint8_t *raw, size_t len)
{
    uint32_t n_cap = e->shape.credit_segments;
    size_t n = len / 4;
    bool prompt = e->n_received == e->n_segment;
    if (e->state != ERRAND_RUN || e->n_received >= errand_n_input(e) ||
        m->u.segment_ids.segment != e->first_segment + e->n_received ||
        m->u.segment_ids.prompt != prompt)
        return status_fail(ST_WIRE, "segment %llu was not due",
                           (unsigned long long)m->u.segment_ids.segment);
    if (e->n_queued == n_cap)
        return status_fail(ST_WIRE, "more segments than there were credits");
    if (len % 4 != 0 || n == 0 || n > e->shape.model->segment_size ||
        n + e->generate.max_tokens > tokens_to_come(e) - e->n_token_come)
        return status_fail(ST_WIRE, "a segment of %zu bytes", len);
    uint32_t slot = (e->first + e->n_queued) % n_cap;
    int32_t *ids = e->ids + (size_t)slot * e->shape.model->segment_size;
    for (size_t i = 0; i < n; i++) {
        ids[i] = read_id(raw + 4 * i);
        if (ids[i] < 0 || (uint32_t)ids[i] >= e->shape.model->n_vocab)
            return status_fail(ST_ARG, "token id %d is not below %u", ids[i],
                               e->shape.model->n_vocab);
    }
    e->n_token[slot] = (uint32_t)n;
    e->n_token_come += n;
    e->n_queued++;
    e->n_received++;
    return ST_OK;
}

void
errand_segment(errand *e, const world_message *m, const uint8_t *raw,
               size_t len)
{
    if (e->state == ERRAND_END)
        return;
    status st = put_segment(e, m, raw, len);
    if (st != ST_OK)
        errand_fail(e, st);
}
