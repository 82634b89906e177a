/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes that do not fit are refused before anything is allocated. */
#include "base/mem.h"

#include <string.h>

#include "tests/expect.h"

static void
products_and_sums_are_checked(void **unused)
{
    size_t out = 42;

    (void)unused;
    EXPECT_OK(size_mul(&out, 6, 7));
    assert_int_equal(out, 42);
    EXPECT_OK(size_mul(&out, 0, SIZE_MAX));
    assert_int_equal(out, 0);
    EXPECT_OK(size_mul(&out, SIZE_MAX, 1));
    assert_true(out == SIZE_MAX);
    EXPECT_OK(size_add(&out, SIZE_MAX - 1, 1));
    assert_true(out == SIZE_MAX);

    out = 42;
    EXPECT_ST(size_mul(&out, SIZE_MAX / 2 + 1, 2), ST_LIMIT);
    EXPECT_ST(size_mul(&out, SIZE_MAX, SIZE_MAX), ST_LIMIT);
    EXPECT_ST(size_add(&out, SIZE_MAX, 1), ST_LIMIT);
    assert_int_equal(out, 42); /* outputs only on success */
}

static void
new_memory_is_zeroed(void **unused)
{
    uint64_t *values = NULL;

    (void)unused;
    EXPECT_OK(mem_new(&values, 1000, sizeof(*values)));
    for (int i = 0; i < 1000; i++)
        assert_int_equal(values[i], 0);
    mem_free(values);
}

static void
nothing_is_still_a_pointer(void **unused)
{
    char *a = NULL;
    char *b = NULL;

    (void)unused;
    EXPECT_OK(mem_new(&a, 0, 8));
    EXPECT_OK(mem_new(&b, 8, 0));
    assert_non_null(a);
    assert_non_null(b);
    EXPECT_OK(mem_resize(&a, 0, 8));
    assert_non_null(a);
    mem_free(a);
    mem_free(b);
    mem_free(NULL);
}

static void
overflow_is_no_memory(void **unused)
{
    char *ptr = NULL;
    char *const before = ptr;

    (void)unused;
    EXPECT_ST(mem_new(&ptr, SIZE_MAX / 2 + 1, 2), ST_NOMEM);
    assert_ptr_equal(ptr, before);
    EXPECT_ST(mem_resize(&ptr, SIZE_MAX / 8 + 1, 8), ST_NOMEM);
    assert_ptr_equal(ptr, before);
}

static void
resizing_keeps_the_content(void **unused)
{
    char *text = NULL;
    char *before;

    (void)unused;
    EXPECT_OK(mem_strdup(&text, "abcdefg"));
    EXPECT_OK(mem_resize(&text, 100000, 1));
    assert_string_equal(text, "abcdefg");
    before = text;
    EXPECT_ST(mem_resize(&text, SIZE_MAX, 2), ST_NOMEM);
    assert_ptr_equal(text, before);
    assert_string_equal(text, "abcdefg");
    mem_free(text);
}

static void
resizing_nothing_allocates(void **unused)
{
    int *values = NULL;

    (void)unused;
    EXPECT_OK(mem_resize(&values, 4, sizeof(*values)));
    assert_non_null(values);
    values[3] = 7;
    mem_free(values);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_and_sums_are_checked),
        cmocka_unit_test(new_memory_is_zeroed),
        cmocka_unit_test(nothing_is_still_a_pointer),
        cmocka_unit_test(overflow_is_no_memory),
        cmocka_unit_test(resizing_keeps_the_content),
        cmocka_unit_test(resizing_nothing_allocates),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
