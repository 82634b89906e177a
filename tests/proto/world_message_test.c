/* SPDX-License-Identifier: Apache-2.0 */
/* World messages: every kind there and back, ranges, versions. */
#include "proto/world_message.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "tests/expect.h"

static world_message
copy_of(const world_message *m)
{
    world_message out;
    uint8_t *data;
    size_t len;

    EXPECT_OK(world_message_encode(&data, &len, m));
    EXPECT_OK(world_message_decode(&out, data, len));
    assert_int_equal(out.kind, m->kind);
    assert_int_equal(out.incarnation, m->incarnation);
    assert_int_equal(out.job, m->job);
    assert_int_equal(out.attempt, m->attempt);
    mem_free(data);
    return out;
}

static void
refuse(const world_message *m, status code)
{
    uint8_t *data = NULL;
    size_t len;

    EXPECT_ST(world_message_encode(&data, &len, m), code);
    assert_null(data);
}

static world_message
a_hello(void)
{
    world_message m = {.kind = WORLD_HELLO,
                       .incarnation = UINT64_MAX,
                       .job = 5,
                       .attempt = UINT32_MAX,
                       .u.hello = {.version = "0.1.0",
                                   .model_dir = "/models/a b",
                                   .placement = "segments",
                                   .device = "cpu",
                                   .device_name = "a processor",
                                   .ranks = 1,
                                   .threads = 2,
                                   .n_layer = 3,
                                   .segment_size = 4,
                                   .n_vocab = 5,
                                   .snapshot_bytes = 6,
                                   .launch = 7,
                                   .kin = 8,
                                   .streams = 8,
                                   .credit_segments = 9,
                                   .max_generate = 10}};

    for (int i = 0; i < 32; i++)
        m.u.hello.fingerprint[i] = (uint8_t)i;
    return m;
}

static void
hello_goes_round(void **state)
{
    uint64_t bytes[] = {13, 0, UINT64_MAX};
    world_message m = a_hello(), got;
    const world_hello *h = &got.u.hello;

    m.u.hello.token_bytes = 11;
    m.u.hello.max_context = 12;
    m.u.hello.layer_bytes = bytes;
    m.u.hello.n_layer_bytes = 3;
    m.u.hello.measured = (world_measured){1, 2, 3, 4, 5, 6, 7, 8};
    got = copy_of(&m);

    (void)state;
    assert_memory_equal(&h->measured, &m.u.hello.measured, sizeof h->measured);
    assert_string_equal(h->version, "0.1.0");
    assert_string_equal(h->model_dir, "/models/a b");
    assert_string_equal(h->placement, "segments");
    assert_string_equal(h->device, "cpu");
    assert_string_equal(h->device_name, "a processor");
    assert_memory_equal(h->fingerprint, m.u.hello.fingerprint, 32);
    assert_int_equal(h->ranks, 1);
    assert_int_equal(h->threads, 2);
    assert_int_equal(h->n_layer, 3);
    assert_int_equal(h->segment_size, 4);
    assert_int_equal(h->n_vocab, 5);
    assert_int_equal(h->snapshot_bytes, 6);
    assert_int_equal(h->launch, 7);
    assert_int_equal(h->kin, 8);
    assert_int_equal(h->streams, 8);
    assert_int_equal(h->credit_segments, 9);
    assert_int_equal(h->max_generate, 10);
    assert_int_equal(h->token_bytes, 11);
    assert_int_equal(h->max_context, 12);
    assert_int_equal(h->n_layer_bytes, 3);
    assert_memory_equal(h->layer_bytes, bytes, sizeof(bytes));
    world_message_fini(&got);
    world_message_fini(&got);
}

/* One size for every layer, or none. */
static void
states_of_other_layers_are_refused(void **state)
{
    uint64_t bytes[] = {1, 2};
    world_message m = a_hello(), got;
    uint8_t *data;
    size_t len;

    (void)state;
    m.u.hello.layer_bytes = bytes;
    m.u.hello.n_layer_bytes = 2;
    EXPECT_OK(world_message_encode(&data, &len, &m));
    EXPECT_ST(world_message_decode(&got, data, len), ST_ARG);
    mem_free(data);
}

