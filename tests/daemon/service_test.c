/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon as clients and worlds see it, on real sockets: the world is a
 * socket of this test that answers by the protocol and computes nothing. */
#include "daemon/service.h"

#include <pthread.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "model/config.h"
#include "model/fingerprint.h"
#include "proto/client_message.h"
#include "proto/snapshot.h"
#include "proto/socket.h"
#include "proto/world_message.h"
#include "tests/daemon/scratch.h"

#define MODEL "golden/armt-llama"
enum { WAIT_MS = 10000, FLOATS = 30, CREDIT = 2, MAX_IDS = 4096 };

typedef struct scene {
    scratch box;
    char client_at[128], world_at[128], data[128];
    settings set;
    service *v;
    pthread_t thread;
    zcontext *z;
    zsocket *client, *world;
    model_config model;
    uint64_t incarnation, request;
    zsocket_message frame; /* received last */
} scene;

static void *
run(void *arg)
{
    EXPECT_OK(service_run(arg));
    return NULL;
}

static void
start(scene *s)
{
    EXPECT_OK(service_new(&s->v, &s->set));
    assert_int_equal(pthread_create(&s->thread, NULL, run, s->v), 0);
    EXPECT_OK(
        zsocket_dealer(&s->client, s->z, s->client_at, NULL, CLIENT_MAX_CHUNK));
    EXPECT_OK(
        zsocket_dealer(&s->world, s->z, s->world_at, NULL, WORLD_MAX_PART));
    s->request = 0;
}

static void
init(scene *s)
{
    *s = (scene){0};
    scratch_init(&s->box);
    (void)snprintf(s->client_at, sizeof(s->client_at), "ipc://%s/c",
                   s->box.dir);
    (void)snprintf(s->world_at, sizeof(s->world_at), "ipc://%s/w", s->box.dir);
    (void)snprintf(s->data, sizeof(s->data), "%s/data", s->box.dir);
    s->set = (settings){.model = MODEL,
                        .template = "plain",
                        .listen = s->client_at,
                        .listen_worlds = s->world_at,
                        .data = s->data,
                        .max_question = 100,
                        .max_input = 1 << 20,
                        .max_queue = 8,
                        .keep = 7,
                        .drain_seconds = 1};
    EXPECT_OK(config_load(&s->model, MODEL));
    EXPECT_OK(zcontext_new(&s->z));
    start(s);
}

/* ------------------------------------------------------------- the client ---
 */

static void
say(scene *s, client_message m, const void *raw, size_t raw_len)
{
    uint8_t *data;
    size_t len;

    m.request = s->request;
    EXPECT_OK(client_message_encode(&data, &len, &m));
    EXPECT_OK(zsocket_send(s->client, NULL, data, len, raw, raw_len));
    mem_free(data);
}

static void
request(scene *s, client_message m)
{
    s->request++;
    say(s, m, NULL, 0);
}

/* The next message to the client that is not mere progress. */
static client_message
hear(scene *s)
{
    client_message m = {0};
    uint64_t number;

    do {
        client_message_fini(&m);
        EXPECT_OK(zsocket_recv(s->client, &s->frame, WAIT_MS));
        EXPECT_OK(client_message_decode(&m, &number, s->frame.control,
                                        s->frame.control_len));
        zsocket_message_fini(&s->frame);
    } while (m.kind == CLIENT_PROGRESS);
    return m;
}

static void
hear_kind(scene *s, client_kind kind)
{
    client_message m = hear(s);

    if (m.kind == CLIENT_REFUSED && kind != CLIENT_REFUSED)
        fail_msg("refused: %s", m.u.refused.text);
    assert_int_equal(m.kind, kind);
    client_message_fini(&m);
}

static void
hear_refused(scene *s, const char *code)
{
    client_message m = hear(s);

    assert_int_equal(m.kind, CLIENT_REFUSED);
    if (strcmp(m.u.refused.code, code) != 0)
        fail_msg("%s, expected %s: %s", m.u.refused.code, code,
                 m.u.refused.text);
    client_message_fini(&m);
}

static void
send_ids(scene *s, const int32_t *ids, size_t n)
{
    client_message chunk = {.kind = CLIENT_CHUNK};

    hear_kind(s, CLIENT_MORE_INPUT);
    say(s, chunk, ids, n * sizeof(*ids));
    hear_kind(s, CLIENT_ACCEPTED);
}

