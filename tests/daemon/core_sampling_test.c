/* SPDX-License-Identifier: Apache-2.0 */
/* How an answer is drawn: what the core hands on, what it keeps of it, and what
 * makes two submissions the same. */
#include "tests/daemon/core_harness.h"

static client_sampling
some_sampling(void)
{
    return (client_sampling){.max_tokens = 4,
                             .temperature = 0.5F,
                             .top_k = 3,
                             .top_p = 0.75F,
                             .min_p = 0.125F,
                             .penalty = 1.25F,
                             .seed = 9,
                             .logprobs = true};
}

/* A running question, its BEGIN seen. */
static const harness_action *
running(harness *h, bool logprobs)
{
    client_message m = harness_ask("d", 4);
    const harness_action *begin;

    harness_init(h, 8);
    (void)harness_document(h, "d", 20);
    (void)harness_join(h, 10, 2);
    m.u.ask.sampling = some_sampling();
    m.u.ask.sampling.logprobs = logprobs;
    harness_client(h, 1, m);
    harness_input(h, 1, 5);
    begin = EXPECT_WORLD(WORLD_BEGIN);
    (void)EXPECT_ACTION(CORE_FEED_OPEN);
    return begin;
}

static void
token(harness *h, uint8_t world, const harness_action *begin, uint32_t index,
      float logprob)
{
    world_message m = harness_reply(WORLD_TOKEN, begin);

    m.u.token.index = index;
    m.u.token.id = 40 + (int32_t)index;
    m.u.token.logprob = logprob;
    harness_world(h, world, m);
}

static void
the_world_is_told_all_of_it(void **state)
{
    const client_sampling s = some_sampling();
    harness box;
    harness *h = &box;
    const world_generate *g;

    (void)state;
    g = &running(h, true)->generate;
    assert_int_equal(g->max_tokens, s.max_tokens);
    assert_int_equal(g->top_k, s.top_k);
    assert_int_equal(g->seed, s.seed);
    assert_true(g->temperature == s.temperature);
    assert_true(g->top_p == s.top_p);
    assert_true(g->min_p == s.min_p);
    assert_true(g->penalty == s.penalty);
    assert_true(g->logprobs);
    harness_fini(h);
}

/* Told with each token and with the end; the second attempt, perhaps on
 * another device, changes nothing that was told. */
static void
logprobs_are_told_and_stand(void **state)
{
    harness box;
    harness *h = &box;
    const harness_action *begin, *a;
    zsocket_peer ten = harness_peer(10);

    (void)state;
    begin = running(h, true);
    token(h, 10, begin, 0, -0.5F);
    harness_kept(h, 1, 1);
    assert_true(EXPECT_CLIENT(CLIENT_TOKEN)->logprob[0] == -0.5F);
    core_world_gone(h->c, &ten, "gone");
    (void)EXPECT_WORLD(WORLD_ABORT);
    (void)EXPECT_ACTION(CORE_ATTEMPT_DROP);
    (void)harness_join(h, 11, 2);
    begin = EXPECT_WORLD(WORLD_BEGIN);
    (void)EXPECT_ACTION(CORE_FEED_OPEN);
    token(h, 11, begin, 0, -0.625F);
    EXPECT_NOTHING();
    token(h, 11, begin, 1, -2);
    harness_kept(h, 1, 2);
    assert_true(EXPECT_CLIENT(CLIENT_TOKEN)->logprob[0] == -2.0F);
    harness_world_done(h, 11, begin, "eos");
    (void)harness_end(h, 1, CLIENT_STATE_DONE);
    a = EXPECT_CLIENT(CLIENT_DONE);
    assert_int_equal(a->n_logprob, 2);
    assert_true(a->logprob[0] == -0.5F && a->logprob[1] == -2.0F);
    harness_fini(h);
}

static void
logprobs_come_only_when_asked_for(void **state)
{
    harness box;
    harness *h = &box;
    const harness_action *begin, *a;

    (void)state;
    begin = running(h, false);
    assert_false(begin->generate.logprobs);
    token(h, 10, begin, 0, -0.5F); /* a world that tells all the same */
    harness_kept(h, 1, 1);
    assert_true(EXPECT_CLIENT(CLIENT_TOKEN)->logprob[0] == 0.0F);
    harness_world_done(h, 10, begin, "eos");
    (void)harness_end(h, 1, CLIENT_STATE_DONE);
    a = EXPECT_CLIENT(CLIENT_DONE);
    assert_int_equal(a->n_id, 1);
    assert_int_equal(a->n_logprob, 0);
    harness_fini(h);
}

static store_record
an_ended(store_job *row, int32_t *ids, float *logprobs)
{
    *row = (store_job){.id = 77,
                       .kind = JOB_ASK,
                       .state = CLIENT_STATE_DONE,
                       .sampling = some_sampling()};
    return (store_record){
        .row = *row, .ids = ids, .logprobs = logprobs, .n_id = 2};
}

