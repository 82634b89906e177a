/* SPDX-License-Identifier: Apache-2.0 */
/* Client messages: every kind there and back, ranges, versions, hostile bytes.
 */
#include "proto/client_message.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "tests/expect.h"

static client_message
copy_of(const client_message *m)
{
    client_message out;
    uint8_t *data;
    uint64_t request;
    size_t len;

    EXPECT_OK(client_message_encode(&data, &len, m));
    EXPECT_OK(client_message_decode(&out, &request, data, len));
    assert_int_equal(request, m->request);
    assert_int_equal(out.request, m->request);
    assert_int_equal(out.kind, m->kind);
    assert_int_equal(out.major, CLIENT_MAJOR);
    assert_int_equal(out.minor, CLIENT_MINOR);
    mem_free(data);
    return out;
}

static void
refuse(const client_message *m, status code)
{
    uint8_t *data = NULL;
    size_t len;

    EXPECT_ST(client_message_encode(&data, &len, m), code);
    assert_null(data);
}

static void
requests_go_round(void **state)
{
    client_message add = {.kind = CLIENT_ADD,
                          .request = UINT64_MAX,
                          .u.add = {.name = "Å document",
                                    .model = "abcd",
                                    .input = CLIENT_IDS,
                                    .bytes = UINT64_C(1) << 40}};
    client_message ask = {
        .kind = CLIENT_ASK,
        .request = 7,
        .u.ask = {.document = "doc",
                  .input = CLIENT_TEXT,
                  .bytes = 5,
                  .sampling = {.max_tokens = CLIENT_MAX_GENERATE,
                               .temperature = 0.5F,
                               .top_k = 40,
                               .top_p = 0.9F,
                               .min_p = 0.125F,
                               .penalty = 1.25F,
                               .logprobs = true,
                               .seed = UINT64_MAX,
                               .ignore_eos = true,
                               .n_stop = 2,
                               .stop = {"\n\n", "END"}}}};
    client_message got = copy_of(&add);

    (void)state;
    assert_string_equal(got.u.add.name, "Å document");
    assert_string_equal(got.u.add.model, "abcd");
    assert_int_equal(got.u.add.input, CLIENT_IDS);
    assert_int_equal(got.u.add.bytes, UINT64_C(1) << 40);
    client_message_fini(&got);

    got = copy_of(&ask);
    assert_string_equal(got.u.ask.document, "doc");
    assert_int_equal(got.u.ask.input, CLIENT_TEXT);
    assert_int_equal(got.u.ask.bytes, 5);
    assert_int_equal(got.u.ask.sampling.max_tokens, CLIENT_MAX_GENERATE);
    assert_true(got.u.ask.sampling.temperature == 0.5F);
    assert_int_equal(got.u.ask.sampling.top_k, 40);
    assert_true(got.u.ask.sampling.top_p == 0.9F);
    assert_true(got.u.ask.sampling.min_p == 0.125F);
    assert_true(got.u.ask.sampling.penalty == 1.25F);
    assert_true(got.u.ask.sampling.logprobs);
    assert_int_equal(got.u.ask.sampling.seed, UINT64_MAX);
    assert_true(got.u.ask.sampling.ignore_eos);
    assert_int_equal(got.u.ask.sampling.n_stop, 2);
    assert_string_equal(got.u.ask.sampling.stop[0], "\n\n");
    assert_string_equal(got.u.ask.sampling.stop[1], "END");
    client_message_fini(&got);

    ask.u.ask.sampling = (client_sampling){.max_tokens = 1};
    got = copy_of(&ask);
    assert_true(got.u.ask.sampling.top_p == 1.0F);
    assert_true(got.u.ask.sampling.penalty == 1.0F);
    assert_false(got.u.ask.sampling.logprobs);
    client_message_fini(&got);
}

