/* SPDX-License-Identifier: Apache-2.0 */
/* The data directory: one owner, nothing half done, nothing left over. */
#include "daemon/datadir.h"

#include <sys/stat.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "tests/daemon/scratch.h"

static document
a_document(uint64_t id, uint64_t snapshot_bytes)
{
    document doc = {.id = id,
                    .name = "book",
                    .tokens = 10,
                    .segments = snapshot_bytes ? 2 : 1,
                    .snapshot_bytes = snapshot_bytes,
                    .pending = snapshot_bytes ? 4 : 10};
    return doc;
}

static spool *
ten_ids(datadir *d)
{
    const int32_t ids[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    spool *s;

    EXPECT_OK(spool_new(&s, datadir_tmp(d)));
    EXPECT_OK(spool_add(s, ids, 10));
    return s;
}

static void
one_daemon_a_directory(void **state)
{
    scratch box;
    datadir *d;
    datadir *other;
    struct stat info;

    (void)state;
    scratch_init(&box);
    EXPECT_OK(datadir_open(&d, scratch_path(&box, "a/b")));
    EXPECT_ST(datadir_open(&other, scratch_path(&box, "a/b")), ST_STATE);
    assert_int_equal(stat(scratch_path(&box, "a/b"), &info), 0);
    assert_int_equal(info.st_mode & 0777, 0700);
    datadir_close(d);
    EXPECT_OK(datadir_open(&d, scratch_path(&box, "a/b")));
    datadir_close(d);
    scratch_fini(&box);
}

static void
the_last_ids_are_kept(void **state)
{
    scratch box;
    datadir *d;
    document doc = a_document(3, 7);
    spool *ids;
    char *path;
    char *data;
    size_t len;
    const int32_t expected[] = {6, 7, 8, 9};
    uint8_t sum[HASH_BYTES];

    (void)state;
    scratch_init(&box);
    EXPECT_OK(datadir_open(&d, scratch_path(&box, "data")));
    ids = ten_ids(d);
    EXPECT_OK(datadir_snapshot_path(d, &path, 3));
    EXPECT_OK(file_write(path, "1234567", 7));
    mem_free(path);
    EXPECT_OK(datadir_write_ids(d, &doc, ids));
    EXPECT_OK(datadir_check_document(d, &doc));
    EXPECT_OK(datadir_ids_path(d, &path, 3));
    EXPECT_OK(file_read(&data, &len, path, 1000));
    assert_int_equal(len, sizeof(expected));
    assert_memory_equal(data, expected, len);
    mem_free(data);
    hash_of(sum, expected, sizeof(expected));
    assert_memory_equal(doc.ids_hash, sum, sizeof(sum));
    memset(doc.ids_hash, 0, sizeof(doc.ids_hash));
    EXPECT_OK(datadir_hash_ids(d, &doc));
    assert_memory_equal(doc.ids_hash, sum, sizeof(sum));
    EXPECT_OK(datadir_remove_document(d, 3));
    assert_false(file_exists(path));
    mem_free(path);
    spool_free(ids);
    datadir_close(d);
    scratch_fini(&box);
}

/* Document 3, the input of job 5 and its checkpoint after segment 64, which its
 * second attempt wrote. */
static bool
is_known(void *ctx, const char *kind, uint64_t id, uint64_t segment,
         uint32_t attempt)
{
    (void)ctx;
    if (strcmp(kind, "in") == 0)
        return id == 5;
    if (strcmp(kind, "checkpoint") == 0)
        return id == 5 && segment == 64 && attempt == 2;
    return id == 3;
}

static void
leftovers_of_a_crash_go(void **state)
{
    static const char *const left[] = {
        "data/documents/9.snap",        "data/documents/3.snap.77.tmp",
        "data/documents/9.ids",         "data/documents/9.ids.1.tmp",
        "data/tmp/input.abcdef",        "data/inputs/3.in",
        "data/inputs/5.in.7.tmp",       "data/checkpoints/5.65.2.snap",
        "data/checkpoints/5.64.1.snap", "data/checkpoints/5.64.2.snap.7.tmp",
        "data/checkpoints/5.64.snap",   "data/checkpoints/5.snap"};
    static const char *const kept[] = {
        "data/documents/3.snap", "data/documents/3.ids", "data/inputs/5.in",
        "data/checkpoints/5.64.2.snap",
        /* of somebody else */
        "data/documents/3.other", "data/documents/letter.snap",
        "data/documents/3.snap.tmp", "data/documents/3.snapshot",
        "data/documents/ids", "data/checkpoints/model-5.snap",
        "data/checkpoints/5.64.2.snap.a.tmp", "data/tmp/input.txt",
        "data/tmp/notes"};
    scratch box;
    datadir *d;

    (void)state;
    scratch_init(&box);
    EXPECT_OK(datadir_open(&d, scratch_path(&box, "data")));
    datadir_close(d);
    for (size_t i = 0; i < sizeof(left) / sizeof(*left); i++)
        EXPECT_OK(file_write(scratch_path(&box, left[i]), "x", 1));
    for (size_t i = 0; i < sizeof(kept) / sizeof(*kept); i++)
        EXPECT_OK(file_write(scratch_path(&box, kept[i]), "x", 1));
    EXPECT_OK(datadir_open(&d, scratch_path(&box, "data")));
    EXPECT_OK(datadir_sweep(d, is_known, NULL));
    for (size_t i = 0; i < sizeof(left) / sizeof(*left); i++)
        assert_false(file_exists(scratch_path(&box, left[i])));
    for (size_t i = 0; i < sizeof(kept) / sizeof(*kept); i++)
        assert_true(file_exists(scratch_path(&box, kept[i])));
    datadir_close(d);
    scratch_fini(&box);
}

/* Started without it, all documents would be what a crash left. */
static void
documents_outlive_their_journal(void **state)
{
    static const char *const kept[] = {"data/documents/3.snap",
                                       "data/inputs/5.in"};
    scratch box;
    datadir *d;

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        scratch_init(&box);
        EXPECT_OK(datadir_open(&d, scratch_path(&box, "data")));
        EXPECT_OK(file_write(scratch_path(&box, kept[i]), "x", 1));
        datadir_close(d);
        EXPECT_OK(datadir_open(&d, scratch_path(&box, "data")));
        datadir_close(d);
        EXPECT_OK(file_remove(scratch_path(&box, "data/longwave.db")));
        EXPECT_ST(datadir_open(&d, scratch_path(&box, "data")), ST_STATE);
        assert_non_null(strstr(status_text(), "longwave.db is gone"));
        assert_true(file_exists(scratch_path(&box, kept[i])));
        assert_false(file_exists(scratch_path(&box, "data/longwave.db")));
        scratch_fini(&box);
    }
}