static void
events_go_round(void **state)
{
    world_message m = {.kind = WORLD_HEARTBEAT,
                       .u.heartbeat = {.tokens_per_second = 2.5,
                                       .streams_busy = 3,
                                       .silent_ms = 6,
                                       .hop_s = 4.5,
                                       .hop_hidden_s = 3.5}};
    world_message got = copy_of(&m);

    (void)state;
    assert_true(got.u.heartbeat.tokens_per_second == 2.5);
    assert_int_equal(got.u.heartbeat.streams_busy, 3);
    assert_int_equal(got.u.heartbeat.silent_ms, 6);
    assert_true(got.u.heartbeat.hop_s == 4.5);
    assert_true(got.u.heartbeat.hop_hidden_s == 3.5);
    m = (world_message){.kind = WORLD_CREDIT, .job = 1, .u.credit = {4}};
    got = copy_of(&m);
    assert_int_equal(got.u.credit.segments, 4);
    m = (world_message){.kind = WORLD_SEGMENTS_DONE,
                        .u.segments_done = {UINT64_MAX}};
    got = copy_of(&m);
    assert_int_equal(got.u.segments_done.segments, UINT64_MAX);
    m = (world_message){.kind = WORLD_TOKEN, .u.token = {5, -6, -0.5F}};
    got = copy_of(&m);
    assert_int_equal(got.u.token.index, 5);
    assert_int_equal(got.u.token.id, -6);
    assert_true(got.u.token.logprob == -0.5F);
    m = (world_message){.kind = WORLD_JOB_DONE,
                        .u.job_done = {.finish = "eos", .seconds = 0.5}};
    got = copy_of(&m);
    assert_string_equal(got.u.job_done.finish, "eos");
    assert_true(got.u.job_done.seconds == 0.5);
    world_message_fini(&got);
    m = (world_message){.kind = WORLD_JOB_FAILED,
                        .u.failed = {.code = "mpi", .text = "rank 1\tgone"}};
    got = copy_of(&m);
    assert_string_equal(got.u.failed.code, "mpi");
    assert_string_equal(got.u.failed.text, "rank 1 gone");
    world_message_fini(&got);
}

static void
orders_go_round(void **state)
{
    world_message m = {.kind = WORLD_WELCOME, .u.welcome = {7, 8, 9}};
    world_message got = copy_of(&m);

    (void)state;
    assert_int_equal(got.u.welcome.incarnation, 7);
    assert_int_equal(got.u.welcome.heartbeat_ms, 8);
    assert_int_equal(got.u.welcome.timeout_ms, 9);
    m = (world_message){.kind = WORLD_SEGMENT_IDS,
                        .u.segment_ids = {.segment = 12, .prompt = true}};
    got = copy_of(&m);
    assert_int_equal(got.u.segment_ids.segment, 12);
    assert_true(got.u.segment_ids.prompt);
    m = (world_message){.kind = WORLD_CANCEL, .job = 3, .attempt = 4};
    got = copy_of(&m);
    m.kind = WORLD_STOP;
    got = copy_of(&m);
    m = (world_message){.kind = WORLD_REFUSE,
                        .u.failed = {.code = "state", .text = "full"}};
    got = copy_of(&m);
    assert_string_equal(got.u.failed.code, "state");
    assert_string_equal(got.u.failed.text, "full");
    world_message_fini(&got);
}

static void
begin_goes_round(void **state)
{
    world_message m = {.kind = WORLD_BEGIN,
                       .u.begin = {.snapshot_bytes = 1,
                                   .first_segment = 2,
                                   .n_segment = 3,
                                   .want_snapshot = true,
                                   .n_token = 7,
                                   .generate = {.max_tokens = 4,
                                                .temperature = 0.5F,
                                                .top_p = 0.25F,
                                                .min_p = 0.125F,
                                                .penalty = 1.25F,
                                                .logprobs = true,
                                                .top_k = 5,
                                                .seed = UINT64_MAX,
                                                .n_eos = 2,
                                                .eos = {6, INT32_MAX}}}};
    world_message got = copy_of(&m);

    (void)state;
    assert_memory_equal(&got.u.begin.generate, &m.u.begin.generate,
                        sizeof(world_generate));
    assert_int_equal(got.u.begin.snapshot_bytes, 1);
    assert_int_equal(got.u.begin.first_segment, 2);
    assert_int_equal(got.u.begin.n_segment, 3);
    assert_true(got.u.begin.want_snapshot);
    assert_int_equal(got.u.begin.n_token, 7);
    m.u.begin.generate.max_tokens = 0;
    got = copy_of(&m);
    assert_int_equal(got.u.begin.generate.max_tokens, 0);
}