static void
add(scene *s, const char *name, const int32_t *ids, size_t n)
{
    client_message m = {.kind = CLIENT_ADD};

    m.u.add.name = (char *)(uintptr_t)name;
    m.u.add.input = CLIENT_IDS;
    m.u.add.bytes = n * sizeof(*ids);
    request(s, m);
    send_ids(s, ids, n);
}

static void
ask(scene *s, const char *name, const int32_t *ids, size_t n)
{
    client_message m = {.kind = CLIENT_ASK};

    m.u.ask.document = (char *)(uintptr_t)name;
    m.u.ask.input = CLIENT_IDS;
    m.u.ask.bytes = n * sizeof(*ids);
    m.u.ask.sampling.max_tokens = 4;
    request(s, m);
    send_ids(s, ids, n);
}

static size_t
count_documents(scene *s)
{
    client_message m = {.kind = CLIENT_LIST};
    size_t n;

    request(s, m);
    m = hear(s);
    assert_int_equal(m.kind, CLIENT_DOCUMENTS);
    n = m.u.documents.n;
    client_message_fini(&m);
    return n;
}

/* ------------------------------------------------------------- the world ---
 */

static void
world_say(scene *s, world_message m, const void *raw, size_t raw_len)
{
    uint8_t *data;
    size_t len;

    m.incarnation = s->incarnation;
    EXPECT_OK(world_message_encode(&data, &len, &m));
    EXPECT_OK(zsocket_send(s->world, NULL, data, len, raw, raw_len));
    mem_free(data);
}

static world_message
world_hear(scene *s, world_kind kind)
{
    world_message m = {0};

    do { /* a job that failed here may be canceled there, or be over already */
        zsocket_message_fini(&s->frame);
        EXPECT_OK(zsocket_recv(s->world, &s->frame, WAIT_MS));
        EXPECT_OK(
            world_message_decode(&m, s->frame.control, s->frame.control_len));
    } while (m.kind == WORLD_CANCEL);
    assert_int_equal(m.kind, kind);
    return m;
}

/* What was heard last is the job's. */
static void
world_reply(scene *s, world_message m, const world_message *begin)
{
    m.job = begin->job;
    m.attempt = begin->attempt;
    world_say(s, m, NULL, 0);
}

static size_t
snapshot_size(const scene *s)
{
    size_t n;

    EXPECT_OK(snapshot_bytes(&n, s->model.n_layer * FLOATS * sizeof(float)));
    return n;
}

static world_message
hello(const scene *s)
{
    static char word[] = "test";
    world_message m = {.kind = WORLD_HELLO};

    m.u.hello.version = m.u.hello.model_dir = m.u.hello.placement = word;
    m.u.hello.device = m.u.hello.device_name = word;
    EXPECT_OK(fingerprint_read(m.u.hello.fingerprint, NULL, MODEL,
                               FINGERPRINT_STORED, NULL));
    m.u.hello.ranks = m.u.hello.threads = 1;
    m.u.hello.n_layer = s->model.n_layer;
    m.u.hello.segment_size = s->model.segment_size;
    m.u.hello.n_vocab = s->model.n_vocab;
    m.u.hello.snapshot_bytes = snapshot_size(s);
    m.u.hello.streams = 2;
    m.u.hello.credit_segments = CREDIT;
    m.u.hello.max_generate = 64;
    return m;
}

static void
join(scene *s)
{
    world_message m;

    s->incarnation = 0;
    world_say(s, hello(s), NULL, 0);
    m = world_hear(s, WORLD_WELCOME);
    s->incarnation = m.u.welcome.incarnation;
    zsocket_message_fini(&s->frame);
    world_message_fini(&m);
}

/* The sealed snapshot after `n` segments; its floats are i * scale. */
static uint8_t *
make_snapshot(const scene *s, uint64_t n, float scale)
{
    snapshot_info info = {.n_layer = s->model.n_layer,
                          .state_bytes =
                              s->model.n_layer * FLOATS * sizeof(float),
                          .n_segment = n};
    uint8_t *data;
    size_t count = s->model.n_layer * FLOATS;

    EXPECT_OK(fingerprint_read(info.fingerprint, NULL, MODEL,
                               FINGERPRINT_STORED, NULL));
    EXPECT_OK(mem_new(&data, snapshot_size(s), 1));
    for (size_t i = 0; i < count; i++) {
        float value = (float)i * scale;

        memcpy(data + SNAPSHOT_HEADER + i * sizeof(value), &value,
               sizeof(value));
    }
    EXPECT_OK(snapshot_seal(data, snapshot_size(s), &info));
    return data;
}

