/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's side of a job, heard and checked. */
#include "tests/worker/errand_rig.h"

#include <math.h>
#include <string.h>

#include "base/crc.h"
#include "base/mem.h"
#include "proto/snapshot.h"
#include "tests/expect.h"
#include "worker/seen.h"

static void
take_part(errand_rig *r, const world_message *m, const void *raw, size_t len)
{
    size_t layer = errand_layer_bytes(&r->shape, m->u.checkpoint.layer);
    uint8_t *to = r->states;
    for (uint32_t l = 0; l < m->u.checkpoint.layer; l++)
        to += errand_layer_bytes(&r->shape, l);
    assert_true(to != NULL && r->checkpoint == 0); /* one at a time */
    assert_int_equal(m->u.checkpoint.total, layer);
    assert_true(m->u.checkpoint.offset + len <= layer);
    memcpy(to + m->u.checkpoint.offset, raw, len);
    if (m->u.checkpoint.offset + len < layer)
        return;
    assert_true(crc_add(0, to, layer) == m->u.checkpoint.crc);
    for (uint32_t l = m->u.checkpoint.layer + 1; l < r->shape.model->n_layer;
         l++)
        if (errand_layer_bytes(&r->shape, l) > 0)
            return;
    r->checkpoint = m->u.checkpoint.segment;
    r->n_checkpoint++;
}

/* Of a token that nobody forced: of the model's distribution, whatever the
 * penalty and the temperature are. */
static void
check_logprob(const errand_rig *r, const world_message *m)
{
    size_t n = r->t->model.n_vocab;
    const float *row = r->j->last_logits + m->u.token.index * n;
    double total = 0;

    if (m->u.token.id != r->j->token[m->u.token.index])
        return;
    for (size_t i = 0; i < n; i++)
        total += exp((double)row[i]);
    assert_true(fabs((double)m->u.token.logprob -
                     ((double)row[m->u.token.id] - log(total))) < 1e-5);
}

static status
heard(void *ctx, const world_message *m, const void *raw, size_t len)
{
    errand_rig *r = ctx;
    if (r->n_sent++ % 3 == 1)
        return status_fail(ST_TIMEOUT, "later");
    assert_int_equal(m->job, ERRAND_RIG_JOB);
    assert_int_equal(m->attempt, ERRAND_RIG_ATTEMPT);
    assert_false(r->over);
    switch ((int)m->kind) {
    case WORLD_CREDIT:
        r->credit += m->u.credit.segments;
        break;
    case WORLD_SEGMENTS_DONE:
        assert_true(m->u.segments_done.segments > r->done);
        r->done = m->u.segments_done.segments;
        break;
    case WORLD_TOKEN:
        assert_int_equal(m->u.token.index, r->n_token);
        check_logprob(r, m);
        r->token[r->n_token++] = m->u.token.id;
        break;
    case WORLD_SNAPSHOT:
        assert_int_equal(m->u.snapshot.offset, r->snapshot_len);
        assert_int_equal(m->u.snapshot.total, r->snapshot_bytes);
        memcpy(r->snapshot + r->snapshot_len, raw, len);
        r->snapshot_len += len;
        memcpy(r->snapshot_hash, m->u.snapshot.hash, HASH_BYTES);
        break;
    case WORLD_CHECKPOINT:
        take_part(r, m, raw, len);
        break;
    case WORLD_JOB_DONE:
        r->over = true;
        strncpy(r->finish, m->u.job_done.finish, sizeof r->finish - 1);
        break;
    case WORLD_JOB_FAILED:
        r->over = true;
        strncpy(r->code, m->u.failed.code, sizeof r->code - 1);
        strncpy(r->text, m->u.failed.text, sizeof r->text - 1);
        break;
    default:
        fail_msg("message %d", (int)m->kind);
    }
    return ST_OK;
}

static void
on_event(void *ctx, const world_event *ev)
{
    errand_rig *r = ctx;
    assert_true(errand_has_stream(r->e, ev->stream));
    errand_event(r->e, ev);
}

