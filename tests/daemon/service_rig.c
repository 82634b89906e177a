/* SPDX-License-Identifier: Apache-2.0 */
/* A daemon in a thread, and both sides of it by hand. */
#include "tests/daemon/service_rig.h"

#include "base/mem.h"
#include "model/fingerprint.h"
#include "proto/snapshot.h"

static void *
run(void *arg)
{
    EXPECT_OK(service_run(arg));
    return NULL;
}

void
service_rig_start(service_rig *s)
{
    EXPECT_OK(service_new(&s->v, &s->set));
    assert_int_equal(pthread_create(&s->thread, NULL, run, s->v), 0);
    EXPECT_OK(
        zsocket_dealer(&s->client, s->z, s->client_at, NULL, CLIENT_MAX_CHUNK));
    EXPECT_OK(
        zsocket_dealer(&s->world, s->z, s->world_at, NULL, WORLD_MAX_PART));
    s->request = 0;
}

void
service_rig_init(service_rig *s)
{
    *s = (service_rig){0};
    scratch_init(&s->box);
    (void)snprintf(s->client_at, sizeof(s->client_at), "ipc://%s/c",
                   s->box.dir);
    (void)snprintf(s->world_at, sizeof(s->world_at), "ipc://%s/w", s->box.dir);
    (void)snprintf(s->data, sizeof(s->data), "%s/data", s->box.dir);
    s->set = (settings){.model = SERVICE_RIG_MODEL,
                        .template = "plain",
                        .listen = s->client_at,
                        .listen_worlds = s->world_at,
                        .data = s->data,
                        .max_question = 100,
                        .max_input = 1 << 20,
                        .max_queue = 8,
                        .keep = 7,
                        .drain_seconds = 1};
    EXPECT_OK(config_load(&s->model, SERVICE_RIG_MODEL));
    EXPECT_OK(zcontext_new(&s->z));
    service_rig_start(s);
}

static void
say(service_rig *s, client_message m, const void *raw, size_t raw_len)
{
    uint8_t *data;
    size_t len;

    m.request = s->request;
    EXPECT_OK(client_message_encode(&data, &len, &m));
    EXPECT_OK(zsocket_send(s->client, NULL, data, len, raw, raw_len));
    mem_free(data);
}

void
service_rig_request(service_rig *s, client_message m)
{
    s->request++;
    say(s, m, NULL, 0);
}

client_message
service_rig_hear(service_rig *s)
{
    client_message m = {0};
    uint64_t number;

    do {
        client_message_fini(&m);
        EXPECT_OK(zsocket_recv(s->client, &s->frame, SERVICE_RIG_MS));
        EXPECT_OK(client_message_decode(&m, &number, s->frame.control,
                                        s->frame.control_len));
        zsocket_message_fini(&s->frame);
    } while (m.kind == CLIENT_PROGRESS);
    return m;
}

void
service_rig_hear_kind(service_rig *s, client_kind kind)
{
    client_message m = service_rig_hear(s);

    if (m.kind == CLIENT_REFUSED && kind != CLIENT_REFUSED)
        fail_msg("refused: %s", m.u.refused.text);
    assert_int_equal(m.kind, kind);
    client_message_fini(&m);
}

void
service_rig_hear_refused(service_rig *s, const char *code)
{
    client_message m = service_rig_hear(s);

    assert_int_equal(m.kind, CLIENT_REFUSED);
    if (strcmp(m.u.refused.code, code) != 0)
        fail_msg("%s, expected %s: %s", m.u.refused.code, code,
                 m.u.refused.text);
    client_message_fini(&m);
}

static void
send_ids(service_rig *s, const int32_t *ids, size_t n)
{
    client_message chunk = {.kind = CLIENT_CHUNK};

    service_rig_hear_kind(s, CLIENT_MORE_INPUT);
    say(s, chunk, ids, n * sizeof(*ids));
    service_rig_hear_kind(s, CLIENT_ACCEPTED);
}