static void
hash_of(const void *data, size_t len, uint8_t out[HASH_BYTES])
{
    hash h;

    hash_init(&h);
    hash_add(&h, data, len);
    hash_end(&h, out);
}

/* In two parts. */
static void
send_snapshot(scene *s, const world_message *begin, const uint8_t *data,
              const uint8_t *sum)
{
    world_message m = {
        .kind = WORLD_SNAPSHOT, .job = begin->job, .attempt = begin->attempt};
    size_t n = snapshot_size(s);

    m.u.snapshot.total = n;
    world_say(s, m, data, 50);
    m.u.snapshot.offset = 50;
    m.u.snapshot.last = true;
    memcpy(m.u.snapshot.hash, sum, HASH_BYTES);
    world_say(s, m, data + 50, n - 50);
}

/* Takes `n` segments, which must be `ids` cut at S, giving credit for one at a
 * time. */
static void
take_segments(scene *s, const world_message *begin, const int32_t *ids,
              size_t n_id, bool prompt)
{
    size_t size = s->model.segment_size;
    size_t n = (n_id + size - 1) / size;

    for (size_t i = 0; i < n; i++) {
        size_t len = n_id - i * size < size ? n_id - i * size : size;
        world_message m = world_hear(s, WORLD_SEGMENT_IDS);

        assert_int_equal(m.u.segment_ids.segment,
                         begin->u.begin.first_segment + i);
        assert_int_equal(m.u.segment_ids.prompt, prompt && i + 1 == n);
        assert_int_equal(s->frame.raw_len, len * sizeof(*ids));
        assert_memory_equal(s->frame.raw, ids + i * size, s->frame.raw_len);
        zsocket_message_fini(&s->frame);
        m = (world_message){.kind = WORLD_CREDIT};
        m.u.credit.segments = 1;
        world_reply(s, m, begin);
    }
}

static void
world_finish(scene *s, const world_message *begin)
{
    static char how[] = "length";
    world_message m = {.kind = WORLD_JOB_DONE};

    m.u.job_done.finish = how;
    world_reply(s, m, begin);
}

static world_message
take_begin(scene *s)
{
    world_message m = world_hear(s, WORLD_BEGIN);

    zsocket_message_fini(&s->frame);
    return m;
}

static void
stop(scene *s)
{
    client_message m = {.kind = CLIENT_SHUTDOWN};

    request(s, m);
    hear_kind(s, CLIENT_DONE);
    assert_int_equal(pthread_join(s->thread, NULL), 0);
    service_free(s->v);
    zsocket_close(s->client);
    zsocket_close(s->world);
}

static void
fini(scene *s)
{
    stop(s);
    zcontext_free(s->z);
    scratch_fini(&s->box);
}

/* ------------------------------------------------------------------ tests ---
 */

static void
fill(int32_t *ids, size_t n, const scene *s)
{
    for (size_t i = 0; i < n; i++)
        ids[i] = (int32_t)((i * 7 + 3) % s->model.n_vocab);
}

/* A document of `n` ids is added; *snapshot is what the world sent. */
static void
add_document(scene *s, const int32_t *ids, size_t n, uint8_t **snapshot)
{
    size_t size = s->model.segment_size;
    size_t written = (n + size - 1) / size - 1;
    uint8_t sum[HASH_BYTES];
    world_message begin;

    add(s, "d", ids, n);
    begin = take_begin(s);
    assert_true(begin.u.begin.want_snapshot);
    assert_int_equal(begin.u.begin.n_segment, written);
    assert_int_equal(begin.u.begin.snapshot_bytes, 0);
    take_segments(s, &begin, ids, written * size, false);
    *snapshot = make_snapshot(s, written, 0.5F);
    hash_of(*snapshot, snapshot_size(s), sum);
    send_snapshot(s, &begin, *snapshot, sum);
    world_finish(s, &begin);
    hear_kind(s, CLIENT_DONE);
}