static bool
is_kind(const world_case *t, errand_rig_kind k)
{
    const model_config *m = &t->model;
    bool assoc = m->memory == CONFIG_MEMORY_ASSOC;
    switch (k) {
    case ERRAND_RIG_ROLLOVER:
        return assoc && m->window && world_case_rolled(t, &t->job[0]) > 0;
    case ERRAND_RIG_TOKENS:
        return m->memory == CONFIG_MEMORY_TOKENS;
    case ERRAND_RIG_CACHE:
        return m->memory == CONFIG_MEMORY_CACHE;
    default:
        return assoc && m->l2_norm && !m->window && m->bare[0] == 0;
    }
}

/* The first random case whose first job has everything. */
static void
find_case(errand_rig *r, errand_rig_kind k)
{
    for (uint64_t number = 1;; number++) {
        assert_true(number < 50000);
        EXPECT_OK(world_case_new(&r->t, number, 0, 1));
        r->j = &r->t->job[0];
        if (r->j->first_seg > 0 && r->j->n_write > 10 && r->j->n_draw > 2 &&
            r->j->n_tail == r->t->model.segment_size && r->j->temperature > 0 &&
            seen_matters(r->j->penalty) && is_kind(r->t, k))
            return;
        world_case_free(r->t);
    }
}

void
errand_rig_open_kind(errand_rig *r, errand_rig_kind k)
{
    static char name[] = "test";
    char *arg[] = {name, NULL};
    char **argv = arg;
    int argc = 1;
    *r = (errand_rig){0};
    find_case(r, k);
    const model_config *m = &r->t->model;
    EXPECT_OK(world_case_solve(r->t));
    EXPECT_OK(comm_open(&r->c, &argc, &argv));
    EXPECT_OK(world_case_open(&r->rank, r->t, false));
    EXPECT_OK(world_new(&r->w, r->c, r->rank.engine, &r->t->place));
    r->shape = (errand_shape){.model = m,
                              .credit_segments = ERRAND_RIG_CREDIT,
                              .max_generate = WORLD_CASE_MAX_DRAW};
    memset(r->shape.fingerprint, 0x5a, sizeof r->shape.fingerprint);
    errand_shape_bytes(&r->shape, KERNEL_F32);
    assert_int_equal(r->shape.token_bytes > 0, k == ERRAND_RIG_CACHE);
    EXPECT_OK(snapshot_bytes(&r->snapshot_bytes,
                             r->shape.state_bytes + r->j->first_seg *
                                                        m->segment_size *
                                                        r->shape.token_bytes));
    EXPECT_OK(mem_new(&r->snapshot, r->snapshot_bytes, 1));
    EXPECT_OK(errand_new(&r->e, r->w, &r->shape, heard, r));
    world_on_event(r->w, on_event, r);
}

void
errand_rig_open(errand_rig *r)
{
    errand_rig_open_kind(r, ERRAND_RIG_PLAIN);
}

void
errand_rig_close(errand_rig *r)
{
    EXPECT_OK(world_stop(r->w));
    errand_free(r->e);
    world_free(r->w);
    world_case_close(&r->rank);
    comm_close(r->c);
    mem_free(r->states);
    mem_free(r->snapshot);
    world_case_free(r->t);
}

void
errand_rig_forget(errand_rig *r)
{
    r->credit = r->done = 0;
    r->n_token = 0;
    r->snapshot_len = 0;
    r->over = false;
    r->finish[0] = r->code[0] = r->text[0] = 0;
}

void
errand_rig_turn(errand_rig *r)
{
    bool busy = false;
    EXPECT_OK(errand_step(r->e, &busy));
    EXPECT_OK(world_turn(r->w, &busy));
}

void
errand_rig_finish(errand_rig *r)
{
    int n = 0;
    while (!r->over || !errand_is_idle(r->e)) {
        errand_rig_turn(r);
        assert_true(n++ < ERRAND_RIG_MAX_TURN);
    }
    assert_int_equal(world_streams_open(r->w), 0);
}

