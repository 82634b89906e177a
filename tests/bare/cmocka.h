/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of kernels and engine use of cmocka, for hosts without it.
 *
 * A GPU host has a compiler and the CUDA toolkit; these tests are worth most
 * there.  A failed check ends its test, and the program fails at the end. */
#ifndef TESTS_BARE_CMOCKA_H
#define TESTS_BARE_CMOCKA_H

#include <setjmp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

struct CMUnitTest {
    const char *name;
    void (*run)(void **state);
    void *initial; /* what *state is at first */
};

extern jmp_buf bare_out;

#define fail_msg(...)                                                          \
    do {                                                                       \
        (void)fprintf(stderr, "%s:%d: ", __FILE__, __LINE__);                  \
        (void)fprintf(stderr, __VA_ARGS__);                                    \
        (void)fputc('\n', stderr);                                             \
        longjmp(bare_out, 1);                                                  \
    } while (0)
#define bare_check(cond, text)                                                 \
    do {                                                                       \
        if (!(cond))                                                           \
            fail_msg("%s", text);                                              \
    } while (0)
#define assert_true(x)             bare_check(x, "not true: " #x)
#define assert_false(x)            bare_check(!(x), "not false: " #x)
#define assert_null(x)             bare_check((x) == NULL, "not NULL: " #x)
#define assert_non_null(x)         bare_check((x) != NULL, "NULL: " #x)
#define assert_ptr_equal(a, b)     bare_check((a) == (b), #a " is not " #b)
#define assert_int_equal(a, b)     bare_check((a) == (b), #a " is not " #b)
#define assert_int_not_equal(a, b) bare_check((a) != (b), #a " is " #b)
#define assert_string_equal(a, b)                                              \
    bare_check(strcmp(a, b) == 0, #a " is not " #b)
#define assert_memory_not_equal(a, b, n)                                       \
    bare_check(memcmp(a, b, n) != 0, #a " is " #b)
#define print_message(...) (void)printf(__VA_ARGS__)
#define assert_memory_equal(a, b, n)                                           \
    bare_check(memcmp(a, b, n) == 0, #a " is not " #b)

#define cmocka_unit_test(f)                                                    \
    {                                                                          \
#f, f, NULL                                                            \
    }
#define cmocka_unit_test_prestate(f, state)                                    \
    {                                                                          \
#f, f, state                                                           \
    }
#define cmocka_run_group_tests(tests, setup, teardown)                         \
    bare_run(tests, sizeof(tests) / sizeof((tests)[0]))

/* How many of the tests failed. */
int bare_run(const struct CMUnitTest *tests, size_t n);

#endif
