/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs on a world of one rank, the daemon played by the test: documents,
 * answers and their bits; and every kind of message that is wrong. */
#include "worker/errand.h"

#include <math.h>
#include <string.h>

#include "base/crc.h"
#include "base/hash.h"
#include "base/mem.h"
#include "proto/snapshot.h"
#include "tests/expect.h"
#include "tests/worker/world_case.h"
#include "worker/seen.h"

enum { JOB = 11, ATTEMPT = 2, CREDIT = 8, MAX_TURN = 5000 };

typedef struct rig {
    world_case *t;
    const world_case_job *j;
    comm *c;
    world_case_rank rank;
    world *w;
    errand *e;
    errand_shape shape;
    uint32_t n_sent; /* every third send is put off */

    /* what the daemon has heard */
    uint64_t credit, done;
    int32_t token[WORLD_CASE_MAX_DRAW];
    uint32_t n_token;
    uint8_t *snapshot;
    size_t snapshot_len, snapshot_bytes;
    uint8_t snapshot_hash[HASH_BYTES];
    uint8_t *states;     /* of the checkpoint that comes, NULL: none wanted */
    uint64_t checkpoint; /* segments that it has, once it is whole */
    uint32_t n_checkpoint;
    bool over;
    char finish[16], code[16], text[256];
} rig;

static void
take_part(rig *r, const world_message *m, const void *raw, size_t len)
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
check_logprob(const rig *r, const world_message *m)
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
    rig *r = ctx;
    if (r->n_sent++ % 3 == 1)
        return status_fail(ST_TIMEOUT, "later");
    assert_int_equal(m->job, JOB);
    assert_int_equal(m->attempt, ATTEMPT);
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
    rig *r = ctx;
    assert_true(errand_has_stream(r->e, ev->stream));
    errand_event(r->e, ev);
}

/* What answers are tested with. */
typedef enum kind {
    KIND_PLAIN = 0,
    KIND_ROLLOVER, /* with a window, over a segment's end */
    KIND_TOKENS,
    KIND_CACHE,
    KIND_COUNT
} kind;

static bool
is_kind(const world_case *t, kind k)
{
    const model_config *m = &t->model;
    bool assoc = m->memory == CONFIG_MEMORY_ASSOC;
    switch (k) {
    case KIND_ROLLOVER:
        return assoc && m->window && world_case_rolled(t, &t->job[0]) > 0;
    case KIND_TOKENS:
        return m->memory == CONFIG_MEMORY_TOKENS;
    case KIND_CACHE:
        return m->memory == CONFIG_MEMORY_CACHE;
    default:
        return assoc && m->l2_norm && !m->window && m->bare[0] == 0;
    }
}

/* The first random case whose first job has everything. */
static void
find_case(rig *r, kind k)
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

static void
rig_open_kind(rig *r, kind k)
{
    static char name[] = "test";
    char *arg[] = {name, NULL};
    char **argv = arg;
    int argc = 1;
    *r = (rig){0};
    find_case(r, k);
    const model_config *m = &r->t->model;
    EXPECT_OK(world_case_solve(r->t));
    EXPECT_OK(comm_open(&r->c, &argc, &argv));
    EXPECT_OK(world_case_open(&r->rank, r->t, false));
    EXPECT_OK(world_new(&r->w, r->c, r->rank.engine, &r->t->place));
    r->shape = (errand_shape){.model = m,
                              .credit_segments = CREDIT,
                              .max_generate = WORLD_CASE_MAX_DRAW};
    memset(r->shape.fingerprint, 0x5a, sizeof r->shape.fingerprint);
    errand_shape_bytes(&r->shape, KERNEL_F32);
    assert_int_equal(r->shape.token_bytes > 0, k == KIND_CACHE);
    EXPECT_OK(snapshot_bytes(&r->snapshot_bytes,
                             r->shape.state_bytes + r->j->first_seg *
                                                        m->segment_size *
                                                        r->shape.token_bytes));
    EXPECT_OK(mem_new(&r->snapshot, r->snapshot_bytes, 1));
    EXPECT_OK(errand_new(&r->e, r->w, &r->shape, heard, r));
    world_on_event(r->w, on_event, r);
}

static void
rig_open(rig *r)
{
    rig_open_kind(r, KIND_PLAIN);
}

static void
rig_close(rig *r)
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

/* What the daemon heard of an earlier job is forgotten. */
static void
forget(rig *r)
{
    r->credit = r->done = 0;
    r->n_token = 0;
    r->snapshot_len = 0;
    r->over = false;
    r->finish[0] = r->code[0] = r->text[0] = 0;
}

