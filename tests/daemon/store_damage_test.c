/* SPDX-License-Identifier: Apache-2.0 */
/* Rows that are not what was written, or not there: told, and never believed.
 */
#include "daemon/store.h"

#include "base/hash.h"
#include "base/mem.h"
#include "daemon/sql.h"
#include "tests/daemon/scratch.h"

typedef struct place {
    scratch box;
    store *s;
} place;

static int
enter(void **state)
{
    place *p = calloc(1, sizeof(*p));

    assert_non_null(p);
    scratch_init(&p->box);
    EXPECT_OK(store_open(&p->s, scratch_path(&p->box, "db")));
    *state = p;
    return 0;
}

static int
leave(void **state)
{
    place *p = *state;

    store_close(p->s);
    scratch_fini(&p->box);
    free(p);
    return 0;
}

/* What no program of ours does to a journal. */
static void
harm(place *p, const char *text)
{
    sql *db;

    store_close(p->s);
    EXPECT_OK(sql_open(&db, scratch_path(&p->box, "db")));
    EXPECT_OK(sql_execute(db, text));
    sql_close(db);
    EXPECT_OK(store_open(&p->s, scratch_path(&p->box, "db")));
}

static store_job
a_job(uint64_t id, client_state state)
{
    return (store_job){.id = id,
                       .kind = JOB_ASK,
                       .state = state,
                       .owner = "local",
                       .key = "the-key",
                       .document = "book",
                       .document_id = 3,
                       .input = CLIENT_IDS,
                       .bytes = 12,
                       .hash = {9, 8, 7},
                       .sampling = {.max_tokens = 7,
                                    .temperature = -0.0F,
                                    .top_p = 0.25F,
                                    .penalty = 1,
                                    .seed = UINT64_MAX},
                       .device = "cpu",
                       .finish = "eos"};
}

static const int32_t ids[] = {40, 41, 42};
static const float logprobs[] = {-0.0F, -1, -1.0F / 5};

static void
put_job(store *s, const store_job *j)
{
    int32_t some[3];
    float of_them[3];
    const store_record r = {.ids = some, .logprobs = of_them, .n_id = 3};

    memcpy(some, ids, sizeof(ids));
    memcpy(of_them, logprobs, sizeof(logprobs));
    EXPECT_OK(store_begin(s));
    EXPECT_OK(store_insert_job(s, j, "a\0bc\0", 5, "x", 1));
    EXPECT_OK(store_add_tokens(s, j->id, 0, &r));
    EXPECT_OK(store_commit(s));
}

static void
expect_failed(const store_job *row, uint64_t id)
{
    assert_true(row->damaged);
    assert_int_equal(row->id, id);
    assert_int_equal(row->state, CLIENT_FAILED);
    assert_int_equal(row->st, ST_IO);
    assert_non_null(strstr(row->text, "is damaged: submit it again"));
}

/* The first row, and how many. */
typedef struct seen {
    size_t n, n_damaged;
    store_job row;
    document doc;
} seen;

static status
see_row(void *ctx, const store_job *row)
{
    seen *s = ctx;

    if (s->n++ == 0)
        s->row = *row;
    s->n_damaged += row->damaged;
    return ST_OK;
}

static status
see_record(void *ctx, const store_record *r)
{
    if (r->row.damaged) {
        assert_int_equal(r->n_id, 0);
        assert_null(r->text);
        assert_null(r->stops);
    }
    return see_row(ctx, &r->row);
}

static status
see_document(void *ctx, const document *doc)
{
    seen *s = ctx;

    if (s->n++ == 0)
        s->doc = *doc;
    s->n_damaged += doc->damaged;
    return ST_OK;
}

