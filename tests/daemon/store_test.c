/* SPDX-License-Identifier: Apache-2.0 */
/* The index on disk: what was acknowledged is there again. */
#include "daemon/store.h"

#include "base/mem.h"
#include "daemon/sql.h"
#include "tests/daemon/scratch.h"

static document
a_document(uint64_t id, const char *name)
{
    document doc = {.id = id,
                    .fingerprint = {1, 2, 3},
                    .template = {0, 4},
                    .hash = {5, 6},
                    .ids_hash = {0, 7},
                    .tokens = 20,
                    .segments = 3,
                    .snapshot_bytes = 100,
                    .pending = 4,
                    .n_norm = 3,
                    .norm = {0, 2.5F, 1e30F},
                    .created_ms = 1234567890123};

    (void)snprintf(doc.name, sizeof(doc.name), "%s", name);
    (void)snprintf(doc.owner, sizeof(doc.owner), "local");
    return doc;
}

static store_job
a_job(uint64_t id, client_state state)
{
    store_job j = {.id = id,
                   .kind = JOB_ASK,
                   .state = state,
                   .owner = "local",
                   .document = "book",
                   .document_id = 3,
                   .created_ms = 5,
                   .ended_ms = -6,
                   .input = CLIENT_IDS,
                   .bytes = 12,
                   .hash = {9, 8, 7},
                   .sampling = {.max_tokens = 7,
                                .temperature = 0.5F,
                                .top_k = 3,
                                .top_p = 0.25F,
                                .min_p = 0.125F,
                                .penalty = 1.25F,
                                .logprobs = true,
                                .seed = UINT64_MAX,
                                .ignore_eos = true},
                   .tokens = 6,
                   .pending = 2,
                   .first_segment = 1,
                   .snapshot_bytes = 160,
                   .segments_done = 7,
                   .segments_total = 8,
                   .redone = 4,
                   .attempt = 2,
                   .strikes = 1,
                   .fingerprint = {5},
                   .device = "cpu",
                   .st = ST_IO,
                   .text = "it's \"so\"",
                   .finish = "eos"};
    return j;
}

