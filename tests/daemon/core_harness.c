/* SPDX-License-Identifier: Apache-2.0 */
/* Recording what a core does, and saying what its peers say. */
#include "tests/daemon/core_harness.h"

#include <stdio.h>
#include <stdlib.h>

static void
copy_client(harness_action *to, const client_message *m)
{
    to->message = m->kind;
    to->request = m->request;
    if (m->kind == CLIENT_ACCEPTED) {
        to->job = m->u.accepted.job;
        to->allowed = m->u.accepted.input_credit;
    } else if (m->kind == CLIENT_MORE_INPUT) {
        to->allowed = m->u.accepted.input_credit;
    } else if (m->kind == CLIENT_REFUSED) {
        to->job = m->u.refused.job;
        to->retry_after_s = m->u.refused.retry_after_s;
        (void)snprintf(to->code, sizeof(to->code), "%s", m->u.refused.code);
        (void)snprintf(to->text, sizeof(to->text), "%s", m->u.refused.text);
    } else if (m->kind == CLIENT_DONE) {
        to->job = m->u.done.job;
        to->n_id = m->u.done.n_id;
        to->n_logprob = m->u.done.n_logprob;
        for (size_t i = 0; i < to->n_logprob && i < 4; i++)
            to->logprob[i] = m->u.done.logprobs[i];
        to->n_segment = m->u.done.segments;
        to->snapshot_bytes = m->u.done.snapshot_bytes;
        (void)snprintf(to->finish, sizeof(to->finish), "%s",
                       m->u.done.finish ? m->u.done.finish : "");
        (void)snprintf(to->text, sizeof(to->text), "%s",
                       m->u.done.warning ? m->u.done.warning : "");
    } else if (m->kind == CLIENT_PROGRESS) {
        to->job = m->u.progress.job;
        to->state = m->u.progress.state;
        to->n_segment = m->u.progress.segments_done;
    } else if (m->kind == CLIENT_TOKEN) {
        to->index = m->u.token.index;
        to->logprob[0] = m->u.token.logprob;
    } else if (m->kind == CLIENT_DOCUMENTS) {
        const client_document *d = m->u.documents.item;

        to->n_item = m->u.documents.n;
        if (to->n_item == 1)
            (void)snprintf(to->text, sizeof(to->text), "%s",
                           d->warning ? d->warning : "");
    } else if (m->kind == CLIENT_JOB_LIST) {
        to->n_item = m->u.jobs.n;
    } else if (m->kind == CLIENT_STATUS) {
        to->n_item = m->u.status.n_world;
        if (to->n_item > 0) {
            to->hop_s = m->u.status.world[0].hop_s;
            to->hop_hidden_s = m->u.status.world[0].hop_hidden_s;
        }
        (void)snprintf(to->text, sizeof(to->text), "%s",
                       m->u.status.last_error);
    }
}

static void
copy_world(harness_action *to, const world_message *m)
{
    to->message = m->kind;
    to->job = m->job;
    to->attempt = m->attempt;
    to->incarnation = m->incarnation;
    if (m->kind == WORLD_BEGIN) {
        to->n_segment = m->u.begin.n_segment;
        to->snapshot_bytes = m->u.begin.snapshot_bytes;
        to->first_segment = m->u.begin.first_segment;
        to->n_forced = m->u.begin.n_forced;
        to->generate = m->u.begin.generate;
    } else if (m->kind == WORLD_KEPT) {
        to->n_segment = m->u.kept.segment;
    } else if (m->kind == WORLD_REFUSE) {
        (void)snprintf(to->code, sizeof(to->code), "%s", m->u.failed.code);
    }
}

static void
act(void *ctx, const core_action *a)
{
    harness *h = ctx;
    harness_action *to = &h->action[h->n];

    if (a->kind == CORE_INCIDENT) {
        h->n_incident++;
        h->incident_job = a->number;
        (void)snprintf(h->incident, sizeof(h->incident), "%s", a->text);
    }
    if (a->kind == CORE_RECORD || a->kind == CORE_INCIDENT)
        return; /* nobody waits for them */
    assert_true(h->n < HARNESS_MAX);
    h->n++;
    *to = (harness_action){.kind = a->kind};
    if (a->peer)
        to->peer = *a->peer;
    if (a->job) {
        to->job = a->job->id;
        to->attempt = a->job->attempt;
        to->allowed = a->job->allowed;
        to->state = a->job->ending ? a->job->end_state : a->job->state;
        to->base = a->job->base;
    }
    to->number = a->number;
    if (a->checkpoint) {
        to->number = a->checkpoint->segment;
        to->attempt = a->checkpoint->attempt;
    }
    if (a->document)
        to->doc = *a->document;
    if (a->client)
        copy_client(to, a->client);
    if (a->world)
        copy_world(to, a->world);
}

