/* SPDX-License-Identifier: Apache-2.0 */
/* A core under test: actions are recorded, messages are short to write. */
#ifndef TESTS_DAEMON_CORE_HARNESS_H
#define TESTS_DAEMON_CORE_HARNESS_H

#include "tests/expect.h"

#include <stdio.h>
#include <string.h>

#include "daemon/core.h"

enum { HARNESS_SEGMENT = 8, HARNESS_SNAPSHOT = 96 + 64, HARNESS_MAX = 256 };

/* What is left of an action when its call is over. */
typedef struct harness_action {
    core_action_kind kind;
    zsocket_peer peer;
    int message; /* client_kind or world_kind; 0: none */
    uint64_t job, allowed, request;
    uint32_t attempt;
    uint64_t incarnation;
    uint64_t n_segment, snapshot_bytes, first_segment;
    uint32_t index;
    uint32_t retry_after_s;
    char code[32], text[512], finish[16];
    size_t n_id, n_item;
    client_state state;
    document doc;
} harness_action;

typedef struct harness {
    core *c;
    core_time time;
    harness_action action[HARNESS_MAX];
    size_t n, read;
} harness;

static inline void
harness_copy_client(harness_action *to, const client_message *m)
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
        to->n_segment = m->u.done.segments;
        to->snapshot_bytes = m->u.done.snapshot_bytes;
        (void)snprintf(to->finish, sizeof(to->finish), "%s",
                       m->u.done.finish ? m->u.done.finish : "");
    } else if (m->kind == CLIENT_PROGRESS) {
        to->job = m->u.progress.job;
        to->state = m->u.progress.state;
        to->n_segment = m->u.progress.segments_done;
    } else if (m->kind == CLIENT_TOKEN) {
        to->index = m->u.token.index;
    } else if (m->kind == CLIENT_DOCUMENTS) {
        to->n_item = m->u.documents.n;
    } else if (m->kind == CLIENT_JOB_LIST) {
        to->n_item = m->u.jobs.n;
    } else if (m->kind == CLIENT_STATUS) {
        to->n_item = m->u.status.n_world;
        (void)snprintf(to->text, sizeof(to->text), "%s",
                       m->u.status.last_error);
    }
}

static inline void
harness_copy_world(harness_action *to, const world_message *m)
{
    to->message = m->kind;
    to->job = m->job;
    to->attempt = m->attempt;
    to->incarnation = m->incarnation;
    if (m->kind == WORLD_BEGIN) {
        to->n_segment = m->u.begin.n_segment;
        to->snapshot_bytes = m->u.begin.snapshot_bytes;
        to->first_segment = m->u.begin.first_segment;
    } else if (m->kind == WORLD_REFUSE) {
        (void)snprintf(to->code, sizeof(to->code), "%s", m->u.failed.code);
    }
}

static inline void
harness_act(void *ctx, const core_action *a)
{
    harness *h = ctx;
    harness_action *to = &h->action[h->n];

    assert_true(h->n < HARNESS_MAX);
    h->n++;
    *to = (harness_action){.kind = a->kind};
    if (a->peer)
        to->peer = *a->peer;
    if (a->job) {
        to->job = a->job->id;
        to->attempt = a->job->attempt;
        to->allowed = a->job->allowed;
        to->state = a->job->state;
    }
    if (a->document)
        to->doc = *a->document;
    if (a->client)
        harness_copy_client(to, a->client);
    if (a->world)
        harness_copy_world(to, a->world);
}

static inline void
harness_time(harness *h, uint64_t ms)
{
    h->time.now_ns += ms * 1000000;
    h->time.wall_ms += (int64_t)ms;
    core_set_time(h->c, &h->time);
}

static inline void
harness_init(harness *h, uint32_t max_queue)
{
    core_config cfg = {.model = "tiny",
                       .n_layer = 2,
                       .segment_size = HARNESS_SEGMENT,
                       .n_vocab = 100,
                       .n_eos = 1,
                       .eos = {7},
                       .max_input = 4000,
                       .max_queue = max_queue,
                       .input_window = 400,
                       .heartbeat_ms = 500,
                       .timeout_ms = 5000,
                       .input_timeout_ns = UINT64_C(60) * 1000000000};

    memset(h, 0, sizeof(*h));
    EXPECT_OK(core_new(&h->c, &cfg, 1, harness_act, h));
    h->time = (core_time){.now_ns = 1000000000, .wall_ms = 1};
    core_set_time(h->c, &h->time);
}

static inline void
harness_fini(harness *h)
{
    core_free(h->c);
}

/* The next action must be of this kind. */
static inline const harness_action *
harness_expect(harness *h, core_action_kind kind)
{
    assert_true(h->read < h->n);
    assert_int_equal(h->action[h->read].kind, kind);
    return &h->action[h->read++];
}

static inline const harness_action *
harness_told(harness *h, core_action_kind kind, int message)
{
    const harness_action *a = harness_expect(h, kind);

    assert_int_equal(a->message, message);
    return a;
}

#define EXPECT_ACTION(kind)    harness_expect(h, kind)
#define EXPECT_CLIENT(message) harness_told(h, CORE_TELL_CLIENT, message)
#define EXPECT_WORLD(message)  harness_told(h, CORE_TELL_WORLD, message)
#define EXPECT_NOTHING()       assert_int_equal(h->read, h->n)
#define EXPECT_REFUSED(word)                                                   \
    assert_string_equal(EXPECT_CLIENT(CLIENT_REFUSED)->code, word)