/* One change of each column, and what of the answer could be lost. */
static const char *const HARM[] = {
    "UPDATE job SET kind=1-kind WHERE id=7",
    "UPDATE job SET kind=77 WHERE id=7",
    "UPDATE job SET state=state+1 WHERE id=7",
    "UPDATE job SET owner='Local' WHERE id=7",
    "UPDATE job SET key='thE-key' WHERE id=7",
    "UPDATE job SET document='cook' WHERE id=7",
    "UPDATE job SET document=CAST(x'ff' AS TEXT) WHERE id=7",
    "UPDATE job SET document_id=document_id+1 WHERE id=7",
    "UPDATE job SET created_ms=created_ms+1 WHERE id=7",
    "UPDATE job SET ended_ms=ended_ms+1 WHERE id=7",
    "UPDATE job SET input=1-input WHERE id=7",
    "UPDATE job SET bytes=bytes+1 WHERE id=7",
    "UPDATE job SET hash=zeroblob(32) WHERE id=7",
    "UPDATE job SET max_tokens=max_tokens+1 WHERE id=7",
    "UPDATE job SET temperature=0.5 WHERE id=7",
    "UPDATE job SET top_k=top_k+1 WHERE id=7",
    "UPDATE job SET top_p=0.5 WHERE id=7",
    "UPDATE job SET min_p=0.5 WHERE id=7",
    "UPDATE job SET penalty=2 WHERE id=7",
    "UPDATE job SET logprobs=1-logprobs WHERE id=7",
    "UPDATE job SET seed=seed-1 WHERE id=7",
    "UPDATE job SET ignore_eos=1-ignore_eos WHERE id=7",
    "UPDATE job SET tokens=tokens+1 WHERE id=7",
    "UPDATE job SET pending=pending+1 WHERE id=7",
    "UPDATE job SET first_segment=first_segment+1 WHERE id=7",
    "UPDATE job SET snapshot_bytes=snapshot_bytes+1 WHERE id=7",
    "UPDATE job SET segments_done=segments_done+1 WHERE id=7",
    "UPDATE job SET segments_total=segments_total+1 WHERE id=7",
    "UPDATE job SET redone=redone+1 WHERE id=7",
    "UPDATE job SET attempt=attempt+1 WHERE id=7",
    "UPDATE job SET strikes=strikes+1 WHERE id=7",
    "UPDATE job SET fingerprint=zeroblob(31) WHERE id=7",
    "UPDATE job SET device='gpu' WHERE id=7",
    "UPDATE job SET code=code+1 WHERE id=7",
    "UPDATE job SET text='?' WHERE id=7",
    "UPDATE job SET finish='' WHERE id=7",
    "UPDATE job SET ended_age=ended_age+1 WHERE id=7",
    "UPDATE job SET stops=x'610062640a' WHERE id=7",
    "UPDATE job SET answer=x'' WHERE id=7",
    "UPDATE job SET crc=crc-1 WHERE id=7",
    "UPDATE token SET id=id+1 WHERE job=7 AND place=1",
    "UPDATE token SET logprob=-2 WHERE job=7 AND place=1",
    "UPDATE token SET place=3 WHERE job=7 AND place=2",
    "DELETE FROM token WHERE job=7 AND place=1",
};

/* Whatever of a row rots, it alone is lost, and says so, whichever way somebody
 * comes to it. */
static void
a_rotten_job_has_failed(void **state)
{
    static const client_state states[] = {CLIENT_QUEUED, CLIENT_STATE_DONE};

    (void)state;
    for (size_t i = 0; i < 2 * sizeof(HARM) / sizeof(*HARM); i++) {
        place *p = NULL;
        store_job j = a_job(7, states[i % 2]);
        store_record r;
        seen got = {0};

        (void)enter((void **)&p);
        put_job(p->s, &j);
        j.id = 8;
        j.key[0] = '\0';
        put_job(p->s, &j);
        harm(p, HARM[i / 2]);
        EXPECT_OK(store_get_job(p->s, &r, 7));
        expect_failed(&r.row, 7);
        assert_null(r.ids);
        store_record_fini(&r);
        EXPECT_OK(store_get_job(p->s, &r, 8));
        assert_false(r.row.damaged);
        assert_int_equal(r.n_id, 3);
        store_record_fini(&r);
        EXPECT_OK(store_each_unfinished(p->s, see_record, &got));
        EXPECT_OK(store_each_finished(p->s, 10, see_row, &got));
        assert_int_equal(got.n, 2);
        (void)leave((void **)&p);
    }
}

