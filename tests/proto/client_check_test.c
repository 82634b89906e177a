/* SPDX-License-Identifier: Apache-2.0 */
/* Client messages that are refused: ranges, versions, hostile bytes. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "tests/expect.h"
#include "tests/proto/client_rig.h"

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
        client_rig_refuse(&m, ST_ARG);
    }
    memset(longest, 'x', CLIENT_MAX_NAME);
    m.u.add.name = longest;
    got = client_rig_copy(&m);
    client_message_fini(&got);
    longest[CLIENT_MAX_NAME] = 'x';
    client_rig_refuse(&m, ST_ARG);
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
    client_rig_refuse(&m, ST_ARG); /* of every token, or of none */
    m.u.done.n_logprob = 2;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        logprobs[1] = bad[i];
        client_rig_refuse(&m, ST_ARG);
    }
    m = (client_message){.kind = CLIENT_TOKEN};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        m.u.token.logprob = bad[i];
        client_rig_refuse(&m, ST_ARG);
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
        client_rig_refuse(&m, ST_ARG);
    }
    memset(stop, 's', CLIENT_MAX_STOP_BYTES + 1);
    m.u.ask.sampling = (client_sampling){.n_stop = 1, .stop = {stop}};
    client_rig_refuse(&m, ST_ARG);
    m.u.ask.sampling = (client_sampling){.max_tokens = 1};
    m.u.ask.input = CLIENT_IDS;
    m.u.ask.bytes = 6;
    client_rig_refuse(&m, ST_ARG);
    m.u.ask.input = (client_input)2;
    client_rig_refuse(&m, ST_ARG);
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
        client_rig_refuse(&m, ST_ARG);
        m = (client_message){.kind = CLIENT_DONE, .u.done.seconds = bad[i]};
        client_rig_refuse(&m, ST_ARG);
        m = (client_message){.kind = CLIENT_STATUS,
                             .u.status.longest_turn_ms = bad[i]};
        client_rig_refuse(&m, ST_ARG);
    }
    m = (client_message){.kind = CLIENT_PROGRESS,
                         .u.progress.seconds_left = NAN};
    client_rig_refuse(&m, ST_ARG);
    m = (client_message){.kind = CLIENT_PROGRESS, .u.progress.state = 6};
    client_rig_refuse(&m, ST_ARG);
    m = (client_message){.kind = (client_kind)39};
    client_rig_refuse(&m, ST_ARG);
    m = (client_message){.kind = CLIENT_DONE,
                         .u.done.n_id = CLIENT_MAX_GENERATE + 1};
    m.u.done.ids = calloc(m.u.done.n_id, 4);
    client_rig_refuse(&m, ST_ARG);
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
    client_rig_refuse(&m, ST_LIMIT);
    m.u.done.text_len -= 64;
    got = client_rig_copy(&m);
    assert_int_equal(got.u.done.text_len, len - 64);
    client_message_fini(&got);
    EXPECT_ST(client_message_decode(&got, &request, (uint8_t *)text, len + 1),
              ST_LIMIT);
    free(text);
}
int
main(void)
{
    static const struct CMUnitTest tests[] = {
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
