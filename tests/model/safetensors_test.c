/* SPDX-License-Identifier: Apache-2.0 */
/* Checkpoint files: malformed ones by hand, numbers, shards, aliases, and
 * what the writer writes. */
#include "model/safetensors.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/expect.h"

static char dir[] = "/tmp/longwave-safetensors-XXXXXX";

static const char *
in_dir(const char *name)
{
    static char path[512];

    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    return path;
}

static void
write_bytes(const char *name, const void *data, size_t len)
{
    FILE *file = fopen(in_dir(name), "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

/* A file with this header and `n_data` bytes 0, 1, 2, ... behind it. */
static void
write_file(const char *name, const char *header, size_t n_data)
{
    uint64_t len = strlen(header);
    size_t size = sizeof(len) + len + n_data;
    unsigned char *bytes = malloc(size);

    assert_non_null(bytes);
    memcpy(bytes, &len, sizeof(len));
    memcpy(bytes + sizeof(len), header, len);
    for (size_t i = 0; i < n_data; i++)
        bytes[sizeof(len) + len + i] = (unsigned char)i;
    write_bytes(name, bytes, size);
    free(bytes);
}

/* Lets the process have `more` bytes of address space beyond what it has, so
 * that whoever believes a size in a file fails with the wrong status.  0: as
 * much as it likes.  A sanitizer needs terabytes. */
static void
limit_memory(size_t more)
{
#ifndef LONGWAVE_SANITIZED
    struct rlimit limit;
    FILE *file = fopen("/proc/self/statm", "r");
    unsigned long pages = 0;

    assert_non_null(file);
    assert_int_equal(fscanf(file, "%lu", &pages), 1);
    (void)fclose(file);
    assert_int_equal(getrlimit(RLIMIT_AS, &limit), 0);
    limit.rlim_cur =
        more ? pages * (rlim_t)sysconf(_SC_PAGESIZE) + more : limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_AS, &limit), 0);
#else
    (void)more;
#endif
}

/* A typed error, and no memory beyond the file's size and `memory`. */
static void
expect_refused_within(size_t memory, const char *path, const char *what,
                      const char *sentence)
{
    safetensors *s = NULL;
    struct stat info;
    status st;

    limit_memory((stat(path, &info) == 0 ? (size_t)info.st_size : 0) + memory);
    st = safetensors_open(&s, path);
    limit_memory(0);

    if (st != ST_ARG || s != NULL || strstr(status_text(), sentence) == NULL)
        fail_msg("%s: got %s (%s)", what, status_name(st), status_text());
}

/* T29 */
static void
expect_refused(const char *path, const char *what, const char *sentence)
{
    expect_refused_within(16 << 20, path, what, sentence);
}