static void
the_journal_has_them(void **state)
{
    harness box;
    harness *h = &box;
    int32_t ids[] = {4, 5};
    float logprobs[] = {-0.25F, -4};
    job_watcher to = {.client = harness_peer(1), .request = 9};
    store_job row;
    store_record r = an_ended(&row, ids, logprobs);
    const harness_action *a;

    (void)state;
    harness_init(h, 8);
    core_fetched(h->c, &to, ST_OK, &r, "");
    a = EXPECT_CLIENT(CLIENT_DONE);
    assert_int_equal(a->n_logprob, 2);
    assert_true(a->logprob[0] == -0.25F && a->logprob[1] == -4.0F);
    r.row.sampling.logprobs = false;
    core_fetched(h->c, &to, ST_OK, &r, "");
    a = EXPECT_CLIENT(CLIENT_DONE);
    assert_int_equal(a->n_id, 2);
    assert_int_equal(a->n_logprob, 0);
    harness_fini(h);
}

/* After a crash of the daemon: the journalled tokens come back with theirs. */
static void
a_restart_brings_them_back(void **state)
{
    harness box;
    harness *h = &box;
    int32_t ids[] = {40};
    float logprobs[] = {-0.25F};
    store_record r = {.row = {.id = 1,
                              .kind = JOB_ASK,
                              .state = CLIENT_RUNNING,
                              .document_id = 1000,
                              .input = CLIENT_IDS,
                              .bytes = 4,
                              .snapshot_bytes = HARNESS_SNAPSHOT,
                              .sampling = some_sampling()},
                      .ids = ids,
                      .logprobs = logprobs,
                      .n_id = 1};
    const harness_action *begin, *a;

    (void)state;
    harness_init(h, 8);
    (void)harness_document(h, "d", 20);
    EXPECT_OK(core_restore_unfinished(h->c, &r));
    (void)harness_join(h, 10, 2);
    harness_prepared(h, 1, 5);
    begin = EXPECT_WORLD(WORLD_BEGIN);
    assert_int_equal(begin->n_forced, 1);
    assert_true(begin->generate.penalty == 1.25F);
    assert_true(begin->generate.logprobs);
    (void)EXPECT_ACTION(CORE_FEED_OPEN);
    harness_client(h, 1, harness_job(CLIENT_WATCH, 1));
    (void)EXPECT_CLIENT(CLIENT_PROGRESS);
    token(h, 10, begin, 0, -0.5F);
    token(h, 10, begin, 1, -3);
    harness_kept(h, 1, 2);
    assert_true(EXPECT_CLIENT(CLIENT_TOKEN)->logprob[0] == -3.0F);
    harness_world_done(h, 10, begin, "eos");
    (void)harness_end(h, 1, CLIENT_STATE_DONE);
    a = EXPECT_CLIENT(CLIENT_DONE);
    assert_int_equal(a->n_logprob, 2);
    assert_true(a->logprob[0] == -0.25F && a->logprob[1] == -3.0F);
    harness_fini(h);
}

static client_message
keyed(const client_sampling *s)
{
    client_message m = harness_ask("d", 4);

    m.u.ask.sampling = *s;
    m.u.ask.key.key = (char *)(uintptr_t) "k";
    m.u.ask.key.has_hash = true;
    return m;
}

/* T34: the same key with one more penalty, or with stop strings, is another
 * content. */
static void
another_sampling_is_another_content(void **state)
{
    enum { N_OTHER = 9 };
    const client_sampling s = some_sampling();
    client_sampling other[N_OTHER];
    harness box;
    harness *h = &box;
    store_record r = {.row = {.id = 77,
                              .kind = JOB_ASK,
                              .input = CLIENT_IDS,
                              .bytes = 4,
                              .document = "d",
                              .key = "k",
                              .sampling = s}};
    store_record stopped = r;
    char stop[] = "end";

    (void)state;
    stopped.stops = stop;
    stopped.stops_len = sizeof(stop);
    for (size_t i = 0; i < N_OTHER; i++)
        other[i] = s;
    other[0].max_tokens++;
    other[1].temperature += 0.5F;
    other[2].top_k++;
    other[3].top_p += 0.125F;
    other[4].min_p += 0.125F;
    other[5].penalty += 0.125F;
    other[6].seed++;
    other[7].logprobs = false;
    other[8].ignore_eos = !s.ignore_eos;
    harness_init(h, 20);
    (void)harness_document(h, "d", 20);
    for (uint64_t i = 0; i <= N_OTHER; i++) {
        harness_client(h, 1, keyed(i < N_OTHER ? &other[i] : &s));
        harness_skip(h);
        core_looked_up(h->c, i + 1, ST_OK, i < N_OTHER ? &r : &stopped, "");
        EXPECT_REFUSED("arg");
        harness_skip(h);
    }
    harness_client(h, 1, keyed(&s));
    harness_skip(h);
    core_looked_up(h->c, N_OTHER + 2, ST_OK, &r, "");
    (void)EXPECT_ACTION(CORE_JOB_DROP);
    assert_int_equal(EXPECT_CLIENT(CLIENT_ACCEPTED)->job, 77);
    harness_fini(h);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_world_is_told_all_of_it),
        cmocka_unit_test(logprobs_are_told_and_stand),
        cmocka_unit_test(logprobs_come_only_when_asked_for),
        cmocka_unit_test(the_journal_has_them),
        cmocka_unit_test(a_restart_brings_them_back),
        cmocka_unit_test(another_sampling_is_another_content),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
