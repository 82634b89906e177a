/* SPDX-License-Identifier: Apache-2.0 */
/* T11: jobs of another model are refused to whoever waits for them, and stay
 * as they are. */
#include "tests/daemon/core_harness.h"

#include <stdio.h>

static void
other_model_joins(harness *h, uint8_t number)
{
    world_message m = harness_hello(2, 0);

    m.u.hello.fingerprint[0] = 2;
    harness_world(h, number, m);
    (void)EXPECT_WORLD(WORLD_WELCOME);
}

static const job *
job_of(const harness *h, uint64_t id)
{
    return job_table_find(core_jobs(h->c), id);
}

static void
expect_waits(harness *h, const store_job *row)
{
    const job *j = job_of(h, row->id);
    const harness_action *a;

    assert_int_equal(j->state, CLIENT_QUEUED);
    assert_int_equal(j->attempt, row->attempt);
    assert_memory_equal(j->fingerprint, row->fingerprint, 32);
    harness_client(h, 3, harness_job(CLIENT_WATCH, row->id));
    a = EXPECT_CLIENT(CLIENT_REFUSED);
    assert_string_equal(a->code, "state");
    assert_int_equal(a->job, 0); /* it has not failed */
    assert_non_null(strstr(a->text, "another model"));
    EXPECT_NOTHING();
}

/* A reading with a checkpoint, of the model of harness_hello(). */
static store_record
reading(uint64_t id)
{
    return (store_record){.row = {.id = id,
                                  .kind = JOB_ADD,
                                  .state = CLIENT_RUNNING,
                                  .document = "read",
                                  .document_id = id,
                                  .owner = "local",
                                  .input = CLIENT_IDS,
                                  .bytes = 400,
                                  .attempt = 1,
                                  .fingerprint = {1}}};
}

static void
restore_reading(harness *h, const store_record *r)
{
    const store_checkpoint k = {
        .job = r->row.id, .segment = 4, .bytes = HARNESS_SNAPSHOT};
    bool known = false;

    EXPECT_OK(core_restore_unfinished(h->c, r));
    core_restore_checkpoint(h->c, &k, &known);
    assert_true(known);
}

static void
a_begun_reading_waits_for_its_model(void **state)
{
    harness box;
    harness *h = &box;
    store_record r = reading(1);

    (void)state;
    harness_init(h, 8);
    restore_reading(h, &r);
    core_tick(h->c);
    EXPECT_NOTHING(); /* not touched before it is known what is served */
    harness_client(h, 2, harness_job(CLIENT_WATCH, 1));
    assert_int_equal(EXPECT_CLIENT(CLIENT_PROGRESS)->state, CLIENT_QUEUED);
    other_model_joins(h, 10);
    EXPECT_REFUSED("state"); /* the watcher; nothing begins */
    expect_waits(h, &r.row);
    core_tick(h->c);
    EXPECT_NOTHING();
    assert_int_equal(job_of(h, 1)->n_checkpoint, 1);
    /* Others are served meanwhile, and it can be canceled. */
    harness_client(h, 1, harness_add("new", 400));
    harness_input(h, 2, 100);
    assert_int_equal(EXPECT_WORLD(WORLD_BEGIN)->job, 2);
    harness_skip(h);
    harness_client(h, 4, harness_job(CLIENT_CANCEL, 1));
    assert_int_equal(EXPECT_ACTION(CORE_CHECKPOINT_DROP)->number, 4);
    (void)harness_end(h, 1, CLIENT_CANCELED);
    harness_fini(h);
}

static void
it_goes_on_with_its_model(void **state)
{
    harness box;
    harness *h = &box;
    const harness_action *begin;
    store_record r = reading(1);

    (void)state;
    harness_init(h, 8);
    restore_reading(h, &r);
    (void)harness_join(h, 10, 2);
    harness_prepared(h, 1, 100);
    begin = EXPECT_WORLD(WORLD_BEGIN);
    assert_int_equal(begin->first_segment, 4);
    assert_int_equal(begin->attempt, 2);
    harness_fini(h);
}

