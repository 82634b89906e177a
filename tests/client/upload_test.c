/* SPDX-License-Identifier: Apache-2.0 */
/* Uploads: texts, files, pipes, ids, and files of ids that are wrong. */
#include "client/upload.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/expect.h"

static char path[64];

static void
write_file(const void *data, size_t len)
{
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, len), len);
    close(fd);
}

/* A safetensors file: length, header, data. */
static void
write_tensors(const char *header, const void *data, size_t len)
{
    char file[4096];
    size_t n = strlen(header);

    for (int i = 0; i < 8; i++)
        file[i] = (char)(n >> 8 * i);
    memcpy(file + 8, header, n);
    if (len > 0)
        memcpy(file + 8 + n, data, len);
    write_file(file, 8 + n + len);
}

static void
texts_are_read(void **state)
{
    char out[8] = "";
    upload f;

    (void)state;
    upload_init_text(&f, "abcdef");
    assert_int_equal(f.bytes, 6);
    assert_int_equal(f.kind, CLIENT_TEXT);
    EXPECT_OK(upload_read(&f, out, 3, 2));
    assert_string_equal(out, "cde");
    upload_close(&f);
}

static void
files_are_read(void **state)
{
    char out[8] = "";
    upload f;

    (void)state;
    write_file("abcdef", 6);
    EXPECT_OK(upload_open_file(&f, path, UINT64_MAX));
    assert_int_equal(f.bytes, 6);
    EXPECT_OK(upload_read(&f, out, 3, 3));
    assert_string_equal(out, "def");
    assert_int_equal(truncate(path, 4), 0);
    EXPECT_ST(upload_read(&f, out, 3, 3), ST_IO);
    upload_close(&f);
    upload_close(&f);
    EXPECT_ST(upload_open_file(&f, "/no/such/file", UINT64_MAX), ST_NOTFOUND);
    upload_close(&f);
    EXPECT_ST(upload_open_file(&f, "/tmp", UINT64_MAX), ST_ARG);
    upload_close(&f);
}

/* A pipe has no length, so it is copied. */
static void
stdin_is_spooled(void **state)
{
    char out[8] = "";
    int end[2], saved = dup(STDIN_FILENO);
    upload f;

    (void)state;
    assert_int_equal(pipe(end), 0);
    assert_int_equal(write(end[1], "piped", 5), 5);
    close(end[1]);
    dup2(end[0], STDIN_FILENO);
    EXPECT_OK(upload_open_file(&f, "-", UINT64_MAX));
    dup2(saved, STDIN_FILENO);
    close(saved);
    close(end[0]);
    assert_int_equal(f.bytes, 5);
    EXPECT_OK(upload_read(&f, out, 5, 0));
    assert_string_equal(out, "piped");
    upload_close(&f);
}

/* The longest that is taken, and one byte more: a file by its size, a pipe when
 * so much has come, though its end has not. */
static void
what_is_too_long_is_refused(void **state)
{
    const int32_t ids[] = {1, 2, 3};
    char some[100] = "", out[100];
    int end[2], saved = dup(STDIN_FILENO);
    upload f;

    (void)state;
    write_file(some, 100);
    EXPECT_OK(upload_open_file(&f, path, 100));
    upload_close(&f);
    assert_int_equal(truncate(path, INT64_C(1) << 40), 0);
    EXPECT_ST(upload_open_file(&f, path, 100), ST_LIMIT);
    assert_non_null(strstr(status_text(), "1099511627776 bytes"));
    upload_close(&f);
    for (int more = 0; more < 2; more++) {
        assert_int_equal(pipe(end), 0);
        assert_int_equal(write(end[1], some, 100), 100);
        dup2(end[0], STDIN_FILENO);
        if (more == 0) {
            close(end[1]);
            EXPECT_OK(upload_open_file(&f, "-", 100));
            EXPECT_OK(upload_read(&f, out, 100, 0));
        } else {
            EXPECT_ST(upload_open_file(&f, "-", 99), ST_LIMIT);
            close(end[1]);
        }
        upload_close(&f);
        close(end[0]);
    }
    dup2(saved, STDIN_FILENO);
    close(saved);
    write_tensors("{\"input_ids\":{\"dtype\":\"I32\",\"shape\":[3],"
                  "\"data_offsets\":[0,12]}}",
                  ids, sizeof(ids));
    EXPECT_OK(upload_open_ids(&f, path, 12));
    upload_close(&f);
    EXPECT_ST(upload_open_ids(&f, path, 11), ST_LIMIT);
    upload_close(&f);
}

static void
ids_are_read(void **state)
{
    const int32_t narrow[] = {1, 2, 300000};
    const int64_t wide[] = {1, 2, 300000, INT64_C(1) << 31};
    int32_t out[3];
    upload f;

    (void)state;
    write_tensors("{\"input_ids\":{\"dtype\":\"I32\",\"shape\":[3],"
                  "\"data_offsets\":[0,12]}}",
                  narrow, sizeof(narrow));
    EXPECT_OK(upload_open_ids(&f, path, UINT64_MAX));
    assert_int_equal(f.kind, CLIENT_IDS);
    assert_int_equal(f.bytes, 12);
    EXPECT_OK(upload_read(&f, out, 12, 0));
    assert_memory_equal(out, narrow, 12);
    upload_close(&f);

    write_tensors("{\"__metadata__\":{\"a\":\"b\"},\"input_ids\":{\"dtype\":"
                  "\"I64\",\"shape\":[4],\"data_offsets\":[0,32]}}",
                  wide, sizeof(wide));
    EXPECT_OK(upload_open_ids(&f, path, UINT64_MAX));
    assert_int_equal(f.bytes, 16);
    EXPECT_OK(upload_read(&f, out, 8, 4));
    assert_int_equal(out[0], 2);
    assert_int_equal(out[1], 300000);
    EXPECT_ST(upload_read(&f, out, 8, 8), ST_ARG);
    upload_close(&f);
}

