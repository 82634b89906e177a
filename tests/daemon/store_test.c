/* SPDX-License-Identifier: Apache-2.0 */
/* The index on disk: what was acknowledged is there again. */
#include "daemon/store.h"

#include "tests/daemon/scratch.h"

static document
a_document(uint64_t id, const char *name)
{
    document doc = {.id = id,
                    .fingerprint = {1, 2, 3},
                    .tokens = 20,
                    .segments = 3,
                    .snapshot_bytes = 100,
                    .pending = 4,
                    .created_ms = 1234567890123};

    (void)snprintf(doc.name, sizeof(doc.name), "%s", name);
    return doc;
}

static store_job
a_job(uint64_t id, client_state state)
{
    store_job j = {.id = id,
                   .kind = JOB_ASK,
                   .state = state,
                   .document = "book",
                   .created_ms = 5,
                   .tokens = 6,
                   .segments_done = 7,
                   .segments_total = 8,
                   .st = ST_IO,
                   .text = "it's \"so\""};
    return j;
}

typedef struct seen {
    size_t n;
    document doc[4];
    store_job row[4];
} seen;

static status
see_document(void *ctx, const document *doc)
{
    seen *s = ctx;

    s->doc[s->n++] = *doc;
    return ST_OK;
}

static status
see_job(void *ctx, const store_job *j)
{
    seen *s = ctx;

    s->row[s->n++] = *j;
    return ST_OK;
}

static void
documents_come_back(void **state)
{
    scratch box;
    store *s;
    document doc = a_document(5, "b\xc3\xbc"
                                 "ch");
    seen got = {0};

    (void)state;
    scratch_init(&box);
    EXPECT_OK(store_open(&s, scratch_path(&box, "db")));
    EXPECT_OK(store_add_document(s, &doc));
    store_close(s);
    EXPECT_OK(store_open(&s, scratch_path(&box, "db")));
    EXPECT_OK(store_each_document(s, see_document, &got));
    assert_int_equal(got.n, 1);
    assert_memory_equal(&got.doc[0], &doc, sizeof(doc));
    EXPECT_OK(store_remove_document(s, 5));
    got.n = 0;
    EXPECT_OK(store_each_document(s, see_document, &got));
    assert_int_equal(got.n, 0);
    store_close(s);
    scratch_fini(&box);
}

static void
a_name_is_unique(void **state)
{
    scratch box;
    store *s;
    document first = a_document(5, "book");
    document second = a_document(6, "book");
    seen got = {0};

    (void)state;
    scratch_init(&box);
    EXPECT_OK(store_open(&s, scratch_path(&box, "db")));
    EXPECT_OK(store_add_document(s, &first));
    EXPECT_ST(store_add_document(s, &second), ST_IO);
    /* And the failure leaves no transaction open. */
    second = a_document(7, "other");
    EXPECT_OK(store_add_document(s, &second));
    EXPECT_OK(store_each_document(s, see_document, &got));
    assert_int_equal(got.n, 2);
    store_close(s);
    scratch_fini(&box);
}

static void
a_document_marks_its_job_done(void **state)
{
    scratch box;
    store *s;
    document doc = a_document(5, "book");
    store_job j = a_job(5, CLIENT_RUNNING);
    seen got = {0};

    (void)state;
    scratch_init(&box);
    EXPECT_OK(store_open(&s, scratch_path(&box, "db")));
    EXPECT_OK(store_put_job(s, &j));
    EXPECT_OK(store_add_document(s, &doc));
    EXPECT_OK(store_each_job(s, 10, see_job, &got));
    assert_int_equal(got.row[0].state, CLIENT_STATE_DONE);
    store_close(s);
    scratch_fini(&box);
}

static void
unfinished_jobs_fail_at_start(void **state)
{
    scratch box;
    store *s;
    const client_state state_of[] = {CLIENT_RUNNING, CLIENT_STATE_DONE,
                                     CLIENT_QUEUED};
    seen got = {0};

    (void)state;
    scratch_init(&box);
    EXPECT_OK(store_open(&s, scratch_path(&box, "db")));
    for (uint64_t id = 1; id <= 3; id++) {
        store_job j = a_job(id, state_of[id - 1]);

        EXPECT_OK(store_put_job(s, &j));
    }
    EXPECT_OK(store_fail_unfinished(s, "it stopped"));
    EXPECT_OK(store_each_job(s, 10, see_job, &got));
    assert_int_equal(got.n, 3);
    assert_int_equal(got.row[0].state, CLIENT_FAILED);
    assert_string_equal(got.row[0].text, "it stopped");
    assert_int_equal(got.row[1].state, CLIENT_STATE_DONE);
    assert_string_equal(got.row[1].text, "it's \"so\"");
    assert_int_equal(got.row[2].state, CLIENT_FAILED);
    store_close(s);
    scratch_fini(&box);
}

static void
jobs_come_back_latest_last(void **state)
{
    scratch box;
    store *s;
    seen got = {0};
    uint64_t next;

    (void)state;
    scratch_init(&box);
    EXPECT_OK(store_open(&s, scratch_path(&box, "db")));
    EXPECT_OK(store_next_job(s, &next));
    assert_int_equal(next, 1);
    for (uint64_t id = 1; id <= 3; id++) {
        store_job j = a_job(id, CLIENT_FAILED);

        EXPECT_OK(store_put_job(s, &j));
        EXPECT_OK(store_put_job(s, &j)); /* replaces */
    }
    EXPECT_OK(store_each_job(s, 2, see_job, &got));
    assert_int_equal(got.n, 2);
    assert_int_equal(got.row[0].id, 2);
    assert_int_equal(got.row[1].id, 3);
    EXPECT_OK(store_forget_jobs(s, 1));
    got.n = 0;
    EXPECT_OK(store_each_job(s, 10, see_job, &got));
    assert_int_equal(got.n, 1);
    assert_int_equal(got.row[0].id, 3);
    EXPECT_OK(store_next_job(s, &next));
    assert_int_equal(next, 4);
    store_close(s);
    scratch_fini(&box);
}

static void
other_files_are_refused(void **state)
{
    scratch box;
    store *s;
    FILE *f;

    (void)state;
    scratch_init(&box);
    f = fopen(scratch_path(&box, "db"), "w");
    assert_non_null(f);
    for (int i = 0; i < 1000; i++)
        (void)fputs("this is no database\n", f);
    (void)fclose(f);
    EXPECT_ST(store_open(&s, scratch_path(&box, "db")), ST_IO);
    EXPECT_ST(store_open(&s, scratch_path(&box, "none/db")), ST_IO);
    scratch_fini(&box);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(documents_come_back),
        cmocka_unit_test(a_name_is_unique),
        cmocka_unit_test(a_document_marks_its_job_done),
        cmocka_unit_test(unfinished_jobs_fail_at_start),
        cmocka_unit_test(jobs_come_back_latest_last),
        cmocka_unit_test(other_files_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