static void
a_rotten_row_keeps_its_key(void **state)
{
    place *p = *state;
    store_job j = a_job(7, CLIENT_QUEUED);
    store_record found = {.n_id = 0};

    put_job(p->s, &j);
    harm(p, "UPDATE job SET bytes=bytes+1");
    EXPECT_OK(store_find_key(p->s, &found, "local", "the-key"));
    expect_failed(&found.row, 7);
    assert_string_equal(found.row.document, "book");
    store_record_fini(&found);
}

/* Nor does a change of it make it look whole again. */
static void
what_cannot_be_changed_says_so(void **state)
{
    place *p = *state;
    store_job j = a_job(7, CLIENT_QUEUED);
    store_job other = a_job(8, CLIENT_RUNNING);
    document doc = {.id = 8, .tokens = 1, .segments = 1, .pending = 1};
    seen got = {0};

    put_job(p->s, &j);
    EXPECT_OK(store_begin(p->s));
    EXPECT_OK(store_update_job(p->s, &j));
    EXPECT_ST(store_update_job(p->s, &other), ST_NOTFOUND);
    EXPECT_ST(store_end_job(p->s, &other, "", 0), ST_NOTFOUND);
    EXPECT_ST(store_end_document(p->s, &doc, &other), ST_NOTFOUND);
    EXPECT_OK(store_commit(p->s));
    EXPECT_OK(store_each_document(p->s, see_document, &got));
    assert_int_equal(got.n, 0); /* both or neither */
    harm(p, "UPDATE job SET bytes=bytes+1");
    EXPECT_OK(store_begin(p->s));
    EXPECT_ST(store_update_job(p->s, &j), ST_NOTFOUND);
    EXPECT_ST(store_end_job(p->s, &j, "", 0), ST_NOTFOUND);
    EXPECT_OK(store_commit(p->s));
    EXPECT_OK(store_each_unfinished(p->s, see_record, &got));
    expect_failed(&got.row, 7);
}

/* Every way to write a row leaves one that is whole, to the last bit. */
static void
what_was_written_is_whole(void **state)
{
    place *p = *state;
    store_job j = a_job(7, CLIENT_QUEUED);
    store_record r;

    put_job(p->s, &j);
    for (int i = 0; i < 3; i++) {
        EXPECT_OK(store_begin(p->s));
        if (i == 1) {
            j.state = CLIENT_RUNNING;
            j.tokens = UINT64_MAX;
            memset(j.fingerprint, 0xff, sizeof(j.fingerprint));
            EXPECT_OK(store_update_job(p->s, &j));
        } else if (i == 2) {
            j.state = CLIENT_STATE_DONE;
            EXPECT_OK(store_set_number(p->s, "age", 77));
            EXPECT_OK(store_end_job(p->s, &j, "ab", 2));
        }
        EXPECT_OK(store_commit(p->s));
        EXPECT_OK(store_get_job(p->s, &r, 7));
        assert_false(r.row.damaged);
        assert_int_equal(r.row.state, j.state);
        assert_int_equal(r.n_id, 3);
        store_record_fini(&r);
    }
}

