/* SPDX-License-Identifier: Apache-2.0 */
/* What the writer writes. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/expect.h"
#include "tests/model/files_rig.h"

static void
write_two(const char *name)
{
    static const size_t dim[] = {2, 3};
    static const float f[] = {1, 2, 3, 4, 5, 6};
    static const int32_t i[] = {-7, 8};
    safetensors_writer *w;

    EXPECT_OK(safetensors_writer_new(&w, files_rig_path(name)));
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
    FILE *file = fopen(files_rig_path(name), "rb");
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

    EXPECT_OK(safetensors_open(&s, files_rig_path("w1")));
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
    EXPECT_OK(safetensors_open(&s, files_rig_path("w1")));
    const safetensors_tensor *f = safetensors_find(s, "f\"\n");
    const safetensors_tensor *e = safetensors_find(s, "e");
    EXPECT_OK(safetensors_read_raw(f, got));
    EXPECT_OK(safetensors_read_raw(e, got + 24));
    assert_memory_equal(got, f->data, 24);
    assert_memory_equal(got + 24, e->data, 8);
    assert_memory_equal(got + 24, "\371\377\377\377\10\0\0\0", 8);
    assert_int_equal(truncate(files_rig_path("w1"), (off_t)e->at + 4), 0);
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
    EXPECT_OK(safetensors_writer_new(&w, files_rig_path("w3")));
    EXPECT_ST(safetensors_writer_add(w, "a", SAFETENSORS_F16, one, 1), ST_ARG);
    EXPECT_ST(safetensors_writer_add(w, "a", SAFETENSORS_F32, huge, 2),
              ST_LIMIT);
    EXPECT_ST(safetensors_writer_add(w, "a", SAFETENSORS_F32, one, 9), ST_ARG);
    EXPECT_ST(safetensors_writer_data(w, &x, 4), ST_STATE);
    EXPECT_ST(safetensors_writer_finish(w), ST_STATE);
    EXPECT_OK(safetensors_writer_add(w, "a", SAFETENSORS_F32, one, 1));
    EXPECT_OK(safetensors_writer_add(w, "a", SAFETENSORS_F32, one, 1));
    EXPECT_ST(safetensors_writer_begin(w), ST_ARG);
    safetensors_writer_free(w);

    EXPECT_OK(safetensors_writer_new(&w, files_rig_path("w3")));
    EXPECT_OK(safetensors_writer_add(w, "a", SAFETENSORS_F32, one, 1));
    EXPECT_OK(safetensors_writer_begin(w));
    EXPECT_ST(safetensors_writer_begin(w), ST_STATE);
    EXPECT_ST(safetensors_writer_add(w, "b", SAFETENSORS_F32, one, 1),
              ST_STATE);
    safetensors_writer_free(w);
    /* Dropped: neither the file nor its unfinished form is there. */
    assert_int_equal(access(files_rig_path("w3"), F_OK), -1);
    EXPECT_ST(safetensors_writer_new(&w, files_rig_path("no/such")), ST_IO);
    safetensors_writer_free(NULL);
    safetensors_close(NULL);
}
int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(writer_round_trip),
        cmocka_unit_test(raw),
        cmocka_unit_test(writer_misuse),
    };

    return cmocka_run_group_tests_name("safetensors", tests, files_rig_open,
                                       files_rig_close);
}