static void
wrong_ids_are_refused(void **state)
{
    static const char *const bad[] = {
        "{}",
        "[]",
        "{\"input_ids\":3}",
        "{\"input_ids\":{}}",
        "not json",
        "{\"input_ids\":{\"dtype\":\"F32\",\"shape\":[2],"
        "\"data_offsets\":[0,8]}}",
        "{\"input_ids\":{\"dtype\":\"I32\",\"shape\":[3],"
        "\"data_offsets\":[0,8]}}",
        "{\"input_ids\":{\"dtype\":\"I32\",\"shape\":[2,1],"
        "\"data_offsets\":[0,8]}}",
        "{\"input_ids\":{\"dtype\":\"I32\",\"shape\":[2],"
        "\"data_offsets\":[4,12]}}",
        "{\"input_ids\":{\"dtype\":\"I32\",\"shape\":[2],"
        "\"data_offsets\":[8,0]}}",
        /* From 8 back to 0 is 2^64 - 8 bytes, and so is this shape. */
        "{\"input_ids\":{\"dtype\":\"I64\",\"shape\":[2305843009213693951],"
        "\"data_offsets\":[8,0]}}",
        "{\"input_ids\":{\"dtype\":\"I32\",\"shape\":[-2],"
        "\"data_offsets\":[0,-8]}}",
        "{\"input_ids\":{\"dtype\":\"I64\",\"shape\":[2305843009213693952],"
        "\"data_offsets\":[0,0]}}",
        "{\"input_ids\":{\"dtype\":\"I64\",\"shape\":[1e3],"
        "\"data_offsets\":[0,8]}}",
        "{\"input_ids\":{\"dtype\":\"I32\",\"shape\":[2],"
        "\"data_offsets\":\"08\"}}",
    };
    upload f;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        write_tensors(bad[i], "12345678", 8);
        EXPECT_ST(upload_open_ids(&f, path, UINT64_MAX), ST_ARG);
        upload_close(&f);
    }
    write_file("\0\0\0\0\0\0\0\1", 8);
    EXPECT_ST(upload_open_ids(&f, path, UINT64_MAX), ST_ARG);
    write_file("abc", 3);
    EXPECT_ST(upload_open_ids(&f, path, UINT64_MAX), ST_ARG);
    write_file("", 0);
    EXPECT_ST(upload_open_ids(&f, path, UINT64_MAX), ST_ARG);
}

/* A header that nobody means is not even read: here, of nothing but holes. */
static void
a_huge_header_is_refused(void **state)
{
    const uint8_t head[8] = {1, 0, 0, 1}; /* 16 MiB and a byte */
    upload f;

    (void)state;
    write_file(head, sizeof(head));
    assert_int_equal(truncate(path, 8 + (17 << 20)), 0);
    EXPECT_ST(upload_open_ids(&f, path, UINT64_MAX), ST_LIMIT);
}

/* More of them than are turned at once. */
static void
many_wide_ids_are_read(void **state)
{
    enum { N = 10000 };
    const char *header = "{\"input_ids\":{\"dtype\":\"I64\",\"shape\":[10000],"
                         "\"data_offsets\":[0,80000]}}";
    static int64_t wide[N];
    static int32_t out[N];
    upload f;
    int fd;

    (void)state;
    for (int32_t i = 0; i < N; i++)
        wide[i] = i * 7;
    write_tensors(header, NULL, 0);
    fd = open(path, O_WRONLY | O_APPEND);
    assert_int_equal(write(fd, wide, sizeof(wide)), sizeof(wide));
    close(fd);
    EXPECT_OK(upload_open_ids(&f, path, UINT64_MAX));
    assert_int_equal(f.bytes, sizeof(out));
    EXPECT_OK(upload_read(&f, out, sizeof(out), 0));
    for (int32_t i = 0; i < N; i++)
        assert_int_equal(out[i], i * 7);
    upload_close(&f);
}

/* Every cut of a good file. */
static void
cut_files_of_ids_are_refused(void **state)
{
    const int32_t ids[] = {1, 2};
    struct stat found;
    upload f;

    (void)state;
    write_tensors("{\"input_ids\":{\"dtype\":\"I32\",\"shape\":[2],"
                  "\"data_offsets\":[0,8]}}",
                  ids, sizeof(ids));
    assert_int_equal(stat(path, &found), 0);
    for (off_t len = found.st_size - 1; len >= 0; len--) {
        assert_int_equal(truncate(path, len), 0);
        EXPECT_ST(upload_open_ids(&f, path, UINT64_MAX), ST_ARG);
    }
}

static int
setup(void **state)
{
    int fd;

    (void)state;
    snprintf(path, sizeof(path), "/tmp/lw-upload-XXXXXX");
    fd = mkstemp(path);
    close(fd);
    return fd < 0;
}

static int
teardown(void **state)
{
    (void)state;
    return unlink(path);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_read),
        cmocka_unit_test(files_are_read),
        cmocka_unit_test(stdin_is_spooled),
        cmocka_unit_test(what_is_too_long_is_refused),
        cmocka_unit_test(ids_are_read),
        cmocka_unit_test(wrong_ids_are_refused),
        cmocka_unit_test(a_huge_header_is_refused),
        cmocka_unit_test(many_wide_ids_are_read),
        cmocka_unit_test(cut_files_of_ids_are_refused),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
