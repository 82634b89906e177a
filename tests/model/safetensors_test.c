/* SPDX-License-Identifier: Apache-2.0 */
/* Checkpoint files: malformed ones by hand, and numbers. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/expect.h"
#include "tests/model/files_rig.h"

#define T FILES_RIG_T

static void
malformed_headers(void **state)
{
    static const struct {
        const char *header, *sentence;
        size_t n_data;
    } cases[] = {
        /* places */
        {"{\"a\":" T("F32", "2", "0,8") ",\"b\":" T("F32", "2", "4,12") "}",
         "overlaps", 12},
        {"{\"a\":" T("F32", "2", "0,8") ",\"b\":" T("F32", "2", "0,8") "}",
         "overlaps", 8},
        {"{\"a\":" T("F32", "1", "0,4") ",\"b\":" T("F32", "1", "8,12") "}",
         "gap", 12},
        {"{\"a\":" T("F32", "1", "4,8") "}", "gap", 8},
        {"{\"a\":" T("F32", "1", "0,4") "}", "behind", 5},
        {"{\"a\":" T("F32", "1", "0,4") "}", "outside", 3},
        {"{}", "behind", 1},
        {"{\"a\":" T("F32", "1", "4,0") "}", "outside", 4},
        {"{\"a\":" T("F32", "1", "-4,0") "}", "outside", 4},
        {"{\"a\":" T("F32", "1", "0,9223372036854775807") "}", "outside", 4},
        {"{\"a\":" T("F32", "1", "9223372036854775804,9223372036854775807") "}",
         "outside", 4},
        {"{\"a\":" T("F32", "1", "0,18446744073709551620") "}", "line", 4},
        {"{\"a\":" T("F32", "1", "0") "}", "data_offsets", 4},
        {"{\"a\":" T("F32", "1", "0,4,4") "}", "data_offsets", 4},
        {"{\"a\":" T("F32", "1", "0,4.0") "}", "data_offsets", 4},
        {"{\"a\":" T("F32", "1", "\"0\",\"4\"") "}", "data_offsets", 4},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":4}}",
         "data_offsets", 4},
        /* shapes */
        {"{\"a\":" T("F32", "2", "0,4") "}", "do not agree", 4},
        {"{\"a\":" T("BF16", "1", "0,4") "}", "do not agree", 4},
        {"{\"a\":" T("F32", "-1", "0,4") "}", "bad size", 4},
        {"{\"a\":" T("F32", "1.0", "0,4") "}", "bad size", 4},
        {"{\"a\":" T("F32", "4611686018427387904,2", "0,4") "}", "overflows",
         4},
        {"{\"a\":" T("F32", "4294967296,4294967296,4294967296", "0,0") "}",
         "overflows", 0},
        {"{\"a\":" T("F32", "4611686018427387905", "0,4") "}", "overflows", 4},
        {"{\"a\":" T("F32", "1,1,1,1,1,1,1,1,1", "0,4") "}", "at most 8", 4},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":1,\"data_offsets\":[0,4]}}",
         "at most 8", 4},
        /* types and members */
        {"{\"a\":" T("F31", "1", "0,4") "}", "dtype", 4},
        {"{\"a\":" T("", "1", "0,4") "}", "dtype", 4},
        {"{\"a\":{\"dtype\":1,\"shape\":[1],\"data_offsets\":[0,4]}}", "dtype",
         4},
        {"{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", "not dtype", 4},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],"
         "\"x\":1}}",
         "not dtype", 4},
        {"{\"a\":[1,2,3]}", "not dtype", 0},
        {"{\"a\":null}", "not dtype", 0},
        /* names and JSON */
        {"{\"a\":" T("F32", "1", "0,4") ",\"a\":" T("F32", "1", "4,8") "}",
         "duplicate", 8},
        {"{\"a\\u0000b\":" T("F32", "1", "0,4") "}", "line", 4},
        {"{\"\xff\":" T("F32", "1", "0,4") "}", "line", 4},
        {"{\"a\":" T("F32", "1", "0,4"), "line", 4},
        {"{\"a\":" T("F32", "1", "0,4") "} PK", "line", 4},
        {"        ", "no JSON object", 0},
        {" {}", "no JSON object", 0},
        {"[]", "no JSON object", 0},
        {"", "no JSON object", 0},
        {"{\"__metadata__\":{\"a\":{\"b\":\"c\"}}}", "no string", 0},
        {"{\"__metadata__\":{\"a\":1}}", "no string", 0},
        {"{\"__metadata__\":[]}", "not an object", 0},
        {"{\"__metadata__\":\"x\"}", "not an object", 0},
        {"{\"a\":" T("F32", "1", "0,4") "}{}", "line", 4},
        {"{\"a\":" T("F32", "1", "0,4") ",}", "line", 4},
        {"{\"a\":" T("F32", "1e0", "0,4") "}", "bad size", 4},
        {"{\"a\":" T("F32", "01", "0,4") "}", "line", 4},
        {"{\"a\":" T("F32", "NaN", "0,4") "}", "line", 4},
        {"{\"a\":" T("F32", "0x1", "0,4") "}", "line", 4},
        {"{\"a\":" T("F32", "[1]", "0,4") "}", "bad size", 4},
        {"{\"a\":" T("F32", "null", "0,4") "}", "bad size", 4},
        {"{\"a\":" T("F32", "18446744073709551616", "0,4") "}", "line", 4},
        {"{\"a\":" T("U8", "9223372036854775807,3,1", "0,0") "}", "overflows",
         0},
        {"{\"a\":" T("F64", "1", "0,4") "}", "do not agree", 4},
        {"{\"a\":" T("F32", "1", "0,4") ",\"b\":" T("F32", "1", "3,7") "}",
         "overlaps", 8},
        {"{\"a\":" T("F32", "0", "8,8") ",\"b\":" T("F32", "1", "0,4") "}",
         "outside", 4},
        {"{\"\\ud800\":" T("F32", "1", "0,4") "}", "line", 4},
        {"\xEF\xBB\xBF{}", "no JSON object", 0},
    };

    (void)state;
    assert_true(sizeof(cases) / sizeof(cases[0]) >= 60);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        files_rig_tensors("bad", cases[i].header, cases[i].n_data);
        files_rig_refused(files_rig_path("bad"), cases[i].header,
                          cases[i].sentence);
    }
}