void
service_rig_add(service_rig *s, const char *name, const int32_t *ids, size_t n)
{
    client_message m = {.kind = CLIENT_ADD};

    m.u.add.name = (char *)(uintptr_t)name;
    m.u.add.input = CLIENT_IDS;
    m.u.add.bytes = n * sizeof(*ids);
    service_rig_request(s, m);
    send_ids(s, ids, n);
}

void
service_rig_ask(service_rig *s, const char *name, const int32_t *ids, size_t n)
{
    client_message m = {.kind = CLIENT_ASK};

    m.u.ask.document = (char *)(uintptr_t)name;
    m.u.ask.input = CLIENT_IDS;
    m.u.ask.bytes = n * sizeof(*ids);
    m.u.ask.sampling.max_tokens = 4;
    service_rig_request(s, m);
    send_ids(s, ids, n);
}

size_t
service_rig_documents(service_rig *s)
{
    client_message m = {.kind = CLIENT_LIST};
    size_t n;

    service_rig_request(s, m);
    m = service_rig_hear(s);
    assert_int_equal(m.kind, CLIENT_DOCUMENTS);
    n = m.u.documents.n;
    client_message_fini(&m);
    return n;
}

void
service_rig_world_say(service_rig *s, world_message m, const void *raw,
                      size_t raw_len)
{
    uint8_t *data;
    size_t len;

    m.incarnation = s->incarnation;
    EXPECT_OK(world_message_encode(&data, &len, &m));
    EXPECT_OK(zsocket_send(s->world, NULL, data, len, raw, raw_len));
    mem_free(data);
}

world_message
service_rig_world_hear(service_rig *s, world_kind kind)
{
    world_message m = {0};

    do { /* a job that failed here may be canceled there, or be over already */
        zsocket_message_fini(&s->frame);
        EXPECT_OK(zsocket_recv(s->world, &s->frame, SERVICE_RIG_MS));
        EXPECT_OK(
            world_message_decode(&m, s->frame.control, s->frame.control_len));
    } while (m.kind == WORLD_CANCEL);
    assert_int_equal(m.kind, kind);
    return m;
}

void
service_rig_world_reply(service_rig *s, world_message m,
                        const world_message *begin)
{
    m.job = begin->job;
    m.attempt = begin->attempt;
    service_rig_world_say(s, m, NULL, 0);
}

size_t
service_rig_snapshot_bytes(const service_rig *s)
{
    size_t n;

    EXPECT_OK(snapshot_bytes(&n, s->model.n_layer * SERVICE_RIG_FLOATS *
                                     sizeof(float)));
    return n;
}

world_message
service_rig_hello(const service_rig *s)
{
    static char word[] = "test";
    world_message m = {.kind = WORLD_HELLO};

    m.u.hello.version = m.u.hello.model_dir = m.u.hello.placement = word;
    m.u.hello.device = m.u.hello.device_name = word;
    EXPECT_OK(fingerprint_read(m.u.hello.fingerprint, NULL, SERVICE_RIG_MODEL,
                               FINGERPRINT_STORED, NULL));
    m.u.hello.ranks = m.u.hello.threads = 1;
    m.u.hello.n_layer = s->model.n_layer;
    m.u.hello.segment_size = s->model.segment_size;
    m.u.hello.n_vocab = s->model.n_vocab;
    m.u.hello.snapshot_bytes = service_rig_snapshot_bytes(s);
    m.u.hello.streams = 2;
    m.u.hello.credit_segments = SERVICE_RIG_CREDIT;
    m.u.hello.max_generate = 64;
    return m;
}

void
service_rig_join(service_rig *s)
{
    world_message m;

    s->incarnation = 0;
    service_rig_world_say(s, service_rig_hello(s), NULL, 0);
    m = service_rig_world_hear(s, WORLD_WELCOME);
    s->incarnation = m.u.welcome.incarnation;
    zsocket_message_fini(&s->frame);
    world_message_fini(&m);
}