static const char *const HARM_DOCUMENT[] = {
    "UPDATE document SET name='cook'",
    "UPDATE document SET name=CAST(x'ff' AS TEXT)",
    "UPDATE document SET fingerprint=zeroblob(32)",
    "UPDATE document SET tokens=tokens+1",
    "UPDATE document SET segments=segments+1",
    "UPDATE document SET snapshot_bytes=0",
    "UPDATE document SET pending=0",
    "UPDATE document SET created_ms=created_ms+1",
    "UPDATE document SET owner='other'",
    "UPDATE document SET norms=x'0000c07f'",
    "UPDATE document SET norms=x'00'",
    "UPDATE document SET template=zeroblob(32)",
    "UPDATE document SET hash=zeroblob(32)",
    "UPDATE document SET hash=x''",
    "UPDATE document SET ids_hash=x''",
    "UPDATE document SET crc=crc+1",
};

static void
a_rotten_document_can_be_removed(void **state)
{
    const document doc = {.id = 5,
                          .name = "book",
                          .owner = "local",
                          .fingerprint = {1},
                          .template = {1},
                          .hash = {1},
                          .ids_hash = {1},
                          .tokens = 20,
                          .segments = 3,
                          .snapshot_bytes = 100,
                          .pending = 4,
                          .n_norm = 2,
                          .norm = {0, 2.5F}};

    (void)state;
    for (size_t i = 0; i < sizeof(HARM_DOCUMENT) / sizeof(*HARM_DOCUMENT);
         i++) {
        place *p = NULL;
        seen got = {0};

        (void)enter((void **)&p);
        EXPECT_OK(store_add_document(p->s, &doc));
        EXPECT_OK(store_each_document(p->s, see_document, &got));
        assert_false(got.doc.damaged);
        harm(p, HARM_DOCUMENT[i]);
        got.n = 0;
        EXPECT_OK(store_each_document(p->s, see_document, &got));
        assert_int_equal(got.n, 1);
        assert_true(got.doc.damaged);
        assert_int_equal(got.doc.id, 5);
        assert_true(strlen(got.doc.name) > 0);
        EXPECT_OK(store_note_hashes(p->s, &doc)); /* which makes it no better */
        got.n = 0;
        EXPECT_OK(store_each_document(p->s, see_document, &got));
        assert_true(got.doc.damaged);
        EXPECT_OK(store_remove_document(p->s, 5));
        got.n = 0;
        EXPECT_OK(store_each_document(p->s, see_document, &got));
        assert_int_equal(got.n, 0);
        (void)leave((void **)&p);
    }
}

/* Version 7 had no checksums: its rows get them, and have them from then on. */
static void
version_7_gets_checksums(void **state)
{
    place *p = *state;
    store_job j = a_job(7, CLIENT_QUEUED);
    document doc = {
        .id = 5, .name = "b", .tokens = 1, .segments = 1, .pending = 1};
    store_record r;
    seen got = {0};

    put_job(p->s, &j);
    EXPECT_OK(store_add_document(p->s, &doc));
    harm(p, "ALTER TABLE job DROP COLUMN crc;"
            "ALTER TABLE token DROP COLUMN crc;"
            "ALTER TABLE document DROP COLUMN crc;"
            "ALTER TABLE document DROP COLUMN hash;"
            "ALTER TABLE document DROP COLUMN ids_hash;"
            "ALTER TABLE checkpoint DROP COLUMN crc;"
            "DROP TABLE rotten;"
            "PRAGMA user_version = 7;");
    EXPECT_OK(store_get_job(p->s, &r, 7));
    assert_false(r.row.damaged);
    assert_int_equal(r.row.bytes, 12);
    assert_int_equal(r.n_id, 3);
    store_record_fini(&r);
    EXPECT_OK(store_each_document(p->s, see_document, &got));
    assert_false(got.doc.damaged);
    EXPECT_OK(store_begin(p->s));
    EXPECT_OK(store_update_job(p->s, &j));
    EXPECT_OK(store_commit(p->s));
    harm(p,
         "UPDATE token SET id=7 WHERE place=2; UPDATE document SET tokens=2");
    EXPECT_OK(store_get_job(p->s, &r, 7));
    expect_failed(&r.row, 7);
    store_record_fini(&r);
    got.n = 0;
    EXPECT_OK(store_each_document(p->s, see_document, &got));
    assert_true(got.doc.damaged);
}