typedef struct seen {
    size_t n;
    document doc[4];
    store_job row[4];
    store_record record;
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

/* Known later, and there from then on. */
static void
hashes_are_noted(void **state)
{
    scratch box;
    store *s;
    document doc = a_document(5, "book");
    seen got = {0};

    (void)state;
    scratch_init(&box);
    EXPECT_OK(store_open(&s, scratch_path(&box, "db")));
    memset(doc.hash, 0, sizeof(doc.hash));
    EXPECT_OK(store_add_document(s, &doc));
    EXPECT_OK(store_each_document(s, see_document, &got));
    assert_memory_equal(&got.doc[0], &doc, sizeof(doc));
    doc.hash[31] = 1;
    EXPECT_OK(store_note_hashes(s, &doc));
    got.n = 0;
    EXPECT_OK(store_each_document(s, see_document, &got));
    assert_memory_equal(&got.doc[0], &doc, sizeof(doc));
    doc.id = 6; /* nobody's */
    EXPECT_OK(store_note_hashes(s, &doc));
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
    (void)snprintf(second.owner, sizeof(second.owner), "somebody else");
    EXPECT_OK(store_add_document(s, &second));
    /* And the failure leaves no transaction open. */
    second = a_document(7, "other");
    EXPECT_OK(store_add_document(s, &second));
    EXPECT_OK(store_each_document(s, see_document, &got));
    assert_int_equal(got.n, 3);
    assert_string_equal(got.doc[1].owner, "somebody else");
    store_close(s);
    scratch_fini(&box);
}

static status
see_record(void *ctx, const store_record *r)
{
    seen *s = ctx;

    s->row[s->n++] = r->row;
    assert_int_equal(r->stops_len, 5);
    assert_memory_equal(r->stops, "a\0bc\0", 5);
    assert_int_equal(r->n_id, 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(r->ids[i], 40 + i);
        assert_true(r->logprobs[i] == -1.0F / (float)(i + 3));
    }
    return ST_OK;
}

static void
a_document_ends_its_job(void **state)
{
    scratch box;
    store *s;
    document doc = a_document(5, "book");
    store_job j = a_job(5, CLIENT_QUEUED);
    store_checkpoint k = {
        .job = 5, .segment = 64, .crcs = (uint32_t[]){1}, .n_layer = 1};
    seen got = {0};
    uint8_t hash[32];
    uint8_t *data;
    size_t len;

    (void)state;
    scratch_init(&box);
    EXPECT_OK(store_open(&s, scratch_path(&box, "db")));
    EXPECT_OK(store_begin(s));
    EXPECT_OK(store_insert_job(s, &j, "", 0, "input", 5));
    EXPECT_OK(store_add_checkpoint(s, &k));
    EXPECT_OK(store_read_input(s, 5, hash, &data, &len));
    assert_int_equal(len, 5);
    assert_memory_equal(hash, j.hash, sizeof(hash));
    mem_free(data);
    j.state = CLIENT_STATE_DONE;
    EXPECT_OK(store_end_document(s, &doc, &j));
    EXPECT_OK(store_commit(s));
    EXPECT_OK(store_each_finished(s, 10, see_job, &got));
    assert_int_equal(got.row[0].state, CLIENT_STATE_DONE);
    EXPECT_OK(store_read_input(s, 5, hash, &data, &len));
    assert_null(data); /* of no use any more */
    /* Both or neither: the name is taken. */
    j = a_job(6, CLIENT_QUEUED);
    doc.id = 6;
    EXPECT_OK(store_begin(s));
    EXPECT_OK(store_insert_job(s, &j, "", 0, NULL, 0));
    j.state = CLIENT_STATE_DONE;
    EXPECT_ST(store_end_document(s, &doc, &j), ST_IO);
    EXPECT_OK(store_commit(s));
    got.n = 0;
    EXPECT_OK(store_each_finished(s, 10, see_job, &got));
    assert_int_equal(got.n, 1);
    store_close(s);
    scratch_fini(&box);
}

static status
see_checkpoint(void *ctx, const store_checkpoint *k)
{
    store_checkpoint *last = ctx;

    assert_int_equal(last->job, 0); /* there is one */
    *last = *k;
    return ST_OK;
}

/* One after segment 4, of this attempt. */
static void
add_checkpoint(store *s, uint32_t attempt)
{
    const store_checkpoint k = {.job = 5,
                                .segment = 4,
                                .attempt = attempt,
                                .crcs = (uint32_t[]){1},
                                .n_layer = 1};

    EXPECT_OK(store_add_checkpoint(s, &k));
}

static void
a_checkpoint_is_of_its_attempt(void **state)
{
    store_checkpoint got = {0};
    scratch box;
    store *s;

    (void)state;
    scratch_init(&box);
    EXPECT_OK(store_open(&s, scratch_path(&box, "db")));
    add_checkpoint(s, 1);
    add_checkpoint(s, 2);
    EXPECT_OK(store_drop_checkpoint(s, 5, 4, 1)); /* is not there any more */
    EXPECT_OK(store_each_checkpoint(s, see_checkpoint, &got));
    assert_int_equal(got.job, 5);
    assert_int_equal(got.attempt, 2);
    EXPECT_OK(store_drop_checkpoint(s, 5, 4, 2));
    got.job = 0;
    EXPECT_OK(store_each_checkpoint(s, see_checkpoint, &got));
    assert_int_equal(got.job, 0);
    store_close(s);
    scratch_fini(&box);
}

/* n tokens of the answer that see_record() knows. */
static status
add_tokens(store *s, uint64_t job, uint32_t first, size_t n)
{
    int32_t ids[] = {40, 41, 42};
    float logprobs[] = {-1.0F / 3, -1.0F / 4, -1.0F / 5};
    const store_record r = {
        .ids = ids + first, .logprobs = logprobs + first, .n_id = n};

    return store_add_tokens(s, job, first, &r);
}

/* What was committed is there again, to the last bit; what was not is not. */
static void
unfinished_jobs_come_back(void **state)
{
    scratch box;
    store *s;
    store_job j = a_job(7, CLIENT_RUNNING);
    store_job other = a_job(8, CLIENT_QUEUED);
    seen got = {0};

    (void)state;
    scratch_init(&box);
    EXPECT_OK(store_open(&s, scratch_path(&box, "db")));
    EXPECT_OK(store_begin(s));
    EXPECT_OK(store_insert_job(s, &j, "a\0bc\0", 5, "x", 1));
    EXPECT_OK(add_tokens(s, 7, 0, 2));
    EXPECT_OK(add_tokens(s, 7, 1, 2)); /* overlaps */
    EXPECT_OK(store_commit(s));
    EXPECT_OK(store_begin(s));
    EXPECT_OK(store_insert_job(s, &other, "", 0, "x", 1));
    store_close(s); /* in the middle of it */
    EXPECT_OK(store_open(&s, scratch_path(&box, "db")));
    EXPECT_OK(store_each_unfinished(s, see_record, &got));
    assert_int_equal(got.n, 1);
    assert_memory_equal(&got.row[0], &j, sizeof(j));
    store_close(s);
    scratch_fini(&box);
}

static void
a_key_belongs_to_one_job_of_an_owner(void **state)
{
    scratch box;
    store *s;
    store_job j = a_job(7, CLIENT_QUEUED);
    store_record found = {.n_id = 0};

    (void)state;
    scratch_init(&box);
    EXPECT_OK(store_open(&s, scratch_path(&box, "db")));
    EXPECT_OK(store_begin(s));
    EXPECT_OK(store_insert_job(s, &j, "", 0, "x", 1)); /* none */
    EXPECT_ST(store_find_key(s, &found, "local", ""), ST_NOTFOUND);
    j.id = 8;
    (void)snprintf(j.key, sizeof(j.key), "k");
    EXPECT_OK(store_insert_job(s, &j, "a\0b", 4, "x", 1));
    j.id = 9;
    EXPECT_ST(store_insert_job(s, &j, "", 0, "x", 1), ST_IO);
    (void)snprintf(j.owner, sizeof(j.owner), "other");
    EXPECT_OK(store_insert_job(s, &j, "", 0, "x", 1));
    EXPECT_OK(store_commit(s));
    EXPECT_OK(store_find_key(s, &found, "local", "k"));
    assert_int_equal(found.row.id, 8);
    assert_int_equal(found.stops_len, 4); /* they are of its content */
    assert_memory_equal(found.stops, "a\0b", 4);
    store_record_fini(&found);
    EXPECT_OK(store_find_key(s, &found, "other", "k"));
    assert_int_equal(found.row.id, 9);
    assert_int_equal(found.stops_len, 0);
    store_record_fini(&found);
    EXPECT_ST(store_find_key(s, &found, "nobody", "k"), ST_NOTFOUND);
    store_close(s);
    scratch_fini(&box);
}

static void
results_are_kept_for_running_time(void **state)
{
    int32_t id = 5;
    const store_record tokens = {.ids = &id, .n_id = 1};
    scratch box;
    store *s;
    store_record r;
    uint64_t next;

    (void)state;
    scratch_init(&box);
    EXPECT_OK(store_open(&s, scratch_path(&box, "db")));
    EXPECT_OK(store_next_job(s, &next));
    assert_int_equal(next, 1);
    for (uint64_t i = 1; i <= 2; i++) {
        store_job j = a_job(i, CLIENT_QUEUED);

        EXPECT_OK(store_begin(s));
        EXPECT_OK(store_insert_job(s, &j, "", 0, "x", 1));
        EXPECT_OK(store_set_number(s, "age", 100 * i));
        EXPECT_OK(store_add_tokens(s, i, 0, &tokens));
        j.state = CLIENT_STATE_DONE;
        EXPECT_OK(store_end_job(s, &j, "five", 4));
        EXPECT_OK(store_commit(s));
    }
    EXPECT_OK(store_set_number(s, "age", 250));
    EXPECT_OK(store_begin(s));
    EXPECT_OK(store_forget_jobs(s, 150));
    EXPECT_OK(store_commit(s));
    EXPECT_OK(store_get_job(s, &r, 1)); /* exactly that old */
    store_record_fini(&r);
    EXPECT_OK(store_begin(s));
    EXPECT_OK(store_forget_jobs(s, 149));
    EXPECT_OK(store_commit(s));
    EXPECT_ST(store_get_job(s, &r, 1), ST_NOTFOUND);
    EXPECT_OK(store_get_job(s, &r, 2));
    assert_int_equal(r.n_id, 1);
    assert_int_equal(r.text_len, 4);
    assert_memory_equal(r.text, "five", 4);
    store_record_fini(&r);
    EXPECT_OK(store_begin(s));
    EXPECT_OK(store_forget_jobs(s, 1));
    EXPECT_OK(store_forget_jobs(s, 1));
    EXPECT_OK(store_commit(s));
    EXPECT_ST(store_get_job(s, &r, 2), ST_NOTFOUND);
    EXPECT_OK(store_next_job(s, &next)); /* no number is given twice */
    assert_int_equal(next, 3);
    store_close(s);
    scratch_fini(&box);
}

static void
incidents_are_kept_in_order(void **state)
{
    scratch box;
    store *s;
    char text[32];

    (void)state;
    scratch_init(&box);
    EXPECT_OK(store_open(&s, scratch_path(&box, "db")));
    EXPECT_OK(store_last_incident(s, text, sizeof(text)));
    assert_string_equal(text, "");
    EXPECT_OK(store_add_incident(s, 1, 0, "the world ended"));
    EXPECT_OK(store_add_incident(s, 2, 7, "of a job"));
    EXPECT_OK(store_last_incident(s, text, sizeof(text)));
    assert_string_equal(text, "the world ended");
    store_close(s);
    scratch_fini(&box);
}

/* A journal as version 5 left it: what is new since then is off. */
static void
make_version_5(const char *path)
{
    sql *db;

    EXPECT_OK(sql_open(&db, path));
    EXPECT_OK(sql_begin(db));
    EXPECT_OK(sql_execute(db, "ALTER TABLE document DROP COLUMN crc;"
                              "ALTER TABLE job DROP COLUMN crc;"
                              "ALTER TABLE token DROP COLUMN crc;"
                              "ALTER TABLE checkpoint DROP COLUMN crc;"
                              "DROP TABLE rotten;"
                              "ALTER TABLE document DROP COLUMN template;"
                              "ALTER TABLE document DROP COLUMN hash;"
                              "ALTER TABLE document DROP COLUMN ids_hash;"
                              "ALTER TABLE job DROP COLUMN penalty;"
                              "ALTER TABLE job DROP COLUMN logprobs;"
                              "ALTER TABLE token DROP COLUMN logprob;"
                              "PRAGMA user_version = 5;"));
    EXPECT_OK(sql_commit(db));
    sql_close(db);
}

static void
older_journals_are_read(void **state)
{
    store_job j = a_job(7, CLIENT_RUNNING);
    scratch box;
    store *s;
    store_record r;

    (void)state;
    scratch_init(&box);
    EXPECT_OK(store_open(&s, scratch_path(&box, "db")));
    EXPECT_OK(store_begin(s));
    EXPECT_OK(store_insert_job(s, &j, "a\0bc\0", 5, "x", 1));
    EXPECT_OK(add_tokens(s, 7, 0, 2));
    EXPECT_OK(store_commit(s));
    store_close(s);
    make_version_5(scratch_path(&box, "db"));
    EXPECT_OK(store_open(&s, scratch_path(&box, "db")));
    EXPECT_OK(store_get_job(s, &r, 7));
    assert_false(r.row.damaged);
    assert_true(r.row.sampling.min_p == 0.125F);
    assert_true(r.row.sampling.penalty == 1.0F);
    assert_false(r.row.sampling.logprobs);
    assert_int_equal(r.n_id, 2);
    assert_int_equal(r.ids[1], 41);
    assert_true(r.logprobs[1] == 0.0F);
    assert_int_equal(r.stops_len, 5);
    store_record_fini(&r);
    EXPECT_OK(store_begin(s));
    EXPECT_OK(add_tokens(s, 7, 1, 2));
    EXPECT_OK(store_commit(s));
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
    assert_non_null(strstr(status_text(), ".recover"));
    EXPECT_ST(store_open(&s, scratch_path(&box, "none/db")), ST_IO);
    scratch_fini(&box);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(documents_come_back),
        cmocka_unit_test(hashes_are_noted),
        cmocka_unit_test(a_name_is_unique),
        cmocka_unit_test(a_document_ends_its_job),
        cmocka_unit_test(a_checkpoint_is_of_its_attempt),
        cmocka_unit_test(unfinished_jobs_come_back),
        cmocka_unit_test(a_key_belongs_to_one_job_of_an_owner),
        cmocka_unit_test(results_are_kept_for_running_time),
        cmocka_unit_test(incidents_are_kept_in_order),
        cmocka_unit_test(older_journals_are_read),
        cmocka_unit_test(other_files_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