void
harness_time(harness *h, uint64_t ms)
{
    h->time.now_ns += ms * 1000000;
    h->time.wall_ms += (int64_t)ms;
    core_set_time(h->c, &h->time);
}

static const float TRAINED[] = {10, 20};

static void
init(harness *h, uint32_t max_queue, uint64_t max_input, uint64_t window)
{
    core_config cfg = {.model = "tiny",
                       .n_layer = 2,
                       .trained_norm = TRAINED,
                       .n_trained_norm = 2,
                       .segment_size = HARNESS_SEGMENT,
                       .n_vocab = 100,
                       .n_eos = 1,
                       .eos = {7},
                       .max_input = max_input,
                       .max_bytes = max_input * 5 / 2,
                       .max_queue = max_queue,
                       .share = 25,
                       .input_window = window,
                       .heartbeat_ms = 500,
                       .timeout_ms = 5000,
                       .epoch = 1,
                       .hang_ms = 10000,
                       .drain_ns = UINT64_C(30) * 1000000000,
                       .checkpoint_segments = 4,
                       .checkpoint_ms = 1,
                       .input_timeout_ns = UINT64_C(60) * 1000000000};

    memset(h, 0, sizeof(*h));
    EXPECT_OK(core_new(&h->c, &cfg, 1, act, h));
    h->time = (core_time){.now_ns = 1000000000, .wall_ms = 1};
    core_set_time(h->c, &h->time);
}

void
harness_init(harness *h, uint32_t max_queue)
{
    init(h, max_queue, 4000, 400);
}

void
harness_init_input(harness *h, uint64_t max_input, uint64_t window)
{
    init(h, 8, max_input, window);
}

void
harness_fini(harness *h)
{
    core_free(h->c);
}

int
harness_setup(void **state)
{
    harness *h = calloc(1, sizeof(*h));

    assert_non_null(h);
    harness_init(h, 8);
    *state = h;
    return 0;
}

int
harness_teardown(void **state)
{
    harness_fini(*state);
    free(*state);
    return 0;
}

const harness_action *
harness_expect(harness *h, core_action_kind kind)
{
    assert_true(h->read < h->n);
    assert_int_equal(h->action[h->read].kind, kind);
    return &h->action[h->read++];
}

const harness_action *
harness_told(harness *h, core_action_kind kind, int message)
{
    const harness_action *a = harness_expect(h, kind);

    assert_int_equal(a->message, message);
    return a;
}

void
harness_skip(harness *h)
{
    h->read = h->n;
}

zsocket_peer
harness_peer(uint8_t number)
{
    return (zsocket_peer){.len = 1, .id = {number}};
}

/* The user himself, unless the test is somebody else. */
static core_caller
caller(const harness *h, const zsocket_peer *peer)
{
    return (core_caller){.client = peer,
                         .owner = h->owner ? h->owner : "local",
                         .admin = !h->owner || h->admin};
}

void
harness_client(harness *h, uint8_t client, client_message m)
{
    zsocket_peer peer = harness_peer(client);
    core_caller from = caller(h, &peer);
    uint8_t *none = NULL;
    core_raw raw = {.data = &none};

    core_client_event(h->c, &from, &m, &raw);
}

void
harness_chunk(harness *h, uint8_t client, uint64_t request, uint64_t offset,
              size_t len)
{
    zsocket_peer peer = harness_peer(client);
    core_caller from = caller(h, &peer);
    client_message m = {.kind = CLIENT_CHUNK, .request = request};
    uint8_t *none = NULL;
    core_raw raw = {.data = &none, .len = len};

    m.u.chunk.offset = offset;
    core_client_event(h->c, &from, &m, &raw);
}