/* Version 9 knew no hashes of documents' files: none is made up, and what had
 * rotted then is no better for it. */
static void
version_9_has_no_hashes(void **state)
{
    static const char FROM_9[] =
        "ALTER TABLE document DROP COLUMN hash;"
        "ALTER TABLE document DROP COLUMN ids_hash;"
        "UPDATE document SET crc = row_crc(id, name, fingerprint, tokens, "
        "segments, snapshot_bytes, pending, created_ms, owner, norms, "
        "template) + (id = 6);"
        "PRAGMA user_version = 9;";
    place *p = *state;
    document doc = {
        .id = 5, .name = "b", .tokens = 1, .segments = 1, .pending = 1};
    seen got = {0};

    EXPECT_OK(store_add_document(p->s, &doc));
    doc.id = 6;
    doc.name[0] = 'c';
    EXPECT_OK(store_add_document(p->s, &doc));
    harm(p, FROM_9);
    EXPECT_OK(store_each_document(p->s, see_document, &got));
    assert_int_equal(got.n, 2);
    assert_int_equal(got.n_damaged, 1);
    assert_int_equal(got.doc.id, 5);
    assert_false(got.doc.damaged);
    assert_true(hash_is_zero(got.doc.hash));
    assert_true(hash_is_zero(got.doc.ids_hash));
}

/* How many rows there are of job 7, whole or not, in all tables. */
static uint64_t
rows_of_7(place *p)
{
    sql *db;
    sql_query *q;
    bool row;
    uint64_t n;

    EXPECT_OK(sql_open(&db, scratch_path(&p->box, "db")));
    EXPECT_OK(sql_start(db, &q,
                        "SELECT (SELECT count(*) FROM job WHERE id = 7) + "
                        "(SELECT count(*) FROM token WHERE job = 7) + "
                        "(SELECT count(*) FROM input WHERE job = 7) + "
                        "(SELECT count(*) FROM checkpoint WHERE job = 7) + "
                        "(SELECT count(*) FROM rotten)"));
    EXPECT_OK(sql_next(q, &row));
    n = sql_number(q, 0);
    sql_stop(q);
    sql_close(db);
    return n;
}

static void
grow_old(place *p, uint64_t age)
{
    EXPECT_OK(store_begin(p->s));
    EXPECT_OK(store_set_number(p->s, "age", age));
    EXPECT_OK(store_forget_jobs(p->s, 100));
    EXPECT_OK(store_commit(p->s));
}

/* However it rotted, and whatever it says of its end, it stays as long as a
 * job that has just ended, counted from when it was found. */
static void
a_rotten_job_goes_in_its_time(void **state)
{
    static const char *const how[] = {
        "UPDATE job SET bytes=bytes+1 WHERE id=7",
        "UPDATE job SET state=6 WHERE id=7", /* and ended long ago, then */
        "UPDATE job SET state=4, ended_age=1000000 WHERE id=7",
        "UPDATE token SET id=id+1 WHERE job=7 AND place=1",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(how) / sizeof(*how); i++) {
        place *p = NULL;
        store_job j = a_job(7, CLIENT_QUEUED);
        store_checkpoint k = {
            .job = 7, .segment = 2, .crcs = (uint32_t[]){1}, .n_layer = 1};
        store_record r;
        bool first = false;

        (void)enter((void **)&p);
        put_job(p->s, &j);
        EXPECT_OK(store_add_checkpoint(p->s, &k));
        j.id = 8;
        j.key[0] = '\0';
        put_job(p->s, &j);
        harm(p, how[i]);
        grow_old(p, 1000);
        EXPECT_OK(store_note_damaged(p->s, 7, &first));
        assert_int_equal(first, i != 1); /* that one was found already */
        EXPECT_OK(store_note_damaged(p->s, 7, &first));
        assert_false(first);
        grow_old(p, 1100);
        assert_int_equal(rows_of_7(p), 1 + 3 + 1 + 1 + 1);
        grow_old(p, 1101);
        assert_int_equal(rows_of_7(p), 0);
        EXPECT_ST(store_get_job(p->s, &r, 7), ST_NOTFOUND);
        EXPECT_OK(store_get_job(p->s, &r, 8)); /* it waits on */
        assert_false(r.row.damaged);
        store_record_fini(&r);
        (void)leave((void **)&p);
    }
}