static void
turn(rig *r)
{
    bool busy = false;
    EXPECT_OK(errand_step(r->e, &busy));
    EXPECT_OK(world_turn(r->w, &busy));
}

static void
run_to_end(rig *r)
{
    int n = 0;
    while (!r->over || !errand_is_idle(r->e)) {
        turn(r);
        assert_true(n++ < MAX_TURN);
    }
    assert_int_equal(world_streams_open(r->w), 0);
}

static world_message
message(world_kind kind)
{
    return (world_message){.kind = kind, .job = JOB, .attempt = ATTEMPT};
}

/* The job from its snapshot on, as the daemon begins it. */
static world_message
begin_of(const rig *r, bool answer)
{
    world_message m = message(WORLD_BEGIN);
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

/* The snapshot of the states after n segments; mem_free(). */
static uint8_t *
sealed(const rig *r, const uint8_t *states, uint64_t n_segment)
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

static uint8_t *
snapshot_of(const rig *r)
{
    return sealed(r, r->j->before, r->j->first_seg);
}

static void
send_snapshot(rig *r, const uint8_t *data)
{
    size_t len = r->snapshot_bytes;
    size_t half = len / 2;
    world_message m = message(WORLD_SNAPSHOT);
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

static void
send_segment(rig *r, uint64_t i)
{
    world_message m = message(WORLD_SEGMENT_IDS);
    uint32_t n = 0;
    uint64_t seg = r->j->first_seg + i;
    const int32_t *ids = world_case_ids(r->t, r->j, seg, &n);
    m.u.segment_ids.segment = seg;
    m.u.segment_ids.prompt = i == r->j->n_write;
    errand_segment(r->e, &m, (const uint8_t *)ids, n * sizeof *ids);
}

/* Segments first .. n - 1, as credit allows, until a checkpoint is there. */
static void
send_some(rig *r, uint64_t first, uint64_t n)
{
    int n_turn = 0;
    for (uint64_t i = first; i < n && !r->over && r->checkpoint == 0;) {
        for (; i < n && i - first < CREDIT + r->credit; i++)
            send_segment(r, i);
        turn(r);
        assert_true(n_turn++ < MAX_TURN);
    }
}

static void
send_all(rig *r, bool answer)
{
    send_some(r, 0, r->j->n_write + answer);
}

static void
start(rig *r, const world_message *begin)
{
    uint8_t *data = snapshot_of(r);
    forget(r);
    errand_begin(r->e, begin, NULL, 0);
    assert_true(errand_is(r->e, JOB, ATTEMPT));
    send_snapshot(r, data);
    mem_free(data);
}

/* ---------------------------------------------------------------- jobs --- */

static void
test_document(void **ctx)
{
    rig r;
    snapshot_info info;
    uint8_t sum[HASH_BYTES];
    hash h;
    (void)ctx;
    rig_open(&r);
    for (int round = 0; round < 2; round++) {
        world_message m = begin_of(&r, false);
        start(&r, &m);
        send_all(&r, false);
        run_to_end(&r);
        assert_string_equal(r.code, "");
        assert_int_equal(r.done, r.j->n_write);
        assert_int_equal(r.snapshot_len, r.snapshot_bytes);
        EXPECT_OK(snapshot_check(&info, r.snapshot, r.snapshot_len));
        assert_int_equal(info.n_segment, r.j->first_seg + r.j->n_write);
        assert_memory_equal(info.fingerprint, r.shape.fingerprint, 32);
        assert_memory_equal(r.snapshot + SNAPSHOT_HEADER, r.j->after,
                            r.snapshot_len - SNAPSHOT_HEADER);
        hash_init(&h);
        hash_add(&h, r.snapshot, r.snapshot_len);
        hash_end(&h, sum);
        assert_memory_equal(sum, r.snapshot_hash, HASH_BYTES);
    }
    rig_close(&r);
}

static void
check_answer(kind k)
{
    rig r;
    rig_open_kind(&r, k);
    world_message m = begin_of(&r, true);
    start(&r, &m);
    send_all(&r, true);
    run_to_end(&r);
    assert_string_equal(r.code, "");
    assert_string_equal(r.finish, "length");
    assert_int_equal(r.n_token, r.j->n_draw);
    assert_memory_equal(r.token, r.j->token, r.n_token * sizeof *r.token);
    assert_int_equal(r.snapshot_len, 0);

    /* An end token is told and ends the answer. */
    m.u.begin.generate.n_eos = 2;
    m.u.begin.generate.eos[0] = -1;
    m.u.begin.generate.eos[1] = r.j->token[0];
    start(&r, &m);
    send_all(&r, true);
    run_to_end(&r);
    assert_string_equal(r.finish, "eos");
    assert_int_equal(r.n_token, 1);
    assert_int_equal(r.token[0], r.j->token[0]);
    rig_close(&r);
}

static void
test_answer(void **ctx)
{
    (void)ctx;
    for (int k = 0; k < KIND_COUNT; k++)
        check_answer((kind)k);
}

/* At every turn from the first to the last. */
static void
test_cancel(void **ctx)
{
    rig r;
    (void)ctx;
    rig_open(&r);
    for (int at = 0; at < 40; at++) {
        world_message m = begin_of(&r, at % 2 == 0);
        start(&r, &m);
        for (uint64_t i = 0; i < CREDIT; i++)
            send_segment(&r, i);
        for (int i = 0; i < at; i++)
            turn(&r);
        errand_cancel(r.e);
        send_segment(&r, CREDIT); /* crosses the cancel: no harm */
        run_to_end(&r);
        assert_string_equal(r.code, "canceled");
    }
    /* Dropped: nothing more is told. */
    world_message m = begin_of(&r, true);
    start(&r, &m);
    send_segment(&r, 0);
    turn(&r);
    errand_drop(r.e);
    assert_false(errand_is(r.e, JOB, ATTEMPT));
    while (!errand_is_idle(r.e))
        turn(&r);
    assert_false(r.over);
    rig_close(&r);
}

/* ------------------------------------------------------ wrong messages --- */

static void
expect_failed(rig *r, const char *code)
{
    run_to_end(r);
    assert_string_equal(r->code, code);
    assert_true(r->text[0] != 0);
}

static void
test_bad_begin(void **ctx)
{
    rig r;
    (void)ctx;
    rig_open(&r);
    for (int i = 0; i < 7; i++) {
        world_message m = begin_of(&r, true);
        const char *code = "wire";
        if (i == 0)
            m.u.begin.snapshot_bytes = 0;
        if (i == 1)
            m.u.begin.first_segment = 0;
        if (i == 2) {
            m.u.begin.snapshot_bytes--;
            code = "arg";
        }
        if (i == 3) {
            m.u.begin.n_segment = UINT64_MAX;
            code = "limit";
        }
        if (i == 4) {
            m.u.begin.n_segment = 0;
            m.u.begin.generate.max_tokens = 0;
            code = "arg";
        }
        if (i == 5) {
            m.u.begin.generate.max_tokens = WORLD_CASE_MAX_DRAW + 1;
            code = "limit";
        }
        if (i == 6) {
            m.u.begin.n_segment = 0;
            m.u.begin.want_snapshot = true;
            code = "arg";
        }
        forget(&r);
        errand_begin(r.e, &m, NULL, 0);
        expect_failed(&r, code);
    }
    rig_close(&r);
}

static void
test_bad_snapshot(void **ctx)
{
    rig r;
    (void)ctx;
    rig_open(&r);
    size_t len = r.snapshot_bytes;
    /* Another model, another number of segments, a flipped bit. */
    for (int i = 0; i < 3; i++) {
        uint8_t *data = snapshot_of(&r);
        snapshot_info info;
        world_message m = begin_of(&r, true);
        EXPECT_OK(snapshot_check(&info, data, len));
        info.fingerprint[3] ^= i == 0;
        info.n_segment += i == 1;
        if (i < 2)
            EXPECT_OK(snapshot_seal(data, len, &info));
        data[len - 3] ^= i == 2;
        forget(&r);
        errand_begin(r.e, &m, NULL, 0);
        send_snapshot(&r, data);
        run_to_end(&r);
        assert_true(r.code[0] != 0);
        mem_free(data);
    }
    /* Parts that are out of order, too long, empty, or end too early; or
     * whose hash is another. */
    for (int i = 0; i < 6; i++) {
        uint8_t *data = snapshot_of(&r);
        world_message begin = begin_of(&r, true);
        world_message m = message(WORLD_SNAPSHOT);
        size_t n = i == 3 ? 0 : i == 2 ? len + 1 : i == 5 ? len : len / 2;
        m.u.snapshot.total = i == 1 ? len + 1 : len;
        m.u.snapshot.offset = i == 0 ? 1 : 0;
        m.u.snapshot.last = i >= 4;
        forget(&r);
        errand_begin(r.e, &begin, NULL, 0);
        EXPECT_OK(mem_resize(&data, len + 1, 1));
        errand_part(r.e, &m, data, n);
        expect_failed(&r, "wire");
        mem_free(data);
    }
    rig_close(&r);
}

static void
test_bad_segment(void **ctx)
{
    rig r;
    (void)ctx;
    rig_open(&r);
    uint32_t s = r.t->model.segment_size;
    for (int i = 0; i < 8; i++) {
        int32_t ids[16] = {0};
        world_message begin = begin_of(&r, true);
        world_message m = message(WORLD_SEGMENT_IDS);
        size_t len = s * sizeof *ids;
        m.u.segment_ids.segment = r.j->first_seg;
        start(&r, &begin);
        if (i == 0)
            m.u.segment_ids.segment++;
        if (i == 1)
            m.u.segment_ids.prompt = true;
        if (i == 2)
            len -= 1;
        if (i == 3)
            len = 0;
        if (i == 4)
            len += 4;
        if (i == 5)
            ids[1] = -1;
        if (i == 6)
            ids[1] = (int32_t)r.t->model.n_vocab;
        if (i == 7) { /* more than there was credit for */
            for (uint64_t seg = 0; seg < CREDIT; seg++)
                send_segment(&r, seg);
            m.u.segment_ids.segment += CREDIT;
        }
        errand_segment(r.e, &m, (const uint8_t *)ids, len);
        expect_failed(&r, i == 5 || i == 6 ? "arg" : "wire");
    }
    /* Before the snapshot is complete. */
    world_message begin = begin_of(&r, true);
    forget(&r);
    errand_begin(r.e, &begin, NULL, 0);
    send_segment(&r, 0);
    expect_failed(&r, "wire");
    rig_close(&r);
}

/* The states after the first `n` segments of the job, as a job of its own that
 * ends there gives them. */
static void
expect_states_after(rig *r, uint64_t n, const uint8_t *states)
{
    world_message m = begin_of(r, false);
    m.u.begin.n_segment = n;
    r->checkpoint = 0;
    start(r, &m);
    send_some(r, 0, n);
    run_to_end(r);
    assert_memory_equal(r->snapshot + SNAPSHOT_HEADER, states,
                        r->snapshot_bytes - SNAPSHOT_HEADER);
}

/* What is captured as the wavefront passes is what a reading that stops there
 * leaves, to the bit (T09), and capturing changes nothing. */
static void
checkpoints_are_exact(void **state)
{
    rig r;
    uint8_t *saved[32];
    uint64_t at[32];
    uint32_t n = 0;
    (void)state;
    rig_open(&r);
    size_t len = r.snapshot_bytes - SNAPSHOT_HEADER;
    EXPECT_OK(mem_new(&r.states, len, 1));
    world_message m = begin_of(&r, false);
    m.u.begin.checkpoint_segments = 2;
    start(&r, &m);
    uint64_t i = 0;
    while (!r.over) {
        for (; i < r.j->n_write && i < CREDIT + r.credit; i++)
            send_segment(&r, i);
        turn(&r);
        if (r.checkpoint == 0)
            continue;
        assert_true(n < 32);
        at[n] = r.checkpoint - r.j->first_seg;
        EXPECT_OK(mem_new(&saved[n], len, 1));
        memcpy(saved[n++], r.states, len);
        errand_kept(r.e, r.checkpoint);
        r.checkpoint = 0;
    }
    run_to_end(&r);
    assert_memory_equal(r.snapshot + SNAPSHOT_HEADER, r.j->after, len);
    assert_true(n >= 2);
    for (uint32_t k = 0; k < n; k++) {
        assert_true(k == 0 || at[k] >= at[k - 1] + 2);
        expect_states_after(&r, at[k], saved[k]);
        mem_free(saved[k]);
    }
    rig_close(&r);
}

/* What comes after the first n segments, from the states that they left. */
static void
go_on(rig *r, uint64_t n, bool answer)
{
    uint8_t *data = sealed(r, r->states, r->j->first_seg + n);
    world_message m = begin_of(r, answer);
    m.u.begin.first_segment += n;
    m.u.begin.n_segment -= n;
    forget(r);
    errand_begin(r->e, &m, NULL, 0);
    send_snapshot(r, data);
    mem_free(data);
    send_some(r, n, r->j->n_write + answer);
    run_to_end(r);
    assert_string_equal(r->code, "");
}

/* T09: a reading that ends after any of its segments and goes on from what was
 * captured there leaves the same states, and its answer is the same, to the
 * bit.  Growing states (KIND_CACHE) are not captured. */
static void
every_cut_is_exact(void **state)
{
    (void)state;
    for (int k = 0; k < KIND_CACHE; k++) {
        rig r;
        rig_open_kind(&r, (kind)k);
        size_t len = r.snapshot_bytes - SNAPSHOT_HEADER;
        EXPECT_OK(mem_new(&r.states, len, 1));
        for (uint64_t n = 1; n < r.j->n_write; n++) {
            world_message m = begin_of(&r, false);
            m.u.begin.checkpoint_segments = (uint32_t)n;
            start(&r, &m);
            send_all(&r, false);
            for (int i = 0; r.checkpoint == 0 && i < MAX_TURN; i++)
                turn(&r);
            assert_int_equal(r.checkpoint, r.j->first_seg + n);
            errand_cancel(r.e);
            run_to_end(&r);
            r.checkpoint = 0;
            go_on(&r, n, false);
            assert_memory_equal(r.snapshot + SNAPSHOT_HEADER, r.j->after, len);
            go_on(&r, n, true);
            assert_int_equal(r.n_token, r.j->n_draw);
            assert_memory_equal(r.token, r.j->token,
                                r.n_token * sizeof *r.token);
        }
        rig_close(&r);
    }
}

/* A daemon that does not keep up: two intervals ahead of what is durable
 * nothing more is read, until it is. */
static void
reading_waits_for_durable_checkpoints(void **state)
{
    rig r;
    (void)state;
    rig_open(&r);
    EXPECT_OK(mem_new(&r.states, r.snapshot_bytes, 1));
    world_message m = begin_of(&r, false);
    m.u.begin.checkpoint_segments = 2;
    start(&r, &m);
    uint64_t i = 0;
    for (int k = 0; k < 500; k++) {
        for (; i < r.j->n_write && i < CREDIT + r.credit; i++)
            send_segment(&r, i);
        turn(&r);
    }
    assert_false(r.over);
    assert_int_equal(r.n_checkpoint, 1);
    assert_int_equal(r.done, 3); /* the fourth would be the second interval's */
    errand_kept(r.e, r.checkpoint + 1); /* of another one */
    for (int k = 0; k < 100; k++)
        turn(&r);
    assert_int_equal(r.done, 3);
    errand_kept(r.e, r.checkpoint);
    r.checkpoint = 0;
    for (int k = 0; k < 500; k++)
        turn(&r);
    assert_true(r.done > 3);
    errand_cancel(r.e);
    run_to_end(&r);
    rig_close(&r);
}

/* T17: what is read so far is put away, then the job ends. */
static void
a_drained_reading_is_put_away(void **state)
{
    rig r;
    (void)state;
    rig_open(&r);
    EXPECT_OK(mem_new(&r.states, r.snapshot_bytes, 1));
    world_message m = begin_of(&r, false);
    m.u.begin.checkpoint_segments = 1000;
    start(&r, &m);
    for (uint64_t i = 0; i < 5; i++)
        send_segment(&r, i);
    while (r.done < 3)
        turn(&r);
    errand_drain(r.e);
    for (int k = 0; r.checkpoint == 0; k++) {
        turn(&r);
        assert_true(k < MAX_TURN);
    }
    assert_false(r.over); /* not before it is durable */
    uint64_t n = r.checkpoint - r.j->first_seg;
    assert_true(n >= 3 && n <= 5);
    errand_kept(r.e, r.checkpoint);
    run_to_end(&r);
    assert_string_equal(r.code, "canceled");
    expect_states_after(&r, n, r.states);
    /* An answer is dropped at once: its tokens are known. */
    m = begin_of(&r, true);
    start(&r, &m);
    errand_drain(r.e);
    run_to_end(&r);
    assert_string_equal(r.code, "canceled");
    rig_close(&r);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checkpoints_are_exact),
        cmocka_unit_test(every_cut_is_exact),
        cmocka_unit_test(reading_waits_for_durable_checkpoints),
        cmocka_unit_test(a_drained_reading_is_put_away),
        cmocka_unit_test(test_document),
        cmocka_unit_test(test_answer),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_bad_begin),
        cmocka_unit_test(test_bad_snapshot),
        cmocka_unit_test(test_bad_segment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