client_message
harness_add(const char *name, uint64_t bytes)
{
    client_message m = {.kind = CLIENT_ADD, .request = 1};

    m.u.add.name = (char *)(uintptr_t)name;
    m.u.add.model = (char *)(uintptr_t) "";
    m.u.add.input = CLIENT_IDS;
    m.u.add.bytes = bytes;
    return m;
}

client_message
harness_ask(const char *name, uint64_t bytes)
{
    client_message m = {.kind = CLIENT_ASK, .request = 2};

    m.u.ask.document = (char *)(uintptr_t)name;
    m.u.ask.input = CLIENT_IDS;
    m.u.ask.bytes = bytes;
    m.u.ask.sampling.max_tokens = 4;
    return m;
}

client_message
harness_name(client_kind kind, const char *name)
{
    client_message m = {.kind = kind, .request = 3};

    m.u.name.document = (char *)(uintptr_t)name;
    return m;
}

client_message
harness_job(client_kind kind, uint64_t id)
{
    client_message m = {.kind = kind, .request = 4};

    m.u.job.job = id;
    return m;
}

client_message
harness_plain(client_kind kind)
{
    return (client_message){.kind = kind, .request = 5};
}

world_message
harness_hello(uint32_t streams, uint64_t launch)
{
    static char word[] = "cpu";
    world_message m = {.kind = WORLD_HELLO};

    m.u.hello.version = m.u.hello.model_dir = m.u.hello.placement = word;
    m.u.hello.device = m.u.hello.device_name = word;
    m.u.hello.fingerprint[0] = 1;
    m.u.hello.ranks = 1;
    m.u.hello.n_layer = 2;
    m.u.hello.segment_size = HARNESS_SEGMENT;
    m.u.hello.n_vocab = 100;
    m.u.hello.snapshot_bytes = HARNESS_SNAPSHOT;
    m.u.hello.streams = streams;
    m.u.hello.credit_segments = 4;
    m.u.hello.max_generate = 16;
    m.u.hello.launch = launch;
    return m;
}

void
harness_world_raw(harness *h, uint8_t world, world_message m, size_t len)
{
    zsocket_peer peer = harness_peer(world);
    uint8_t *none = NULL;
    core_raw raw = {.data = &none, .len = len};

    core_world_event(h->c, &peer, &m, &raw);
}

void
harness_world(harness *h, uint8_t world, world_message m)
{
    harness_world_raw(h, world, m, 0);
}

world_message
harness_reply(world_kind kind, const harness_action *begin)
{
    return (world_message){.kind = kind,
                           .incarnation = begin->incarnation,
                           .job = begin->job,
                           .attempt = begin->attempt};
}

void
harness_token(harness *h, uint8_t world, const harness_action *begin,
              uint32_t index, int32_t id)
{
    world_message m = harness_reply(WORLD_TOKEN, begin);

    m.u.token.index = index;
    m.u.token.id = id;
    harness_world(h, world, m);
}

void
harness_world_done(harness *h, uint8_t world, const harness_action *begin,
                   const char *finish)
{
    world_message m = harness_reply(WORLD_JOB_DONE, begin);

    m.u.job_done.finish = (char *)(uintptr_t)finish;
    harness_world(h, world, m);
}

void
harness_snapshot(harness *h, uint8_t world, const harness_action *begin)
{
    world_message m = harness_reply(WORLD_SNAPSHOT, begin);

    m.u.snapshot.total = HARNESS_SNAPSHOT;
    m.u.snapshot.last = true;
    harness_world_raw(h, world, m, HARNESS_SNAPSHOT);
}

uint64_t
harness_join(harness *h, uint8_t number, uint32_t streams)
{
    uint64_t incarnation;

    harness_world(h, number, harness_hello(streams, 0));
    incarnation = EXPECT_WORLD(WORLD_WELCOME)->incarnation;
    return incarnation;
}