static void
small_requests_go_round(void **state)
{
    const client_kind empty[] = {CLIENT_LIST, CLIENT_JOBS, CLIENT_GET_STATUS,
                                 CLIENT_SHUTDOWN};
    client_message m = {.request = 3};
    client_message got;

    (void)state;
    for (size_t i = 0; i < sizeof(empty) / sizeof(*empty); i++) {
        m.kind = empty[i];
        got = copy_of(&m);
        client_message_fini(&got);
    }
    m.kind = CLIENT_CHUNK;
    m.u.chunk.offset = UINT64_MAX;
    got = copy_of(&m);
    assert_int_equal(got.u.chunk.offset, UINT64_MAX);
    m.kind = CLIENT_CANCEL;
    m.u.job.job = 12;
    got = copy_of(&m);
    assert_int_equal(got.u.job.job, 12);
    m.kind = CLIENT_WATCH;
    got = copy_of(&m);
    assert_int_equal(got.u.job.job, 12);
    m.kind = CLIENT_SHOW;
    m.u.name.document = "a";
    got = copy_of(&m);
    assert_string_equal(got.u.name.document, "a");
    client_message_fini(&got);
    m.kind = CLIENT_REMOVE;
    got = copy_of(&m);
    assert_string_equal(got.u.name.document, "a");
    client_message_fini(&got);
    client_message_fini(&got);
}

static void
events_go_round(void **state)
{
    client_message m = {.kind = CLIENT_ACCEPTED,
                        .u.accepted = {.job = 1, .input_credit = 2}};
    client_message got = copy_of(&m);

    (void)state;
    assert_int_equal(got.u.accepted.job, 1);
    assert_int_equal(got.u.accepted.input_credit, 2);
    m = (client_message){.kind = CLIENT_MORE_INPUT,
                         .u.accepted = {.input_credit = 99}};
    got = copy_of(&m);
    assert_int_equal(got.u.accepted.input_credit, 99);
    m = (client_message){.kind = CLIENT_PROGRESS,
                         .u.progress = {.job = 4,
                                        .tokens_in = 5,
                                        .segments_done = 6,
                                        .segments_total = 7,
                                        .state = CLIENT_CANCELED,
                                        .tokens_per_second = 1e6,
                                        .seconds_left = -1}};
    got = copy_of(&m);
    assert_memory_equal(&got.u.progress, &m.u.progress, sizeof(m.u.progress));
    m = (client_message){.kind = CLIENT_TOKEN,
                         .u.token = {.job = 1,
                                     .index = 3,
                                     .id = -5,
                                     .logprob = -1e-3F,
                                     .text = "a\0b",
                                     .text_len = 3}};
    got = copy_of(&m);
    assert_int_equal(got.u.token.job, 1);
    assert_int_equal(got.u.token.index, 3);
    assert_int_equal(got.u.token.id, -5);
    assert_true(got.u.token.logprob == -1e-3F);
    assert_int_equal(got.u.token.text_len, 3);
    assert_memory_equal(got.u.token.text, "a\0b", 4);
    client_message_fini(&got);
}

static void
done_goes_round(void **state)
{
    int32_t ids[] = {0, 1, INT32_MAX, -1};
    float logprobs[] = {0, -0.125F, -1e30F, -3};
    client_message m = {.kind = CLIENT_DONE,
                        .request = 8,
                        .u.done = {.job = 1,
                                   .tokens = 2,
                                   .segments = 3,
                                   .snapshot_bytes = 4,
                                   .skipped_tokens = 5,
                                   .document = "d",
                                   .finish = "length",
                                   .warning = "out of range",
                                   .text = "answer",
                                   .text_len = 6,
                                   .seconds = 1.5,
                                   .seconds_to_first_token = 0.25,
                                   .tokens_per_second = 12,
                                   .ids = ids,
                                   .n_id = 4,
                                   .logprobs = logprobs,
                                   .n_logprob = 4}};
    client_message got = copy_of(&m);

    (void)state;
    assert_int_equal(got.u.done.job, 1);
    assert_int_equal(got.u.done.tokens, 2);
    assert_int_equal(got.u.done.segments, 3);
    assert_int_equal(got.u.done.snapshot_bytes, 4);
    assert_int_equal(got.u.done.skipped_tokens, 5);
    assert_string_equal(got.u.done.document, "d");
    assert_string_equal(got.u.done.finish, "length");
    assert_string_equal(got.u.done.warning, "out of range");
    assert_string_equal(got.u.done.text, "answer");
    assert_int_equal(got.u.done.text_len, 6);
    assert_true(got.u.done.seconds == 1.5);
    assert_true(got.u.done.seconds_to_first_token == 0.25);
    assert_true(got.u.done.tokens_per_second == 12);
    assert_int_equal(got.u.done.n_id, 4);
    assert_memory_equal(got.u.done.ids, ids, sizeof(ids));
    assert_int_equal(got.u.done.n_logprob, 4);
    assert_memory_equal(got.u.done.logprobs, logprobs, sizeof(logprobs));
    client_message_fini(&got);

    m = (client_message){.kind = CLIENT_DONE};
    got = copy_of(&m);
    assert_string_equal(got.u.done.document, "");
    assert_string_equal(got.u.done.finish, "");
    assert_string_equal(got.u.done.text, "");
    assert_non_null(got.u.done.ids);
    client_message_fini(&got);
}

