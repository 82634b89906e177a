/* SPDX-License-Identifier: Apache-2.0 */
/* Tensors by name: aliases, shards, as many as may be. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/expect.h"
#include "tests/model/files_rig.h"

#define T FILES_RIG_T

static void
aliases(void **state)
{
    safetensors *s;

    (void)state;
    files_rig_tensors(
        "alias",
        "{\"__metadata__\":{\"format\":\"pt\",\"other\":\"a\","
        "\"a\":\"b\",\"lost\":\"c\",\"nul\":\"a\\u0000\"},\"a\":" T(
            "F32", "1", "0,4") ",\"b\":" T("F32", "1", "4,8") "}",
        8);
    EXPECT_OK(safetensors_open(&s, files_rig_path("alias")));
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
    files_rig_write("model.safetensors.index.json", text, strlen(text));
}

static void
shards(void **state)
{
    float out[2];
    safetensors *s;

    (void)state;
    files_rig_tensors(
        "1.safetensors",
        "{\"a\":" T("U8", "1", "0,1") ",\"c\":" T("BF16", "2", "1,5") "}", 5);
    files_rig_tensors("2.safetensors", "{\"b\":" T("F32", "1", "0,4") "}", 4);
    write_index("{\"a\":\"1.safetensors\",\"b\":\"2.safetensors\","
                "\"c\":\"1.safetensors\"}");
    EXPECT_OK(safetensors_open(&s, files_rig_dir));
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
    files_rig_tensors("1.safetensors", "{\"a\":" T("U8", "1", "0,1") "}", 1);
    files_rig_tensors("2.safetensors", "{\"b\":" T("F32", "1", "0,4") "}", 4);
    files_rig_tensors("3.safetensors", "{\"a\":" T("F32", "1", "0,4") "}", 4);
    for (size_t i = 0; i < sizeof(maps) / sizeof(maps[0]); i++) {
        write_index(maps[i]);
        files_rig_refused(files_rig_dir, maps[i], "");
    }
    write_index("{\"a\":\"1.safetensors\",\"b\":\"3.safetensors\"}");
    files_rig_refused(files_rig_dir, "twice", "two shards");
    write_index("{\"a\":\"1.safetensors\",\"b\":\"missing.safetensors\"}");
    EXPECT_ST(safetensors_open(&s, files_rig_dir), ST_NOTFOUND);
    files_rig_write("2.safetensors", "short", 5);
    write_index("{\"a\":\"1.safetensors\",\"b\":\"2.safetensors\"}");
    files_rig_refused(files_rig_dir, "bad shard", "2.safetensors");
    assert_int_equal(unlink(files_rig_path("model.safetensors.index.json")), 0);
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
    files_rig_tensors("many", header, 2 * (size_t)N);
    EXPECT_OK(safetensors_open(&s, files_rig_path("many")));
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
    files_rig_tensors("many", header, 2 * (size_t)N);
    /* The JSON of so many takes ten times its text. */
    files_rig_refused_within(256 << 20, files_rig_path("many"), "100002",
                             "over 100000");
    free(header);
    assert_int_equal(unlink(files_rig_path("many")), 0);
}
int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(aliases),
        cmocka_unit_test(shards),
        cmocka_unit_test(bad_shards),
        cmocka_unit_test(many_tensors),
    };

    return cmocka_run_group_tests_name("safetensors", tests, files_rig_open,
                                       files_rig_close);
}