void
harness_input(harness *h, uint64_t id, uint64_t tokens)
{
    const job *j = job_table_find(core_jobs(h->c), id);

    assert_int_equal(EXPECT_ACTION(CORE_INPUT_OPEN)->job, id);
    (void)EXPECT_CLIENT(CLIENT_MORE_INPUT);
    harness_chunk(h, j->sender.client.id[0], j->sender.request, 0,
                  (size_t)j->bytes);
    (void)EXPECT_ACTION(CORE_INPUT_DATA);
    assert_int_equal(EXPECT_ACTION(CORE_SUBMIT)->job, id);
    core_submitted(h->c, id, ST_OK, "");
    assert_int_equal(EXPECT_CLIENT(CLIENT_ACCEPTED)->job, id);
    harness_prepared(h, id, tokens);
}

const harness_action *
harness_running_add(harness *h, uint32_t streams)
{
    const harness_action *begin;

    (void)harness_join(h, 10, streams);
    harness_client(h, 1, harness_add("d", 400));
    harness_input(h, 1, 100);
    begin = EXPECT_WORLD(WORLD_BEGIN);
    (void)EXPECT_ACTION(CORE_FEED_OPEN);
    return begin;
}

void
harness_wrong_each(harness_start *start, const harness_wrong *row, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        harness box;
        harness *h = &box;
        world_message m;

        harness_init(h, 8);
        m = harness_reply(row[i].m.kind, start(h, 2));
        m.u = row[i].m.u;
        harness_world_raw(h, 10, m, row[i].len);
        (void)EXPECT_WORLD(WORLD_CANCEL);
        (void)harness_end(h, 1, CLIENT_FAILED);
        EXPECT_REFUSED("wire");
        harness_fini(h);
    }
}

void
harness_prepared(harness *h, uint64_t id, uint64_t tokens)
{
    assert_int_equal(EXPECT_ACTION(CORE_PREPARE)->job, id);
    core_tokenized(h->c, id, tokens, true);
}

void
harness_kept(harness *h, uint64_t id, uint64_t n)
{
    assert_int_equal(EXPECT_ACTION(CORE_TOKENS)->job, id);
    core_tokens_kept(h->c, id, n, ST_OK);
}

const harness_action *
harness_end(harness *h, uint64_t id, client_state state)
{
    const harness_action *a;

    assert_int_equal(EXPECT_ACTION(CORE_JOB_DROP)->job, id);
    a = EXPECT_ACTION(CORE_END);
    assert_int_equal(a->job, id);
    assert_int_equal(a->state, state);
    core_ended(h->c, id, ST_OK, "");
    return a;
}

uint64_t
harness_document(harness *h, const char *name, uint64_t tokens)
{
    document doc = {.id = 1000 + catalog_count(core_catalog(h->c)),
                    .tokens = tokens,
                    .segments =
                        (tokens + HARNESS_SEGMENT - 1) / HARNESS_SEGMENT,
                    .fingerprint = {1}};

    (void)snprintf(doc.name, sizeof(doc.name), "%s", name);
    (void)snprintf(doc.owner, sizeof(doc.owner), "%s",
                   h->owner ? h->owner : "local");
    doc.pending = (uint32_t)(tokens - (doc.segments - 1) * HARNESS_SEGMENT);
    doc.snapshot_bytes = doc.segments > 1 ? HARNESS_SNAPSHOT : 0;
    EXPECT_OK(core_restore_document(h->c, &doc));
    return doc.id;
}

void
harness_refused(harness *h, client_message m, const char *code)
{
    size_t jobs = job_table_count(core_jobs(h->c));
    const harness_action *a;

    harness_client(h, 1, m);
    a = EXPECT_CLIENT(CLIENT_REFUSED);
    assert_string_equal(a->code, code);
    assert_true(strlen(a->text) > 0);
    assert_int_equal(a->job, 0);
    EXPECT_NOTHING();
    assert_int_equal(job_table_count(core_jobs(h->c)), jobs);
}

void
harness_canceled(harness *h, uint64_t id)
{
    bool durable =
        job_table_find(core_jobs(h->c), id)->state != CLIENT_RECEIVING;

    harness_client(h, 2, harness_job(CLIENT_CANCEL, id));
    if (durable)
        (void)harness_end(h, id, CLIENT_CANCELED);
    else
        (void)EXPECT_ACTION(CORE_JOB_DROP);
    EXPECT_REFUSED("canceled");
    (void)EXPECT_CLIENT(CLIENT_DONE);
    EXPECT_NOTHING();
}