static void
lists_go_round(void **state)
{
    float norm[] = {0, 1.5F, 3e38F};
    client_document documents[] = {{.name = "a",
                                    .state_norm = norm,
                                    .n_norm = 3,
                                    .warning = "strained",
                                    .model = "f00d",
                                    .tokens = 1,
                                    .segments = 2,
                                    .snapshot_bytes = 3,
                                    .created_ms = -4,
                                    .pending_tokens = 5},
                                   {.name = "b"}};
    client_job jobs[] = {{.job = 1,
                          .kind = "ask",
                          .document = "a",
                          .code = "limit",
                          .text = "too much",
                          .state = CLIENT_FAILED,
                          .created_ms = 2,
                          .tokens = 3,
                          .segments_done = 4,
                          .segments_total = 5}};
    client_message m = {.kind = CLIENT_DOCUMENTS,
                        .u.documents = {.item = documents, .n = 2}};
    client_message got = copy_of(&m);

    (void)state;
    assert_int_equal(got.u.documents.n, 2);
    assert_string_equal(got.u.documents.item[0].name, "a");
    assert_string_equal(got.u.documents.item[0].model, "f00d");
    assert_int_equal(got.u.documents.item[0].tokens, 1);
    assert_int_equal(got.u.documents.item[0].segments, 2);
    assert_int_equal(got.u.documents.item[0].snapshot_bytes, 3);
    assert_int_equal(got.u.documents.item[0].created_ms, -4);
    assert_int_equal(got.u.documents.item[0].pending_tokens, 5);
    assert_int_equal(got.u.documents.item[0].n_norm, 3);
    assert_memory_equal(got.u.documents.item[0].state_norm, norm, sizeof(norm));
    assert_string_equal(got.u.documents.item[0].warning, "strained");
    assert_string_equal(got.u.documents.item[1].name, "b");
    assert_int_equal(got.u.documents.item[1].n_norm, 0);
    client_message_fini(&got);

    m = (client_message){.kind = CLIENT_JOB_LIST,
                         .u.jobs = {.item = jobs, .n = 1}};
    got = copy_of(&m);
    assert_int_equal(got.u.jobs.n, 1);
    assert_int_equal(got.u.jobs.item[0].job, 1);
    assert_string_equal(got.u.jobs.item[0].kind, "ask");
    assert_string_equal(got.u.jobs.item[0].document, "a");
    assert_string_equal(got.u.jobs.item[0].code, "limit");
    assert_string_equal(got.u.jobs.item[0].text, "too much");
    assert_int_equal(got.u.jobs.item[0].state, CLIENT_FAILED);
    assert_int_equal(got.u.jobs.item[0].created_ms, 2);
    assert_int_equal(got.u.jobs.item[0].tokens, 3);
    assert_int_equal(got.u.jobs.item[0].segments_done, 4);
    assert_int_equal(got.u.jobs.item[0].segments_total, 5);
    client_message_fini(&got);
}