/* A question that was acknowledged; `told`: tokens of its answer. */
static store_record
question(uint64_t document, size_t told)
{
    static int32_t ids[] = {40, 41};
    static float logprobs[2];

    return (store_record){.row = {.id = 1,
                                  .kind = JOB_ASK,
                                  .state = CLIENT_RUNNING,
                                  .document = "d",
                                  .document_id = document,
                                  .owner = "local",
                                  .input = CLIENT_IDS,
                                  .bytes = 4,
                                  .attempt = 1,
                                  .fingerprint = {1},
                                  .sampling = {.max_tokens = 4}},
                          .ids = ids,
                          .logprobs = logprobs,
                          .n_id = told};
}

static void
a_question_waits_for_the_model_of_its_document(void **state)
{
    harness box;
    harness *h = &box;
    store_record r;

    (void)state;
    harness_init(h, 8);
    r = question(harness_document(h, "d", 20), 0);
    r.row.first_segment = 2;
    r.row.snapshot_bytes = HARNESS_SNAPSHOT;
    EXPECT_OK(core_restore_unfinished(h->c, &r));
    other_model_joins(h, 10);
    EXPECT_NOTHING();
    expect_waits(h, &r.row);
    /* A new one is refused before it is acknowledged. */
    harness_client(h, 1, harness_ask("d", 4));
    EXPECT_REFUSED("state");
    EXPECT_NOTHING();
    harness_fini(h);
}

/* Nobody has read its document, but tokens were told: one answer is never of
 * two models. */
static void
a_begun_answer_waits_for_its_model(void **state)
{
    for (size_t told = 0; told <= 2; told += 2) {
        harness box;
        harness *h = &box;
        store_record r;
        document doc = {.id = 1000, .tokens = 5, .segments = 1, .pending = 5};

        (void)state;
        harness_init(h, 8);
        (void)snprintf(doc.name, sizeof(doc.name), "d");
        (void)snprintf(doc.owner, sizeof(doc.owner), "local");
        EXPECT_OK(core_restore_document(h->c, &doc));
        r = question(1000, told);
        EXPECT_OK(core_restore_unfinished(h->c, &r));
        other_model_joins(h, 10);
        if (told > 0) {
            EXPECT_NOTHING();
            expect_waits(h, &r.row);
        } else {
            harness_prepared(h, 1, 9);
            assert_int_equal(EXPECT_WORLD(WORLD_BEGIN)->attempt, 2);
        }
        harness_fini(h);
    }
}

/* Its document was asked before it was known which model there would be. */
static void
what_was_prepared_in_vain_is_put_back(void **state)
{
    harness box;
    harness *h = &box;
    document doc = {.id = 1000, .tokens = 20, .segments = 3, .pending = 4};

    (void)state;
    harness_init(h, 8);
    doc.fingerprint[0] = 1;
    doc.snapshot_bytes = HARNESS_SNAPSHOT;
    (void)snprintf(doc.name, sizeof(doc.name), "d");
    (void)snprintf(doc.owner, sizeof(doc.owner), "local");
    EXPECT_OK(core_restore_document(h->c, &doc));
    harness_client(h, 1, harness_ask("d", 4));
    (void)EXPECT_ACTION(CORE_INPUT_OPEN);
    (void)EXPECT_CLIENT(CLIENT_MORE_INPUT);
    harness_chunk(h, 1, 2, 0, 4);
    (void)EXPECT_ACTION(CORE_INPUT_DATA);
    (void)EXPECT_ACTION(CORE_SUBMIT);
    core_submitted(h->c, 1, ST_OK, "");
    (void)EXPECT_CLIENT(CLIENT_ACCEPTED);
    (void)EXPECT_ACTION(CORE_PREPARE);
    other_model_joins(h, 10);
    assert_int_equal(EXPECT_ACTION(CORE_JOB_DROP)->job, 1);
    EXPECT_REFUSED("state");
    EXPECT_NOTHING();
    assert_int_equal(job_of(h, 1)->stage, JOB_RAW);
    assert_int_equal(job_of(h, 1)->state, CLIENT_QUEUED);
    harness_fini(h);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_begun_reading_waits_for_its_model),
        cmocka_unit_test(it_goes_on_with_its_model),
        cmocka_unit_test(a_question_waits_for_the_model_of_its_document),
        cmocka_unit_test(a_begun_answer_waits_for_its_model),
        cmocka_unit_test(what_was_prepared_in_vain_is_put_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