/* The whole question: snapshot down, pending ids and question, tokens up. */
static void
ask_document(scene *s, const int32_t *ids, size_t n, const uint8_t *snapshot)
{
    size_t size = s->model.segment_size;
    size_t first = (n + size - 1) / size - 1;
    int32_t joined[MAX_IDS];
    size_t pending = n - first * size;
    size_t n_joined = pending + size;
    world_message begin;
    world_message m;
    uint8_t sum[HASH_BYTES];
    client_message done;

    memcpy(joined, ids + first * size, pending * sizeof(*ids));
    fill(joined + pending, size, s);
    ask(s, "d", joined + pending, size);
    begin = take_begin(s);
    assert_int_equal(begin.u.begin.first_segment, first);
    assert_int_equal(begin.u.begin.snapshot_bytes, snapshot_size(s));
    assert_int_equal(begin.u.begin.generate.max_tokens, 4);
    m = world_hear(s, WORLD_SNAPSHOT);
    assert_true(m.u.snapshot.last);
    assert_int_equal(s->frame.raw_len, snapshot_size(s));
    assert_memory_equal(s->frame.raw, snapshot, s->frame.raw_len);
    hash_of(snapshot, snapshot_size(s), sum);
    assert_memory_equal(m.u.snapshot.hash, sum, sizeof(sum));
    zsocket_message_fini(&s->frame);
    take_segments(s, &begin, joined, n_joined, true);
    m = (world_message){.kind = WORLD_TOKEN};
    m.u.token.id = 9;
    world_reply(s, m, &begin);
    hear_kind(s, CLIENT_TOKEN);
    world_finish(s, &begin);
    done = hear(s);
    assert_int_equal(done.kind, CLIENT_DONE);
    assert_int_equal(done.u.done.n_id, 1);
    assert_int_equal(done.u.done.ids[0], 9);
    assert_string_equal(done.u.done.finish, "length");
    client_message_fini(&done);
}

static void
truncate_snapshot(scene *s)
{
    assert_int_equal(truncate(scratch_path(&s->box, "data/documents/1.snap"),
                              (off_t)snapshot_size(s) - 1),
                     0);
}

static void
refuse_to_ask(scene *s, const int32_t *ids)
{
    client_message m = {.kind = CLIENT_ASK};

    m.u.ask.document = (char *)(uintptr_t) "d";
    m.u.ask.input = CLIENT_IDS;
    m.u.ask.bytes = sizeof(*ids);
    m.u.ask.sampling.max_tokens = 4;
    request(s, m);
    hear_refused(s, "io");
}

static void
documents_are_read_kept_and_asked(void **state)
{
    scene s;
    int32_t ids[MAX_IDS];
    uint8_t *snapshot;
    size_t n;

    (void)state;
    init(&s);
    join(&s);
    n = 5 * s.model.segment_size + 1;
    fill(ids, n, &s);
    add_document(&s, ids, n, &snapshot);
    ask_document(&s, ids, n, snapshot);
    stop(&s);
    start(&s); /* and once more after a restart */
    assert_int_equal(count_documents(&s), 1);
    join(&s);
    ask_document(&s, ids, n, snapshot);
    stop(&s);
    truncate_snapshot(&s);
    start(&s);
    assert_int_equal(count_documents(&s), 1);
    refuse_to_ask(&s, ids);
    mem_free(snapshot);
    fini(&s);
}

static void
credit_is_kept_to(void **state)
{
    scene s;
    int32_t ids[MAX_IDS];
    world_message begin;
    world_message m;
    size_t n;

    (void)state;
    init(&s);
    join(&s);
    n = 10 * s.model.segment_size;
    fill(ids, n, &s);
    add(&s, "d", ids, n);
    begin = take_begin(&s);
    for (int i = 0; i < CREDIT; i++) {
        m = world_hear(&s, WORLD_SEGMENT_IDS);
        zsocket_message_fini(&s.frame);
    }
    EXPECT_ST(zsocket_recv(s.world, &s.frame, 100), ST_TIMEOUT);
    m = (world_message){.kind = WORLD_CREDIT};
    m.u.credit.segments = 1;
    world_reply(&s, m, &begin);
    m = world_hear(&s, WORLD_SEGMENT_IDS);
    assert_int_equal(m.u.segment_ids.segment, CREDIT);
    zsocket_message_fini(&s.frame);
    fini(&s);
}