static void
status_goes_round(void **state)
{
    client_world world = {.incarnation = 9,
                          .model = "m",
                          .placement = "layers",
                          .device = "cpu",
                          .state = "ready",
                          .ranks = 1,
                          .threads = 2,
                          .streams = 3,
                          .streams_busy = 4,
                          .tokens_per_second = 5,
                          .measured = {6, 7, 8, 9, 10, 11}};
    client_message m = {.kind = CLIENT_STATUS,
                        .u.status = {.version = "0.1.0",
                                     .last_error = "rank 1\nis gone",
                                     .uptime_seconds = 1,
                                     .longest_turn_ms = 2,
                                     .jobs_queued = 3,
                                     .jobs_running = 4,
                                     .documents = 5,
                                     .world = &world,
                                     .n_world = 1}};
    client_message got = copy_of(&m);
    const client_world *w = got.u.status.world;

    (void)state;
    assert_string_equal(got.u.status.version, "0.1.0");
    assert_string_equal(got.u.status.last_error, "rank 1 is gone");
    assert_true(got.u.status.uptime_seconds == 1);
    assert_true(got.u.status.longest_turn_ms == 2);
    assert_int_equal(got.u.status.jobs_queued, 3);
    assert_int_equal(got.u.status.jobs_running, 4);
    assert_int_equal(got.u.status.documents, 5);
    assert_int_equal(got.u.status.n_world, 1);
    assert_int_equal(w->incarnation, 9);
    assert_string_equal(w->model, "m");
    assert_string_equal(w->placement, "layers");
    assert_string_equal(w->device, "cpu");
    assert_string_equal(w->state, "ready");
    assert_int_equal(w->ranks, 1);
    assert_int_equal(w->threads, 2);
    assert_int_equal(w->streams, 3);
    assert_int_equal(w->streams_busy, 4);
    assert_true(w->tokens_per_second == 5);
    assert_memory_equal(&w->measured, &world.measured, sizeof w->measured);
    client_message_fini(&got);
}

/* A refusal quotes what it refuses, so its words may be anything. */
static void
refusals_can_always_be_sent(void **state)
{
    client_message m = {.kind = CLIENT_REFUSED,
                        .u.refused = {.code = "arg",
                                      .text = "bad \xFF name\x1B[2J\xC3",
                                      .retry_after_s = 4,
                                      .job = 5}};
    const uint8_t raw[] = {0x08, 1, 0xCA, 0x02, 5, 0x12, 3, 0x1B, '[', 'm'};
    client_message got = copy_of(&m);
    uint64_t request;

    (void)state;
    assert_string_equal(got.u.refused.code, "arg");
    assert_string_equal(got.u.refused.text, "bad ? name [2J?");
    assert_int_equal(got.u.refused.retry_after_s, 4);
    assert_int_equal(got.u.refused.job, 5);
    client_message_fini(&got);
    EXPECT_OK(client_message_decode(&got, &request, raw, sizeof(raw)));
    assert_string_equal(got.u.refused.text, " [m"); /* as a peer may send it */
    client_message_fini(&got);
}

static void
names_are_checked(void **state)
{
    char longest[CLIENT_MAX_NAME + 2] = "";
    const char *bad[] = {NULL,
                         "",
                         "a/b",
                         "a\nb",
                         "\x7F",
                         "\xC2\x85",
                         "\xC0\xAF",
                         "\xED\xA0\x80",
                         "\xFFname",
                         "cut \xE2",
                         "\xF4\x90\x80\x80"};
    client_message m = {.kind = CLIENT_ADD};
    client_message got;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        m.u.add.name = (char *)(uintptr_t)bad[i];
        refuse(&m, ST_ARG);
    }
    memset(longest, 'x', CLIENT_MAX_NAME);
    m.u.add.name = longest;
    got = copy_of(&m);
    client_message_fini(&got);
    longest[CLIENT_MAX_NAME] = 'x';
    refuse(&m, ST_ARG);
}

static void
logprobs_are_checked(void **state)
{
    const float bad[] = {1e-6F, NAN, INFINITY, -INFINITY};
    int32_t ids[] = {1, 2};
    float logprobs[] = {-1, -2};
    client_message m = {
        .kind = CLIENT_DONE,
        .u.done = {
            .ids = ids, .n_id = 2, .logprobs = logprobs, .n_logprob = 1}};

    (void)state;
    refuse(&m, ST_ARG); /* of every token, or of none */
    m.u.done.n_logprob = 2;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        logprobs[1] = bad[i];
        refuse(&m, ST_ARG);
    }
    m = (client_message){.kind = CLIENT_TOKEN};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        m.u.token.logprob = bad[i];
        refuse(&m, ST_ARG);
    }
}