/* The way out for people, who have no checksums. */
static void
a_row_that_was_deleted_by_hand_is_forgotten(void **state)
{
    place *p = *state;
    store_job j = a_job(7, CLIENT_QUEUED);
    bool first;

    put_job(p->s, &j);
    harm(p, "UPDATE job SET bytes=bytes+1");
    EXPECT_OK(store_note_damaged(p->s, 7, &first));
    harm(p, "DELETE FROM job WHERE id = 7");
    grow_old(p, 1);
    assert_int_equal(rows_of_7(p), 3 + 1); /* tokens, input */
}

static status
see_checkpoint(void *ctx, const store_checkpoint *k)
{
    seen *s = ctx;

    s->n++;
    assert_int_equal(k->segment, 4);
    return ST_OK;
}

static void
a_rotten_checkpoint_is_none(void **state)
{
    static const char *const how[] = {
        "UPDATE checkpoint SET job=8 WHERE segment=2",
        "UPDATE checkpoint SET segment=3 WHERE segment=2",
        "UPDATE checkpoint SET bytes=1 WHERE segment=2",
        "UPDATE checkpoint SET attempt=9 WHERE segment=2",
        "UPDATE checkpoint SET n_layer=9 WHERE segment=2",
        "UPDATE checkpoint SET hash=zeroblob(32) WHERE segment=2",
        "UPDATE checkpoint SET crcs=x'00' WHERE segment=2",
        "UPDATE checkpoint SET crc=crc+1 WHERE segment=2",
    };
    place *p = *state;
    size_t n = 9;

    for (size_t i = 0; i < sizeof(how) / sizeof(*how); i++) {
        seen got = {0};

        for (uint64_t segment = 2; segment <= 4; segment += 2) {
            const store_checkpoint k = {.job = 7,
                                        .segment = segment,
                                        .bytes = 100,
                                        .hash = {1},
                                        .crcs = (uint32_t[]){1},
                                        .n_layer = 1};

            EXPECT_OK(store_add_checkpoint(p->s, &k));
        }
        EXPECT_OK(store_drop_damaged_checkpoints(p->s, &n));
        assert_int_equal(n, 0);
        harm(p, how[i]);
        EXPECT_OK(store_drop_damaged_checkpoints(p->s, &n));
        assert_int_equal(n, 1);
        EXPECT_OK(store_each_checkpoint(p->s, see_checkpoint, &got));
        assert_int_equal(got.n, 1);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rotten_job_has_failed),
        cmocka_unit_test_setup_teardown(a_rotten_row_keeps_its_key, enter,
                                        leave),
        cmocka_unit_test_setup_teardown(what_cannot_be_changed_says_so, enter,
                                        leave),
        cmocka_unit_test_setup_teardown(what_was_written_is_whole, enter,
                                        leave),
        cmocka_unit_test(a_rotten_document_can_be_removed),
        cmocka_unit_test_setup_teardown(version_7_gets_checksums, enter, leave),
        cmocka_unit_test_setup_teardown(version_9_has_no_hashes, enter, leave),
        cmocka_unit_test(a_rotten_job_goes_in_its_time),
        cmocka_unit_test_setup_teardown(
            a_row_that_was_deleted_by_hand_is_forgotten, enter, leave),
        cmocka_unit_test_setup_teardown(a_rotten_checkpoint_is_none, enter,
                                        leave),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