static void
damaged_snapshots_are_never_kept(void **state)
{
    scene s;
    int32_t ids[MAX_IDS];
    uint8_t *snapshot;
    uint8_t sum[HASH_BYTES];
    size_t n;

    (void)state;
    init(&s);
    join(&s);
    n = 2 * s.model.segment_size;
    fill(ids, n, &s);
    for (int damage = 0; damage < 3; damage++) {
        world_message begin;

        add(&s, "d", ids, n);
        begin = take_begin(&s);
        take_segments(&s, &begin, ids, s.model.segment_size, false);
        /* A number of another place, a flipped bit, a wrong hash. */
        snapshot = make_snapshot(&s, damage == 0 ? 2 : 1, 1.0F);
        if (damage == 1)
            snapshot[SNAPSHOT_HEADER + 2] ^= 1;
        hash_of(snapshot, snapshot_size(&s), sum);
        sum[3] ^= damage == 2;
        send_snapshot(&s, &begin, snapshot, sum);
        world_finish(&s, &begin);
        hear_refused(&s, "wire");
        mem_free(snapshot);
    }
    assert_int_equal(count_documents(&s), 0);
    fini(&s);
}

static void
ids_and_lengths_are_checked(void **state)
{
    scene s;
    int32_t ids[200];

    (void)state;
    init(&s);
    fill(ids, 200, &s);
    add(&s, "short", ids, 3);
    hear_kind(&s, CLIENT_DONE);
    ask(&s, "short", ids, 101);
    hear_refused(&s, "limit");
    ids[1] = (int32_t)s.model.n_vocab;
    add(&s, "d", ids, 3);
    hear_refused(&s, "arg");
    ids[1] = -1;
    ask(&s, "short", ids, 3);
    hear_refused(&s, "arg");
    assert_int_equal(count_documents(&s), 1);
    fini(&s);
}

static void
malformed_messages_are_answered(void **state)
{
    static const uint8_t garbage[] = {0xff, 0xff, 0xff, 0xff};
    static const uint8_t other_major[] = {8, 9, 24, 5, 130, 1, 0};
    static const uint8_t unknown_body[] = {8, 1, 24, 5, 234, 7, 0};
    scene s;
    client_message m = {.kind = CLIENT_DONE};

    (void)state;
    init(&s);
    EXPECT_OK(zsocket_send(s.client, NULL, garbage, 4, NULL, 0));
    hear_refused(&s, "wire");
    EXPECT_OK(zsocket_send(s.client, NULL, other_major, 7, NULL, 0));
    hear_refused(&s, "unsupported");
    EXPECT_OK(zsocket_send(s.client, NULL, unknown_body, 7, NULL, 0));
    hear_refused(&s, "unsupported");
    request(&s, m); /* a reply is not a request */
    hear_refused(&s, "unsupported");
    EXPECT_OK(zsocket_send(s.world, NULL, garbage, 4, NULL, 0));
    assert_int_equal(count_documents(&s), 0);
    fini(&s);
}

static void
one_place_one_daemon(void **state)
{
    scene s;
    service *other;
    settings set;

    (void)state;
    init(&s);
    EXPECT_ST(service_new(&other, &s.set), ST_STATE);
    set = s.set;
    set.data = scratch_path(&s.box, "other");
    EXPECT_ST(service_new(&other, &set), ST_STATE); /* endpoint in use */
    set.model = "golden/none";
    EXPECT_ST(service_new(&other, &set), ST_NOTFOUND);
    set.model = MODEL;
    set.listen = "tcp://127.0.0.1:*";
    EXPECT_ST(service_new(&other, &set), ST_DENIED);
    fini(&s);
}

/* The first one, too: nothing is dispatched to a world with other weights. */
static void
worlds_must_have_the_model(void **state)
{
    scene s;
    world_message m;

    (void)state;
    init(&s);
    m = hello(&s);
    m.u.hello.fingerprint[31] ^= 1;
    world_say(&s, m, NULL, 0);
    m = world_hear(&s, WORLD_REFUSE);
    assert_non_null(strstr(m.u.failed.text, "another checkpoint"));
    world_message_fini(&m);
    join(&s);
    fini(&s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(worlds_must_have_the_model),
        cmocka_unit_test(documents_are_read_kept_and_asked),
        cmocka_unit_test(credit_is_kept_to),
        cmocka_unit_test(damaged_snapshots_are_never_kept),
        cmocka_unit_test(ids_and_lengths_are_checked),
        cmocka_unit_test(malformed_messages_are_answered),
        cmocka_unit_test(one_place_one_daemon),
    };

    log_init("service_test", LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