static void
sampling_is_checked(void **state)
{
    const client_sampling bad[] = {
        {.temperature = -1},
        {.temperature = NAN},
        {.temperature = INFINITY},
        {.temperature = 101},
        {.top_p = -0.1F},
        {.top_p = 1.5F},
        {.top_p = NAN},
        {.min_p = -0.1F},
        {.min_p = 1.5F},
        {.min_p = NAN},
        {.penalty = -1},
        {.penalty = 0.009F},
        {.penalty = 100.5F},
        {.penalty = INFINITY},
        {.penalty = NAN},
        {.max_tokens = CLIENT_MAX_GENERATE + 1},
        {.max_tokens = UINT32_MAX},
        {.n_stop = CLIENT_MAX_STOP + 1},
        {.n_stop = 1, .stop = {""}},
        {.n_stop = 1, .stop = {NULL}},
        {.n_stop = 1, .stop = {"\xFF"}},
    };
    char stop[CLIENT_MAX_STOP_BYTES + 2] = "";
    client_message m = {.kind = CLIENT_ASK, .u.ask.document = "d"};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        m.u.ask.sampling = bad[i];
        refuse(&m, ST_ARG);
    }
    memset(stop, 's', CLIENT_MAX_STOP_BYTES + 1);
    m.u.ask.sampling = (client_sampling){.n_stop = 1, .stop = {stop}};
    refuse(&m, ST_ARG);
    m.u.ask.sampling = (client_sampling){.max_tokens = 1};
    m.u.ask.input = CLIENT_IDS;
    m.u.ask.bytes = 6;
    refuse(&m, ST_ARG);
    m.u.ask.input = (client_input)2;
    refuse(&m, ST_ARG);
}

static void
numbers_are_checked(void **state)
{
    const double bad[] = {NAN, INFINITY, -INFINITY, -1};
    client_message m;

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        m = (client_message){.kind = CLIENT_PROGRESS,
                             .u.progress.tokens_per_second = bad[i]};
        refuse(&m, ST_ARG);
        m = (client_message){.kind = CLIENT_DONE, .u.done.seconds = bad[i]};
        refuse(&m, ST_ARG);
        m = (client_message){.kind = CLIENT_STATUS,
                             .u.status.longest_turn_ms = bad[i]};
        refuse(&m, ST_ARG);
    }
    m = (client_message){.kind = CLIENT_PROGRESS,
                         .u.progress.seconds_left = NAN};
    refuse(&m, ST_ARG);
    m = (client_message){.kind = CLIENT_PROGRESS, .u.progress.state = 6};
    refuse(&m, ST_ARG);
    m = (client_message){.kind = (client_kind)39};
    refuse(&m, ST_ARG);
    m = (client_message){.kind = CLIENT_DONE,
                         .u.done.n_id = CLIENT_MAX_GENERATE + 1};
    m.u.done.ids = calloc(m.u.done.n_id, 4);
    refuse(&m, ST_ARG);
    free(m.u.done.ids);
    assert_string_equal(client_state_name(CLIENT_RECEIVING), "receiving");
    assert_string_equal(client_state_name((client_state)77), "unknown");
}

/* Field numbers as on the wire: major 0x08, minor 0x10, request 0x18. */
static void
versions_are_named(void **state)
{
    const uint8_t two[] = {0x08, 2, 0x18, 77, 0x7A, 0};
    const uint8_t none[] = {0x18, 77, 0x7A, 0};
    const uint8_t newer[] = {0x08, 1,    0x10, 99,   0x18,
                             77,   0x20, 5, /* unknown field 4 */
                             0x82, 0x01, 2,    0x48, 9 /* jobs {9: 9} */};
    client_message m;
    uint64_t request;

    (void)state;
    EXPECT_ST(client_message_decode(&m, &request, two, sizeof(two)),
              ST_UNSUPPORTED);
    assert_int_equal(request, 77);
    assert_non_null(strstr(status_text(), "version 2"));
    assert_non_null(strstr(status_text(), "version 1"));
    EXPECT_ST(client_message_decode(&m, &request, none, sizeof(none)),
              ST_UNSUPPORTED);
    EXPECT_OK(client_message_decode(&m, &request, newer, sizeof(newer)));
    assert_int_equal(m.kind, CLIENT_JOBS);
    assert_int_equal(m.minor, 99);
    client_message_fini(&m);
}

