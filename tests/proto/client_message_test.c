/* SPDX-License-Identifier: Apache-2.0 */
/* Client messages: every kind there and back. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "tests/expect.h"
#include "tests/proto/client_rig.h"

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
    client_message got = client_rig_copy(&add);

    (void)state;
    assert_string_equal(got.u.add.name, "Å document");
    assert_string_equal(got.u.add.model, "abcd");
    assert_int_equal(got.u.add.input, CLIENT_IDS);
    assert_int_equal(got.u.add.bytes, UINT64_C(1) << 40);
    client_message_fini(&got);

    got = client_rig_copy(&ask);
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
    got = client_rig_copy(&ask);
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
        got = client_rig_copy(&m);
        client_message_fini(&got);
    }
    m.kind = CLIENT_CHUNK;
    m.u.chunk.offset = UINT64_MAX;
    got = client_rig_copy(&m);
    assert_int_equal(got.u.chunk.offset, UINT64_MAX);
    m.kind = CLIENT_CANCEL;
    m.u.job.job = 12;
    got = client_rig_copy(&m);
    assert_int_equal(got.u.job.job, 12);
    m.kind = CLIENT_WATCH;
    got = client_rig_copy(&m);
    assert_int_equal(got.u.job.job, 12);
    m.kind = CLIENT_SHOW;
    m.u.name.document = "a";
    got = client_rig_copy(&m);
    assert_string_equal(got.u.name.document, "a");
    client_message_fini(&got);
    m.kind = CLIENT_REMOVE;
    got = client_rig_copy(&m);
    assert_string_equal(got.u.name.document, "a");
    client_message_fini(&got);
    client_message_fini(&got);
}

static void
events_go_round(void **state)
{
    client_message m = {.kind = CLIENT_ACCEPTED,
                        .u.accepted = {.job = 1, .input_credit = 2}};
    client_message got = client_rig_copy(&m);

    (void)state;
    assert_int_equal(got.u.accepted.job, 1);
    assert_int_equal(got.u.accepted.input_credit, 2);
    m = (client_message){.kind = CLIENT_MORE_INPUT,
                         .u.accepted = {.input_credit = 99}};
    got = client_rig_copy(&m);
    assert_int_equal(got.u.accepted.input_credit, 99);
    m = (client_message){.kind = CLIENT_PROGRESS,
                         .u.progress = {.job = 4,
                                        .tokens_in = 5,
                                        .segments_done = 6,
                                        .segments_total = 7,
                                        .state = CLIENT_CANCELED,
                                        .tokens_per_second = 1e6,
                                        .seconds_left = -1}};
    got = client_rig_copy(&m);
    assert_memory_equal(&got.u.progress, &m.u.progress, sizeof(m.u.progress));
    m = (client_message){.kind = CLIENT_TOKEN,
                         .u.token = {.job = 1,
                                     .index = 3,
                                     .id = -5,
                                     .logprob = -1e-3F,
                                     .text = "a\0b",
                                     .text_len = 3}};
    got = client_rig_copy(&m);
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
    client_message got = client_rig_copy(&m);

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
    got = client_rig_copy(&m);
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
    client_message got = client_rig_copy(&m);

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
    got = client_rig_copy(&m);
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
                          .measured = {6, 7, 8, 9, 10, 11, 12, 13},
                          .hop_s = 12,
                          .hop_hidden_s = 13};
    client_message m = {.kind = CLIENT_STATUS,
                        .u.status = {.version = "0.1.0",
                                     .max_input = UINT64_C(16) << 30,
                                     .last_error = "rank 1\nis gone",
                                     .uptime_seconds = 1,
                                     .longest_turn_ms = 2,
                                     .jobs_queued = 3,
                                     .jobs_running = 4,
                                     .documents = 5,
                                     .world = &world,
                                     .n_world = 1}};
    client_message got = client_rig_copy(&m);
    const client_world *w = got.u.status.world;

    (void)state;
    assert_string_equal(got.u.status.version, "0.1.0");
    assert_string_equal(got.u.status.last_error, "rank 1 is gone");
    assert_true(got.u.status.uptime_seconds == 1);
    assert_true(got.u.status.longest_turn_ms == 2);
    assert_int_equal(got.u.status.jobs_queued, 3);
    assert_int_equal(got.u.status.jobs_running, 4);
    assert_int_equal(got.u.status.documents, 5);
    assert_true(got.u.status.max_input == UINT64_C(16) << 30);
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
    assert_true(w->hop_s == 12);
    assert_true(w->hop_hidden_s == 13);
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
    client_message got = client_rig_copy(&m);
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
int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_go_round),
        cmocka_unit_test(small_requests_go_round),
        cmocka_unit_test(events_go_round),
        cmocka_unit_test(done_goes_round),
        cmocka_unit_test(lists_go_round),
        cmocka_unit_test(status_goes_round),
        cmocka_unit_test(refusals_can_always_be_sent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