static void
malformed_lengths(void **state)
{
    static const struct {
        uint64_t header_len;
        const char *sentence;
    } cases[] = {{3, "longer than the file"},
                 {(16 << 20) + 1, "at most"},
                 {UINT64_MAX, "at most"},
                 {INT64_MAX, "at most"}};
    char bytes[10] = "........{}";

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        memcpy(bytes, &cases[i].header_len, 8);
        files_rig_write("bad", bytes, sizeof(bytes));
        files_rig_refused(files_rig_path("bad"), "length", cases[i].sentence);
    }
    files_rig_write("bad", bytes, 7);
    files_rig_refused(files_rig_path("bad"), "7 bytes", "too short");
    files_rig_write("bad", "", 0);
    files_rig_refused(files_rig_path("bad"), "empty", "too short");
}

/* Every prefix of a good file is refused, and so is the file and one byte. */
static void
truncated(void **state)
{
    static const char header[] =
        "{\"a\":" T("F32", "1", "0,4") ",\"b\":" T("F16", "1", "4,6") "}";
    char bytes[256];
    uint64_t len = sizeof(header) - 1;
    size_t size = sizeof(len) + len + 6;
    safetensors *s;

    (void)state;
    memset(bytes, 0, sizeof(bytes));
    memcpy(bytes, &len, sizeof(len));
    memcpy(bytes + sizeof(len), header, len);
    for (size_t i = 0; i <= size + 1; i++) {
        files_rig_write("cut", bytes, i);
        if (i == size) {
            EXPECT_OK(safetensors_open(&s, files_rig_path("cut")));
            safetensors_close(s);
        } else {
            files_rig_refused(files_rig_path("cut"), "cut", "");
        }
    }
}

static void
good_files(void **state)
{
    static const struct {
        const char *header;
        size_t n_data, n_tensor;
    } cases[] = {
        {"{}", 0, 0},
        {"{\"__metadata__\":{}}   ", 0, 0},
        {"{\"a\":" T("F32", "", "0,4") "}", 4, 1},
        {"{\"a\":" T("F32", "0,7", "0,0") ",\"b\":" T("U8", "3", "0,3") "}", 3,
         2},
        {"{\"b\":" T("U8", "3", "4,7") ",\"e\":" T(
             "F32", "0", "4,4") ",\"a\":" T("I32", "1,1", "0,4") "}",
         7, 3},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        safetensors *s;

        files_rig_tensors("good", cases[i].header, cases[i].n_data);
        EXPECT_OK(safetensors_open(&s, files_rig_path("good")));
        assert_int_equal(safetensors_count(s), cases[i].n_tensor);
        for (size_t j = 1; j < cases[i].n_tensor; j++)
            assert_true(strcmp(safetensors_at(s, j - 1)->name,
                               safetensors_at(s, j)->name) < 0);
        assert_null(safetensors_find(s, "nothing"));
        safetensors_close(s);
    }
}

static void
places_that_are_no_files(void **state)
{
    safetensors *s;

    (void)state;
    EXPECT_ST(safetensors_open(&s, files_rig_path("absent")), ST_NOTFOUND);
    assert_int_equal(mkdir(files_rig_path("empty"), 0700), 0);
    EXPECT_ST(safetensors_open(&s, files_rig_path("empty")), ST_NOTFOUND);
    assert_int_equal(rmdir(files_rig_path("empty")), 0);
    EXPECT_ST(safetensors_open(&s, "/dev/zero"), ST_ARG);
}

/* ------------------------------------------------------------ numbers --- */