/* Readings that an older program began go on. */
static void
old_checkpoints_get_their_names(void **state)
{
    const store_checkpoint k = {.job = 5, .segment = 64, .attempt = 2};
    char *path = NULL;
    char *data = NULL;
    size_t len;
    scratch box;
    datadir *d;

    (void)state;
    scratch_init(&box);
    EXPECT_OK(datadir_open(&d, scratch_path(&box, "data")));
    EXPECT_OK(
        file_write(scratch_path(&box, "data/checkpoints/5.64.snap"), "x", 1));
    EXPECT_OK(datadir_name_checkpoint(d, &k));
    EXPECT_OK(datadir_name_checkpoint(d, &k)); /* it has it */
    EXPECT_OK(datadir_sweep(d, is_known, NULL));
    EXPECT_OK(datadir_checkpoint_path(d, &path, 5, 64, 2));
    EXPECT_OK(file_read(&data, &len, path, 1));
    assert_int_equal(len, 1);
    mem_free(data);
    mem_free(path);
    datadir_close(d);
    scratch_fini(&box);
}

static void
damaged_documents_are_noticed(void **state)
{
    scratch box;
    datadir *d;
    document doc = a_document(3, 7);

    (void)state;
    scratch_init(&box);
    EXPECT_OK(datadir_open(&d, scratch_path(&box, "data")));
    EXPECT_ST(datadir_check_document(d, &doc), ST_IO);
    EXPECT_OK(file_write(scratch_path(&box, "data/documents/3.ids"),
                         "0123456789abcdef", 16));
    EXPECT_ST(datadir_check_document(d, &doc), ST_IO);
    EXPECT_OK(
        file_write(scratch_path(&box, "data/documents/3.snap"), "123456", 6));
    EXPECT_ST(datadir_check_document(d, &doc), ST_IO);
    EXPECT_OK(
        file_write(scratch_path(&box, "data/documents/3.snap"), "1234567", 7));
    EXPECT_OK(datadir_check_document(d, &doc));
    datadir_close(d);
    scratch_fini(&box);
}

static void
spools_hold_what_was_put_in(void **state)
{
    scratch box;
    spool *s;
    int32_t out[3];
    int32_t ids[1000];

    (void)state;
    scratch_init(&box);
    EXPECT_OK(spool_new(&s, box.dir));
    for (int i = 0; i < 1000; i++)
        ids[i] = i;
    EXPECT_OK(spool_add(s, ids, 1000));
    EXPECT_OK(spool_add(s, ids, 1000));
    assert_int_equal(spool_count(s), 2000);
    EXPECT_OK(spool_read(s, out, 999, 3));
    assert_int_equal(out[0], 999);
    assert_int_equal(out[1], 0);
    assert_int_equal(out[2], 1);
    EXPECT_ST(spool_read(s, out, 1998, 3), ST_IO);
    EXPECT_ST(spool_read(s, out, UINT64_MAX, 2), ST_IO);
    assert_ptr_equal(spool_hold(s), s);
    spool_free(s);
    EXPECT_OK(spool_read(s, out, 0, 1)); /* still held once */
    spool_free(s);
    scratch_fini(&box);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_daemon_a_directory),
        cmocka_unit_test(the_last_ids_are_kept),
        cmocka_unit_test(leftovers_of_a_crash_go),
        cmocka_unit_test(documents_outlive_their_journal),
        cmocka_unit_test(old_checkpoints_get_their_names),
        cmocka_unit_test(damaged_documents_are_noticed),
        cmocka_unit_test(spools_hold_what_was_put_in),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