uint8_t *
service_rig_snapshot(const service_rig *s, uint64_t n, float scale)
{
    snapshot_info info = {.n_layer = s->model.n_layer,
                          .state_bytes = s->model.n_layer * SERVICE_RIG_FLOATS *
                                         sizeof(float),
                          .n_segment = n};
    uint8_t *data;
    size_t count = s->model.n_layer * SERVICE_RIG_FLOATS;

    EXPECT_OK(fingerprint_read(info.fingerprint, NULL, SERVICE_RIG_MODEL,
                               FINGERPRINT_STORED, NULL));
    EXPECT_OK(mem_new(&data, service_rig_snapshot_bytes(s), 1));
    for (size_t i = 0; i < count; i++) {
        float value = (float)i * scale;

        memcpy(data + SNAPSHOT_HEADER + i * sizeof(value), &value,
               sizeof(value));
    }
    EXPECT_OK(snapshot_seal(data, service_rig_snapshot_bytes(s), &info));
    return data;
}

void
service_rig_hash(const void *data, size_t len, uint8_t out[HASH_BYTES])
{
    hash h;

    hash_init(&h);
    hash_add(&h, data, len);
    hash_end(&h, out);
}

void
service_rig_send_snapshot(service_rig *s, const world_message *begin,
                          const uint8_t *data, const uint8_t *sum)
{
    world_message m = {
        .kind = WORLD_SNAPSHOT, .job = begin->job, .attempt = begin->attempt};
    size_t n = service_rig_snapshot_bytes(s);

    m.u.snapshot.total = n;
    service_rig_world_say(s, m, data, 50);
    m.u.snapshot.offset = 50;
    m.u.snapshot.last = true;
    memcpy(m.u.snapshot.hash, sum, HASH_BYTES);
    service_rig_world_say(s, m, data + 50, n - 50);
}

void
service_rig_take_segments(service_rig *s, const world_message *begin,
                          const int32_t *ids, size_t n_id, bool prompt)
{
    size_t size = s->model.segment_size;
    size_t n = (n_id + size - 1) / size;

    for (size_t i = 0; i < n; i++) {
        size_t len = n_id - i * size < size ? n_id - i * size : size;
        world_message m = service_rig_world_hear(s, WORLD_SEGMENT_IDS);

        assert_int_equal(m.u.segment_ids.segment,
                         begin->u.begin.first_segment + i);
        assert_int_equal(m.u.segment_ids.prompt, prompt && i + 1 == n);
        assert_int_equal(s->frame.raw_len, len * sizeof(*ids));
        assert_memory_equal(s->frame.raw, ids + i * size, s->frame.raw_len);
        zsocket_message_fini(&s->frame);
        m = (world_message){.kind = WORLD_CREDIT};
        m.u.credit.segments = 1;
        service_rig_world_reply(s, m, begin);
    }
}

void
service_rig_world_finish(service_rig *s, const world_message *begin)
{
    static char how[] = "length";
    world_message m = {.kind = WORLD_JOB_DONE};

    m.u.job_done.finish = how;
    service_rig_world_reply(s, m, begin);
}

world_message
service_rig_take_begin(service_rig *s)
{
    world_message m = service_rig_world_hear(s, WORLD_BEGIN);

    zsocket_message_fini(&s->frame);
    return m;
}

void
service_rig_stop(service_rig *s)
{
    client_message m = {.kind = CLIENT_SHUTDOWN};

    service_rig_request(s, m);
    service_rig_hear_kind(s, CLIENT_DONE);
    assert_int_equal(pthread_join(s->thread, NULL), 0);
    service_free(s->v);
    zsocket_close(s->client);
    zsocket_close(s->world);
}

void
service_rig_fini(service_rig *s)
{
    service_rig_stop(s);
    zcontext_free(s->z);
    scratch_fini(&s->box);
}

void
service_rig_fill(int32_t *ids, size_t n, const service_rig *s)
{
    for (size_t i = 0; i < n; i++)
        ids[i] = (int32_t)((i * 7 + 3) % s->model.n_vocab);
}