static void
other_bodies_are_refused(void **state)
{
    const uint8_t unknown[] = {0x08, 1, 0x18, 5, 0xFA, 0x01, 0}; /* field 31 */
    const uint8_t empty[] = {0x08, 1, 0x18, 5};
    const uint8_t both[] = {0x08, 1, 0x6A, 0, 0x82, 0x01, 0};
    const uint8_t twice[] = {0x08, 1, 0x6A, 0, 0x6A, 0};
    const uint8_t group[] = {0x08, 1, 0x6B, 0x6C};
    const uint8_t wrong[] = {0x08, 1, 0x68, 1}; /* list as a number */
    client_message m;
    uint64_t request;

    (void)state;
    EXPECT_ST(client_message_decode(&m, &request, unknown, sizeof(unknown)),
              ST_UNSUPPORTED);
    assert_int_equal(request, 5);
    EXPECT_ST(client_message_decode(&m, &request, empty, sizeof(empty)),
              ST_UNSUPPORTED);
    EXPECT_ST(client_message_decode(&m, &request, both, sizeof(both)), ST_WIRE);
    EXPECT_ST(client_message_decode(&m, &request, twice, sizeof(twice)),
              ST_WIRE);
    EXPECT_ST(client_message_decode(&m, &request, group, sizeof(group)),
              ST_WIRE);
    EXPECT_ST(client_message_decode(&m, &request, wrong, sizeof(wrong)),
              ST_WIRE);
    assert_int_equal(request, 0);
}

/* ST_ARG tells the request, so that it can be answered. */
static void
bad_text_is_refused(void **state)
{
    const uint8_t utf8[] = {0x08, 1, 0x18, 9, 0x72, 3, 0x0A, 1, 0xFF};
    const uint8_t nul[] = {0x08, 1, 0x18, 9, 0x72, 4, 0x0A, 2, 'a', 0};
    const uint8_t slash[] = {0x08, 1, 0x18, 9, 0x72, 3, 0x0A, 1, '/'};
    client_message m;
    uint64_t request;

    (void)state;
    EXPECT_ST(client_message_decode(&m, &request, utf8, sizeof(utf8)), ST_ARG);
    assert_int_equal(request, 9);
    assert_non_null(strstr(status_text(), "document"));
    EXPECT_ST(client_message_decode(&m, &request, nul, sizeof(nul)), ST_ARG);
    EXPECT_ST(client_message_decode(&m, &request, slash, sizeof(slash)),
              ST_ARG);
    assert_int_equal(request, 9);
}

static void
sizes_are_limited(void **state)
{
    size_t len = CLIENT_MAX_MESSAGE;
    char *text = calloc(1, len + 1);
    client_message m = {.kind = CLIENT_DONE,
                        .u.done = {.text = text, .text_len = len}};
    client_message got;
    uint64_t request;

    (void)state;
    assert_non_null(text);
    refuse(&m, ST_LIMIT);
    m.u.done.text_len -= 64;
    got = copy_of(&m);
    assert_int_equal(got.u.done.text_len, len - 64);
    client_message_fini(&got);
    EXPECT_ST(client_message_decode(&got, &request, (uint8_t *)text, len + 1),
              ST_LIMIT);
    free(text);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_go_round),
        cmocka_unit_test(small_requests_go_round),
        cmocka_unit_test(events_go_round),
        cmocka_unit_test(done_goes_round),
        cmocka_unit_test(lists_go_round),
        cmocka_unit_test(status_goes_round),
        cmocka_unit_test(refusals_can_always_be_sent),
        cmocka_unit_test(names_are_checked),
        cmocka_unit_test(sampling_is_checked),
        cmocka_unit_test(logprobs_are_checked),
        cmocka_unit_test(numbers_are_checked),
        cmocka_unit_test(versions_are_named),
        cmocka_unit_test(other_bodies_are_refused),
        cmocka_unit_test(bad_text_is_refused),
        cmocka_unit_test(sizes_are_limited),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