static void
snapshot_parts_go_round(void **state)
{
    world_message m = {.kind = WORLD_SNAPSHOT,
                       .u.snapshot = {.offset = 10, .total = 20}};
    world_message got = copy_of(&m);

    (void)state;
    assert_int_equal(got.u.snapshot.offset, 10);
    assert_int_equal(got.u.snapshot.total, 20);
    assert_false(got.u.snapshot.last);
    m.u.snapshot.last = true;
    memset(m.u.snapshot.hash, 0xAB, 32);
    got = copy_of(&m);
    assert_true(got.u.snapshot.last);
    assert_memory_equal(got.u.snapshot.hash, m.u.snapshot.hash, 32);
    m.u.snapshot.offset = 21;
    refuse(&m, ST_ARG);
}

static void
hello_is_checked(void **state)
{
    world_message m = a_hello();
    uint32_t *const field[] = {&m.u.hello.ranks,        &m.u.hello.threads,
                               &m.u.hello.n_layer,      &m.u.hello.n_vocab,
                               &m.u.hello.segment_size, &m.u.hello.streams};

    (void)state;
    for (size_t i = 0; i < sizeof(field) / sizeof(*field); i++) {
        uint32_t saved = *field[i];

        *field[i] = 0;
        refuse(&m, ST_ARG);
        *field[i] = UINT32_MAX;
        refuse(&m, ST_ARG);
        *field[i] = saved;
    }
    m.u.hello.placement = "two\nlines";
    refuse(&m, ST_ARG);
}

static void
sampling_is_checked(void **state)
{
    const world_generate bad[] = {
        {.temperature = -1},  {.temperature = 101},
        {.temperature = NAN}, {.top_p = -1},
        {.top_p = 2},         {.top_p = NAN},
        {.min_p = -1},        {.min_p = 2},
        {.min_p = NAN},       {.penalty = -1},
        {.penalty = 101},     {.penalty = INFINITY},
        {.penalty = NAN},     {.n_eos = WORLD_MAX_EOS + 1},
    };
    world_message m = {.kind = WORLD_BEGIN};
    const float bad_logprob[] = {0.5F, NAN, -INFINITY};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        m.u.begin.generate = bad[i];
        refuse(&m, ST_ARG);
    }
    m = (world_message){.kind = WORLD_TOKEN};
    for (size_t i = 0; i < sizeof(bad_logprob) / sizeof(*bad_logprob); i++) {
        m.u.token.logprob = bad_logprob[i];
        refuse(&m, ST_ARG);
    }
}

static void
numbers_are_checked(void **state)
{
    world_message m = {.kind = WORLD_HEARTBEAT,
                       .u.heartbeat.tokens_per_second = NAN};

    (void)state;
    refuse(&m, ST_ARG);
    m = (world_message){
        .kind = WORLD_BEGIN,
        .u.begin = {.first_segment = UINT64_MAX, .n_segment = 1}};
    refuse(&m, ST_ARG);
    m = (world_message){.kind = (world_kind)30};
    refuse(&m, ST_ARG);
}

static void
others_are_refused(void **state)
{
    const uint8_t version[] = {0x08, 9, 0x9A, 0x01, 0};
    const uint8_t body[] = {0x08, 1, 0xFA, 0x01, 0};
    const uint8_t short_hash[] = {0x08, 1, 0x8A, 0x01, 3, 0x1A, 1, 7};
    world_message m = {.kind = WORLD_REFUSE};
    char text[WORLD_MAX_MESSAGE + 1];

    (void)state;
    EXPECT_ST(world_message_decode(&m, version, sizeof(version)),
              ST_UNSUPPORTED);
    assert_non_null(strstr(status_text(), "version 9"));
    assert_non_null(strstr(status_text(), "version 1"));
    EXPECT_ST(world_message_decode(&m, body, sizeof(body)), ST_UNSUPPORTED);
    EXPECT_ST(world_message_decode(&m, short_hash, sizeof(short_hash)), ST_ARG);
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = 0;
    m.u.failed.text = text;
    refuse(&m, ST_LIMIT);
    EXPECT_ST(world_message_decode(&m, (uint8_t *)text, sizeof(text)),
              ST_LIMIT);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hello_goes_round),
        cmocka_unit_test(states_of_other_layers_are_refused),
        cmocka_unit_test(events_go_round),
        cmocka_unit_test(orders_go_round),
        cmocka_unit_test(begin_goes_round),
        cmocka_unit_test(snapshot_parts_go_round),
        cmocka_unit_test(hello_is_checked),
        cmocka_unit_test(sampling_is_checked),
        cmocka_unit_test(numbers_are_checked),
        cmocka_unit_test(others_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