/* One tensor "x" of `n` numbers. */
static safetensors *
open_numbers(const char *dtype, const void *data, size_t width, size_t n)
{
    char header[256];
    char bytes[1024];
    uint64_t len;
    safetensors *s;

    (void)snprintf(header, sizeof(header),
                   "{\"x\":{\"dtype\":\"%s\",\"shape\":[%zu],"
                   "\"data_offsets\":[0,%zu]}}",
                   dtype, n, n * width);
    len = strlen(header);
    memcpy(bytes, &len, sizeof(len));
    memcpy(bytes + sizeof(len), header, len);
    memcpy(bytes + sizeof(len) + len, data, n * width);
    files_rig_write("numbers", bytes, sizeof(len) + len + n * width);
    EXPECT_OK(safetensors_open(&s, files_rig_path("numbers")));
    return s;
}

static void
read_floats(void **state)
{
    static const uint16_t half[] = {0x0000, 0x8000, 0x0001, 0x83ff,
                                    0x0400, 0x3c00, 0xc000, 0x7bff,
                                    0x7c00, 0xfc00, 0x3555, 0x7e01};
    static const float as_half[] = {
        0.0f,  -0.0f,    0x1p-24f, -0x1.ff8p-15f, 0x1p-14f,   1.0f,
        -2.0f, 65504.0f, INFINITY, -INFINITY,     0x1.554p-2f};
    static const float as_brain[] = {0x1p-133f, 1.0f};
    static const uint16_t brain[] = {0x0001, 0x3f80};
    static const float plain[] = {1.5f, -2.5f, 3.5f};
    float out[12];
    safetensors *s = open_numbers("F16", half, 2, 12);

    (void)state;
    EXPECT_OK(safetensors_read_f32(safetensors_find(s, "x"), out, 0, 12));
    assert_memory_equal(out, as_half, sizeof(as_half));
    assert_true(isnan(out[11]));
    safetensors_close(s);

    s = open_numbers("BF16", brain, 2, 2);
    EXPECT_OK(safetensors_read_f32(safetensors_find(s, "x"), out, 0, 2));
    assert_memory_equal(out, as_brain, sizeof(as_brain));
    EXPECT_OK(safetensors_read_f32(safetensors_find(s, "x"), out, 1, 1));
    assert_true(out[0] == 1.0f);
    safetensors_close(s);

    s = open_numbers("F32", plain, 4, 3);
    EXPECT_OK(safetensors_read_f32(safetensors_find(s, "x"), out, 1, 2));
    assert_memory_equal(out, plain + 1, 8);
    EXPECT_OK(safetensors_read_f32(safetensors_find(s, "x"), out, 3, 0));
    EXPECT_ST(safetensors_read_f32(safetensors_find(s, "x"), out, 2, 2),
              ST_ARG);
    EXPECT_ST(safetensors_read_f32(safetensors_find(s, "x"), out, 4, 0),
              ST_ARG);
    EXPECT_ST(safetensors_read_f32(safetensors_find(s, "x"), out, 1, SIZE_MAX),
              ST_ARG);
    EXPECT_ST(
        safetensors_read_i32(safetensors_find(s, "x"), (int32_t *)out, 0, 1),
        ST_ARG);
    safetensors_close(s);
}

static void
read_integers(void **state)
{
    static const int32_t narrow[] = {INT32_MIN, -1, INT32_MAX};
    static const int64_t wide[] = {INT32_MIN, 5, INT32_MAX, 2147483648,
                                   -2147483649};
    int32_t out[4];
    float f;
    const safetensors_tensor *t;
    safetensors *s = open_numbers("I32", narrow, 4, 3);

    (void)state;
    EXPECT_OK(safetensors_read_i32(safetensors_find(s, "x"), out, 0, 3));
    assert_memory_equal(out, narrow, sizeof(narrow));
    EXPECT_ST(safetensors_read_f32(safetensors_find(s, "x"), &f, 0, 1), ST_ARG);
    safetensors_close(s);

    s = open_numbers("I64", wide, 8, 5);
    t = safetensors_find(s, "x");
    EXPECT_OK(safetensors_read_i32(t, out, 0, 3));
    assert_true(out[0] == INT32_MIN && out[1] == 5 && out[2] == INT32_MAX);
    EXPECT_ST(safetensors_read_i32(t, out, 3, 1), ST_ARG);
    EXPECT_ST(safetensors_read_i32(t, out, 4, 1), ST_ARG);
    EXPECT_ST(safetensors_read_i32(t, out, 3, 3), ST_ARG);
    safetensors_close(s);

    s = open_numbers("U8", wide, 1, 5);
    t = safetensors_find(s, "x");
    assert_int_equal(t->type, SAFETENSORS_OTHER);
    EXPECT_ST(safetensors_read_i32(t, out, 0, 1), ST_ARG);
    EXPECT_ST(safetensors_read_f32(t, &f, 0, 1), ST_ARG);
    safetensors_close(s);
}
int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(malformed_headers),
        cmocka_unit_test(malformed_lengths),
        cmocka_unit_test(truncated),
        cmocka_unit_test(good_files),
        cmocka_unit_test(places_that_are_no_files),
        cmocka_unit_test(read_floats),
        cmocka_unit_test(read_integers),
    };

    return cmocka_run_group_tests_name("safetensors", tests, files_rig_open,
                                       files_rig_close);
}
