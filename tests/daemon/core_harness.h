/* SPDX-License-Identifier: Apache-2.0 */
/* A core under test: actions are recorded, messages are short to write. */
#ifndef TESTS_DAEMON_CORE_HARNESS_H
#define TESTS_DAEMON_CORE_HARNESS_H

#include "tests/expect.h"

#include <string.h>

#include "daemon/core.h"

enum { HARNESS_SEGMENT = 8, HARNESS_SNAPSHOT = 96 + 64, HARNESS_MAX = 256 };

/* What is left of an action when its call is over. */
typedef struct harness_action {
    core_action_kind kind;
    zsocket_peer peer;
    int message; /* client_kind or world_kind; 0: none */
    uint64_t job, allowed, request;
    uint32_t attempt, n_forced;
    uint64_t incarnation, base, number;
    uint64_t n_segment, snapshot_bytes, first_segment;
    uint32_t index;
    uint32_t retry_after_s;
    char code[32], text[512], finish[16];
    size_t n_id, n_item, n_logprob;
    double hop_s, hop_hidden_s; /* of the first world of a status */
    float logprob[4];           /* of a token, or the first of an answer */
    world_generate generate;
    client_state state;
    document doc;
} harness_action;

typedef struct harness {
    core *c;
    core_time time;
    harness_action action[HARNESS_MAX];
    size_t n, read;
    size_t n_incident;
    uint64_t incident_job; /* of the last one */
    char incident[512];
    const char *owner; /* who speaks; NULL: the user himself, an admin */
    bool admin;
} harness;

void harness_time(harness *h, uint64_t ms);
void harness_init(harness *h, uint32_t max_queue);
/* With long inputs. */
void harness_init_input(harness *h, uint64_t max_input, uint64_t window);
void harness_fini(harness *h);
/* A test that finds one with room for eight jobs in *state. */
int harness_setup(void **state);
int harness_teardown(void **state);
#define HARNESS_TEST(test)                                                     \
    cmocka_unit_test_setup_teardown(test, harness_setup, harness_teardown)
/* The next action must be of this kind. */
const harness_action *harness_expect(harness *h, core_action_kind kind);
const harness_action *harness_told(harness *h, core_action_kind kind,
                                   int message);
void harness_skip(harness *h);
zsocket_peer harness_peer(uint8_t number);
void harness_client(harness *h, uint8_t client, client_message m);
void harness_chunk(harness *h, uint8_t client, uint64_t request,
                   uint64_t offset, size_t len);
client_message harness_add(const char *name, uint64_t bytes);
client_message harness_ask(const char *name, uint64_t bytes);
client_message harness_name(client_kind kind, const char *name);
client_message harness_job(client_kind kind, uint64_t id);
client_message harness_plain(client_kind kind);
world_message harness_hello(uint32_t streams, uint64_t launch);
void harness_world_raw(harness *h, uint8_t world, world_message m, size_t len);
void harness_world(harness *h, uint8_t world, world_message m);
/* A message about the job that a BEGIN was for. */
world_message harness_reply(world_kind kind, const harness_action *begin);
void harness_token(harness *h, uint8_t world, const harness_action *begin,
                   uint32_t index, int32_t id);
void harness_world_done(harness *h, uint8_t world, const harness_action *begin,
                        const char *finish);
void harness_snapshot(harness *h, uint8_t world, const harness_action *begin);
/* World `number` joins; its incarnation. */
uint64_t harness_join(harness *h, uint8_t number, uint32_t streams);
/* Job 1 runs on world 10; its BEGIN. */
typedef const harness_action *harness_start(harness *h, uint32_t streams);
/* A document of 100 ids. */
harness_start harness_running_add;
/* What no world may say of its job: kind and `u`, and the bytes of its raw
 * frame. */
typedef struct harness_wrong {
    world_message m;
    size_t len;
} harness_wrong;
/* For each row on its own: `start` begins job 1 on world 10, which says that,
 * and the job ends. */
void harness_wrong_each(harness_start *start, const harness_wrong *row,
                        size_t n);
/* Job `id` gets all its input, is durable and acknowledged, and has `tokens`
 * ids. */
void harness_input(harness *h, uint64_t id, uint64_t tokens);
/* Job `id` is being prepared: it has `tokens` ids. */
void harness_prepared(harness *h, uint64_t id, uint64_t tokens);
/* Tokens of job `id` up to `n` are durable. */
void harness_kept(harness *h, uint64_t id, uint64_t n);
/* Job `id` ends, and that is durable. */
const harness_action *harness_end(harness *h, uint64_t id, client_state state);
/* Client 1 says this, is refused, and nothing else happens. */
void harness_refused(harness *h, client_message m, const char *code);
/* Client 2 cancels a job that no world has; client 1 and it are told. */
void harness_canceled(harness *h, uint64_t id);
/* A document of `tokens` ids is there, with everything read away; its id. */
uint64_t harness_document(harness *h, const char *name, uint64_t tokens);

#define EXPECT_ACTION(kind)    harness_expect(h, kind)
#define EXPECT_CLIENT(message) harness_told(h, CORE_TELL_CLIENT, message)
#define EXPECT_WORLD(message)  harness_told(h, CORE_TELL_WORLD, message)
#define EXPECT_NOTHING()       assert_int_equal(h->read, h->n)
#define EXPECT_REFUSED(word)                                                   \
    assert_string_equal(EXPECT_CLIENT(CLIENT_REFUSED)->code, word)

#endif