#define T(dtype, shape, offsets)                                               \
    "{\"dtype\":\"" dtype "\",\"shape\":[" shape                               \
    "],\"data_offsets\":[" offsets "]}"

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
        write_file("bad", cases[i].header, cases[i].n_data);
        expect_refused(in_dir("bad"), cases[i].header, cases[i].sentence);
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
        write_bytes("bad", bytes, sizeof(bytes));
        expect_refused(in_dir("bad"), "length", cases[i].sentence);
    }
    write_bytes("bad", bytes, 7);
    expect_refused(in_dir("bad"), "7 bytes", "too short");
    write_bytes("bad", "", 0);
    expect_refused(in_dir("bad"), "empty", "too short");
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
        write_bytes("cut", bytes, i);
        if (i == size) {
            EXPECT_OK(safetensors_open(&s, in_dir("cut")));
            safetensors_close(s);
        } else {
            expect_refused(in_dir("cut"), "cut", "");
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

        write_file("good", cases[i].header, cases[i].n_data);
        EXPECT_OK(safetensors_open(&s, in_dir("good")));
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
    EXPECT_ST(safetensors_open(&s, in_dir("absent")), ST_NOTFOUND);
    assert_int_equal(mkdir(in_dir("empty"), 0700), 0);
    EXPECT_ST(safetensors_open(&s, in_dir("empty")), ST_NOTFOUND);
    assert_int_equal(rmdir(in_dir("empty")), 0);
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
    write_bytes("numbers", bytes, sizeof(len) + len + n * width);
    EXPECT_OK(safetensors_open(&s, in_dir("numbers")));
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

/* ------------------------------------------------- aliases and shards --- */

static void
aliases(void **state)
{
    safetensors *s;

    (void)state;
    write_file("alias",
               "{\"__metadata__\":{\"format\":\"pt\",\"other\":\"a\","
               "\"a\":\"b\",\"lost\":\"c\",\"nul\":\"a\\u0000\"},\"a\":" T(
                   "F32", "1", "0,4") ",\"b\":" T("F32", "1", "4,8") "}",
               8);
    EXPECT_OK(safetensors_open(&s, in_dir("alias")));
    assert_int_equal(safetensors_count(s), 2);
    assert_ptr_equal(safetensors_find(s, "other"), safetensors_find(s, "a"));
    assert_string_equal(safetensors_find(s, "a")->name, "a");
    assert_null(safetensors_find(s, "lost"));
    assert_null(safetensors_find(s, "nul"));
    assert_null(safetensors_find(s, "format"));
    safetensors_close(s);

    EXPECT_OK(safetensors_open(&s, "golden/armt-llama-tied-llama3rope"));
    assert_ptr_equal(
        safetensors_find(s, "memory_cell.model.model.embed_tokens.weight"),
        safetensors_find(s, "memory_cell.model.lm_head.weight"));
    assert_non_null(safetensors_find(s, "memory_cell.model.lm_head.weight"));
    safetensors_close(s);
}

static void
write_index(const char *weight_map)
{
    char text[1024];

    (void)snprintf(text, sizeof(text), "{\"metadata\":{},\"weight_map\":%s}",
                   weight_map);
    write_bytes("model.safetensors.index.json", text, strlen(text));
}

static void
shards(void **state)
{
    float out[2];
    safetensors *s;

    (void)state;
    write_file(
        "1.safetensors",
        "{\"a\":" T("U8", "1", "0,1") ",\"c\":" T("BF16", "2", "1,5") "}", 5);
    write_file("2.safetensors", "{\"b\":" T("F32", "1", "0,4") "}", 4);
    write_index("{\"a\":\"1.safetensors\",\"b\":\"2.safetensors\","
                "\"c\":\"1.safetensors\"}");
    EXPECT_OK(safetensors_open(&s, dir));
    assert_int_equal(safetensors_count(s), 3);
    assert_string_equal(safetensors_at(s, 0)->name, "a");
    assert_string_equal(safetensors_at(s, 1)->name, "b");
    assert_int_equal(safetensors_find(s, "c")->n_dim, 1);
    assert_int_equal(safetensors_find(s, "c")->dim[0], 2);
    /* The bytes are 1 2 3 4, at an odd place. */
    EXPECT_OK(safetensors_read_f32(safetensors_find(s, "c"), out, 0, 2));
    assert_memory_equal(out, "\0\0\1\2\0\0\3\4", 8);
    safetensors_close(s);
}

static void
bad_shards(void **state)
{
    static const char *const maps[] = {
        "{\"a\":\"1.safetensors\",\"x\":\"2.safetensors\"}",
        "{\"a\":\"2.safetensors\",\"b\":\"2.safetensors\","
        "\"c\":\"1.safetensors\"}",
        "{\"a\":\"../1.safetensors\"}",
        "{\"a\":\"/tmp/1.safetensors\"}",
        "{\"a\":\"sub/1.safetensors\"}",
        "{\"a\":\"..\"}",
        "{\"a\":\".\"}",
        "{\"a\":\"\"}",
        "{\"a\":\"1.safetensors\\u0000x\"}",
        "{\"a\":1}",
        "{\"a\":[\"1.safetensors\"]}",
        "{\"a\":\"1.safetensors\",\"a\":\"2.safetensors\"}",
        "{}",
        "[]",
        "null",
        "1"};
    safetensors *s;

    (void)state;
    write_file("1.safetensors", "{\"a\":" T("U8", "1", "0,1") "}", 1);
    write_file("2.safetensors", "{\"b\":" T("F32", "1", "0,4") "}", 4);
    write_file("3.safetensors", "{\"a\":" T("F32", "1", "0,4") "}", 4);
    for (size_t i = 0; i < sizeof(maps) / sizeof(maps[0]); i++) {
        write_index(maps[i]);
        expect_refused(dir, maps[i], "");
    }
    write_index("{\"a\":\"1.safetensors\",\"b\":\"3.safetensors\"}");
    expect_refused(dir, "twice", "two shards");
    write_index("{\"a\":\"1.safetensors\",\"b\":\"missing.safetensors\"}");
    EXPECT_ST(safetensors_open(&s, dir), ST_NOTFOUND);
    write_bytes("2.safetensors", "short", 5);
    write_index("{\"a\":\"1.safetensors\",\"b\":\"2.safetensors\"}");
    expect_refused(dir, "bad shard", "2.safetensors");
    assert_int_equal(unlink(in_dir("model.safetensors.index.json")), 0);
}

/* As many as are allowed, in an order that is not theirs. */
static void
many_tensors(void **state)
{
    enum { N = 100000 };
    size_t cap = (size_t)N * 96;
    size_t at = 0;
    char *header = malloc(cap);
    safetensors *s;
    char name[32];

    (void)state;
    assert_non_null(header);
    for (unsigned i = 0; i < N; i++)
        at += (size_t)snprintf(header + at, cap - at,
                               "%c\"layers.%u.weight\":" T("U8", "2", "%u,%u"),
                               i == 0 ? '{' : ',', i * 7919 % N, 2 * i,
                               2 * i + 2);
    (void)snprintf(header + at, cap - at, "}");
    write_file("many", header, 2 * (size_t)N);
    EXPECT_OK(safetensors_open(&s, in_dir("many")));
    assert_int_equal(safetensors_count(s), N);
    for (unsigned i = 0; i < N; i++) {
        const safetensors_tensor *t;

        (void)snprintf(name, sizeof(name), "layers.%u.weight", i * 7919 % N);
        t = safetensors_find(s, name);
        assert_non_null(t);
        assert_int_equal(*(const unsigned char *)t->data, 2 * i & 255);
    }
    safetensors_close(s);

    (void)snprintf(
        header + at, cap - at,
        ",\"x\":" T("U8", "0", "0,0") ",\"y\":" T("U8", "0", "0,0") "}");
    write_file("many", header, 2 * (size_t)N);
    /* The JSON of so many takes ten times its text. */
    expect_refused_within(256 << 20, in_dir("many"), "100002", "over 100000");
    free(header);
    assert_int_equal(unlink(in_dir("many")), 0);
}

/* ------------------------------------------------------------- writer --- */

static void
write_two(const char *name)
{
    static const size_t dim[] = {2, 3};
    static const float f[] = {1, 2, 3, 4, 5, 6};
    static const int32_t i[] = {-7, 8};
    safetensors_writer *w;

    EXPECT_OK(safetensors_writer_new(&w, in_dir(name)));
    EXPECT_OK(safetensors_writer_add(w, "f\"\n", SAFETENSORS_F32, dim, 2));
    EXPECT_OK(safetensors_writer_add(w, "e", SAFETENSORS_I32, dim, 1));
    EXPECT_OK(safetensors_writer_begin(w));
    EXPECT_OK(safetensors_writer_data(w, f, 10));
    EXPECT_OK(safetensors_writer_data(w, (const char *)f + 10, 14));
    EXPECT_ST(safetensors_writer_finish(w), ST_STATE);
    EXPECT_OK(safetensors_writer_data(w, i, 8));
    EXPECT_ST(safetensors_writer_data(w, i, 1), ST_STATE);
    EXPECT_OK(safetensors_writer_finish(w));
    safetensors_writer_free(w);
}

static size_t
slurp(const char *name, char *out, size_t size)
{
    FILE *file = fopen(in_dir(name), "rb");
    size_t n;

    assert_non_null(file);
    n = fread(out, 1, size, file);
    (void)fclose(file);
    return n;
}

static void
writer_round_trip(void **state)
{
    char a[1024];
    char b[1024];
    float f[6];
    int32_t i[2];
    uint64_t len;
    size_t n;
    safetensors *s;

    (void)state;
    write_two("w1");
    write_two("w2");
    n = slurp("w1", a, sizeof(a));
    assert_int_equal(slurp("w2", b, sizeof(b)), n);
    assert_memory_equal(a, b, n);
    memcpy(&len, a, sizeof(len));
    assert_int_equal(len % 8, 0);
    assert_int_equal(n, sizeof(len) + len + 32);

    EXPECT_OK(safetensors_open(&s, in_dir("w1")));
    assert_int_equal(safetensors_count(s), 2);
    assert_int_equal(safetensors_find(s, "f\"\n")->dim[1], 3);
    EXPECT_OK(safetensors_read_f32(safetensors_find(s, "f\"\n"), f, 0, 6));
    EXPECT_OK(safetensors_read_i32(safetensors_find(s, "e"), i, 0, 2));
    assert_true(f[0] == 1 && f[5] == 6 && i[0] == -7 && i[1] == 8);
    safetensors_close(s);
}

/* Whole tensors, past the map: the same bytes, and no fault where the file
 * lost its end. */
static void
raw(void **state)
{
    char got[32];
    safetensors *s;

    (void)state;
    write_two("w1");
    EXPECT_OK(safetensors_open(&s, in_dir("w1")));
    const safetensors_tensor *f = safetensors_find(s, "f\"\n");
    const safetensors_tensor *e = safetensors_find(s, "e");
    EXPECT_OK(safetensors_read_raw(f, got));
    EXPECT_OK(safetensors_read_raw(e, got + 24));
    assert_memory_equal(got, f->data, 24);
    assert_memory_equal(got + 24, e->data, 8);
    assert_memory_equal(got + 24, "\371\377\377\377\10\0\0\0", 8);
    assert_int_equal(truncate(in_dir("w1"), (off_t)e->at + 4), 0);
    EXPECT_OK(safetensors_read_raw(f, got));
    EXPECT_ST(safetensors_read_raw(e, got), ST_IO);
    safetensors_close(s);
}

static void
writer_misuse(void **state)
{
    static const size_t huge[] = {SIZE_MAX, 2};
    static const size_t one[] = {1, 1, 1, 1, 1, 1, 1, 1, 1};
    safetensors_writer *w;
    float x = 0;

    (void)state;
    EXPECT_OK(safetensors_writer_new(&w, in_dir("w3")));
    EXPECT_ST(safetensors_writer_add(w, "a", SAFETENSORS_BF16, one, 1), ST_ARG);
    EXPECT_ST(safetensors_writer_add(w, "a", SAFETENSORS_F32, huge, 2),
              ST_LIMIT);
    EXPECT_ST(safetensors_writer_add(w, "a", SAFETENSORS_F32, one, 9), ST_ARG);
    EXPECT_ST(safetensors_writer_data(w, &x, 4), ST_STATE);
    EXPECT_ST(safetensors_writer_finish(w), ST_STATE);
    EXPECT_OK(safetensors_writer_add(w, "a", SAFETENSORS_F32, one, 1));
    EXPECT_OK(safetensors_writer_add(w, "a", SAFETENSORS_F32, one, 1));
    EXPECT_ST(safetensors_writer_begin(w), ST_ARG);
    safetensors_writer_free(w);

    EXPECT_OK(safetensors_writer_new(&w, in_dir("w3")));
    EXPECT_OK(safetensors_writer_add(w, "a", SAFETENSORS_F32, one, 1));
    EXPECT_OK(safetensors_writer_begin(w));
    EXPECT_ST(safetensors_writer_begin(w), ST_STATE);
    EXPECT_ST(safetensors_writer_add(w, "b", SAFETENSORS_F32, one, 1),
              ST_STATE);
    safetensors_writer_free(w);
    /* Dropped: neither the file nor its unfinished form is there. */
    assert_int_equal(access(in_dir("w3"), F_OK), -1);
    EXPECT_ST(safetensors_writer_new(&w, in_dir("no/such")), ST_IO);
    safetensors_writer_free(NULL);
    safetensors_close(NULL);
}

static int
make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) != NULL ? 0 : -1;
}

/* Fails when something was left that no test made by name. */
static int
remove_dir(void **state)
{
    static const char *const names[] = {
        "bad",           "cut",           "good",          "numbers", "alias",
        "1.safetensors", "2.safetensors", "3.safetensors", "w1",      "w2"};

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        (void)unlink(in_dir(names[i]));
    return rmdir(dir);
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
        cmocka_unit_test(aliases),
        cmocka_unit_test(shards),
        cmocka_unit_test(bad_shards),
        cmocka_unit_test(many_tensors),
        cmocka_unit_test(writer_round_trip),
        cmocka_unit_test(raw),
        cmocka_unit_test(writer_misuse),
    };

    return cmocka_run_group_tests_name("safetensors", tests, make_dir,
                                       remove_dir);
}