static inline void
harness_skip(harness *h)
{
    h->read = h->n;
}

static inline zsocket_peer
harness_peer(uint8_t number)
{
    return (zsocket_peer){.len = 1, .id = {number}};
}

static inline void
harness_client(harness *h, uint8_t client, client_message m)
{
    zsocket_peer peer = harness_peer(client);
    uint8_t *none = NULL;
    core_raw raw = {.data = &none};

    core_client_event(h->c, &peer, &m, &raw);
}

static inline void
harness_chunk(harness *h, uint8_t client, uint64_t request, uint64_t offset,
              size_t len)
{
    zsocket_peer peer = harness_peer(client);
    client_message m = {.kind = CLIENT_CHUNK, .request = request};
    uint8_t *none = NULL;
    core_raw raw = {.data = &none, .len = len};

    m.u.chunk.offset = offset;
    core_client_event(h->c, &peer, &m, &raw);
}

static inline client_message
harness_add(const char *name, uint64_t bytes)
{
    client_message m = {.kind = CLIENT_ADD, .request = 1};

    m.u.add.name = (char *)(uintptr_t)name;
    m.u.add.model = (char *)(uintptr_t) "";
    m.u.add.input = CLIENT_IDS;
    m.u.add.bytes = bytes;
    return m;
}

static inline client_message
harness_ask(const char *name, uint64_t bytes)
{
    client_message m = {.kind = CLIENT_ASK, .request = 2};

    m.u.ask.document = (char *)(uintptr_t)name;
    m.u.ask.input = CLIENT_IDS;
    m.u.ask.bytes = bytes;
    m.u.ask.sampling.max_tokens = 4;
    return m;
}

static inline client_message
harness_name(client_kind kind, const char *name)
{
    client_message m = {.kind = kind, .request = 3};

    m.u.name.document = (char *)(uintptr_t)name;
    return m;
}

static inline client_message
harness_job(client_kind kind, uint64_t id)
{
    client_message m = {.kind = kind, .request = 4};

    m.u.job.job = id;
    return m;
}

static inline client_message
harness_plain(client_kind kind)
{
    return (client_message){.kind = kind, .request = 5};
}

static inline world_message
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

static inline void
harness_world_raw(harness *h, uint8_t world, world_message m, size_t len)
{
    zsocket_peer peer = harness_peer(world);
    uint8_t *none = NULL;
    core_raw raw = {.data = &none, .len = len};

    core_world_event(h->c, &peer, &m, &raw);
}

static inline void
harness_world(harness *h, uint8_t world, world_message m)
{
    harness_world_raw(h, world, m, 0);
}

/* A message about the job that a BEGIN was for. */
static inline world_message
harness_reply(world_kind kind, const harness_action *begin)
{
    return (world_message){.kind = kind,
                           .incarnation = begin->incarnation,
                           .job = begin->job,
                           .attempt = begin->attempt};
}

static inline void
harness_token(harness *h, uint8_t world, const harness_action *begin,
              uint32_t index, int32_t id)
{
    world_message m = harness_reply(WORLD_TOKEN, begin);

    m.u.token.index = index;
    m.u.token.id = id;
    harness_world(h, world, m);
}

static inline void
harness_world_done(harness *h, uint8_t world, const harness_action *begin,
                   const char *finish)
{
    world_message m = harness_reply(WORLD_JOB_DONE, begin);

    m.u.job_done.finish = (char *)(uintptr_t)finish;
    harness_world(h, world, m);
}

static inline void
harness_snapshot(harness *h, uint8_t world, const harness_action *begin)
{
    world_message m = harness_reply(WORLD_SNAPSHOT, begin);

    m.u.snapshot.total = HARNESS_SNAPSHOT;
    m.u.snapshot.last = true;
    harness_world_raw(h, world, m, HARNESS_SNAPSHOT);
}

/* World `number` joins; its incarnation. */
static inline uint64_t
harness_join(harness *h, uint8_t number, uint32_t streams)
{
    uint64_t incarnation;

    harness_world(h, number, harness_hello(streams, 0));
    incarnation = EXPECT_WORLD(WORLD_WELCOME)->incarnation;
    return incarnation;
}

/* Job `id` is accepted and has all its input: `tokens` ids. */
static inline void
harness_input(harness *h, uint64_t id, uint64_t tokens)
{
    assert_int_equal(EXPECT_ACTION(CORE_RECORD)->job, id);
    (void)EXPECT_ACTION(CORE_INPUT_OPEN);
    (void)EXPECT_CLIENT(CLIENT_ACCEPTED);
    core_tokenized(h->c, id, tokens * 4, tokens, true);
}

/* A document of `tokens` ids is there, with everything read away; its id. */
static inline uint64_t
harness_document(harness *h, const char *name, uint64_t tokens)
{
    document doc = {.id = 1000 + catalog_count(core_catalog(h->c)),
                    .tokens = tokens,
                    .segments =
                        (tokens + HARNESS_SEGMENT - 1) / HARNESS_SEGMENT,
                    .fingerprint = {1}};

    (void)snprintf(doc.name, sizeof(doc.name), "%s", name);
    doc.pending = (uint32_t)(tokens - (doc.segments - 1) * HARNESS_SEGMENT);
    doc.snapshot_bytes = doc.segments > 1 ? HARNESS_SNAPSHOT : 0;
    EXPECT_OK(core_restore_document(h->c, &doc));
    return doc.id;
}

#endif