world_message
errand_rig_message(world_kind kind)
{
    return (world_message){
        .kind = kind, .job = ERRAND_RIG_JOB, .attempt = ERRAND_RIG_ATTEMPT};
}

world_message
errand_rig_begin(const errand_rig *r, bool answer)
{
    world_message m = errand_rig_message(WORLD_BEGIN);
    m.u.begin.first_segment = r->j->first_seg;
    m.u.begin.snapshot_bytes = r->snapshot_bytes;
    m.u.begin.n_segment = r->j->n_write;
    m.u.begin.want_snapshot = !answer;
    if (answer) {
        m.u.begin.generate.max_tokens = r->j->n_draw;
        m.u.begin.generate.temperature = r->j->temperature;
        m.u.begin.generate.penalty = r->j->penalty;
        m.u.begin.generate.logprobs = true;
        m.u.begin.generate.top_p = 1;
        m.u.begin.generate.seed = 7;
    }
    return m;
}

uint8_t *
errand_rig_sealed(const errand_rig *r, const uint8_t *states,
                  uint64_t n_segment)
{
    uint8_t *data = NULL;
    size_t len = r->snapshot_bytes;
    snapshot_info info = {.n_layer = r->t->model.n_layer,
                          .state_bytes = r->snapshot_bytes - SNAPSHOT_HEADER,
                          .n_segment = n_segment};
    memcpy(info.fingerprint, r->shape.fingerprint, sizeof info.fingerprint);
    EXPECT_OK(mem_new(&data, len, 1));
    memcpy(data + SNAPSHOT_HEADER, states, len - SNAPSHOT_HEADER);
    EXPECT_OK(snapshot_seal(data, len, &info));
    return data;
}

uint8_t *
errand_rig_snapshot(const errand_rig *r)
{
    return errand_rig_sealed(r, r->j->before, r->j->first_seg);
}

void
errand_rig_send_snapshot(errand_rig *r, const uint8_t *data)
{
    size_t len = r->snapshot_bytes;
    size_t half = len / 2;
    world_message m = errand_rig_message(WORLD_SNAPSHOT);
    hash h;
    hash_init(&h);
    hash_add(&h, data, len);
    m.u.snapshot.total = len;
    errand_part(r->e, &m, data, half);
    m.u.snapshot.offset = half;
    m.u.snapshot.last = true;
    hash_end(&h, m.u.snapshot.hash);
    errand_part(r->e, &m, data + half, len - half);
}

void
errand_rig_send_segment(errand_rig *r, uint64_t i)
{
    world_message m = errand_rig_message(WORLD_SEGMENT_IDS);
    uint32_t n = 0;
    uint64_t seg = r->j->first_seg + i;
    const int32_t *ids = world_case_ids(r->t, r->j, seg, &n);
    m.u.segment_ids.segment = seg;
    m.u.segment_ids.prompt = i == r->j->n_write;
    errand_segment(r->e, &m, (const uint8_t *)ids, n * sizeof *ids);
}

void
errand_rig_send_some(errand_rig *r, uint64_t first, uint64_t n)
{
    int n_turn = 0;
    for (uint64_t i = first; i < n && !r->over && r->checkpoint == 0;) {
        for (; i < n && i - first < ERRAND_RIG_CREDIT + r->credit; i++)
            errand_rig_send_segment(r, i);
        errand_rig_turn(r);
        assert_true(n_turn++ < ERRAND_RIG_MAX_TURN);
    }
}

void
errand_rig_send_all(errand_rig *r, bool answer)
{
    errand_rig_send_some(r, 0, r->j->n_write + answer);
}

void
errand_rig_start(errand_rig *r, const world_message *begin)
{
    uint8_t *data = errand_rig_snapshot(r);
    errand_rig_forget(r);
    errand_begin(r->e, begin, NULL, 0);
    assert_true(errand_is(r->e, ERRAND_RIG_JOB, ERRAND_RIG_ATTEMPT));
    errand_rig_send_snapshot(r, data);
    mem_free(data);
}
