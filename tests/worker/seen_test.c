/* SPDX-License-Identifier: Apache-2.0 */
/* What a repetition penalty counts: each id once, and who knows of it. */
#include "worker/seen.h"

#include <math.h>

#include "kernels/kernel_ops.h"
#include "tests/expect.h"

static void
ids_are_counted_once(void **state)
{
    const int32_t prompt[] = {7, 0, 7, 63, 64, 0, 99};
    const int32_t want[] = {7, 0, 63, 64, 99};
    const int32_t *got;
    uint32_t n;
    seen s;

    (void)state;
    EXPECT_OK(seen_init(&s, 100, 2));
    EXPECT_OK(seen_add(&s, prompt, 7));
    assert_int_equal(s.n, 5);
    got = seen_take(&s, 1, &n);
    assert_int_equal(n, 5);
    assert_memory_equal(got, want, sizeof(want));
    (void)seen_take(&s, 1, &n);
    assert_int_equal(n, 0);
    EXPECT_OK(seen_add(&s, (int32_t[]){99, 5}, 2));
    got = seen_take(&s, 1, &n);
    assert_int_equal(n, 1);
    assert_int_equal(got[0], 5);
    got = seen_take(&s, 0, &n); /* the other knows nothing yet */
    assert_int_equal(n, 6);
    assert_memory_equal(got, want, sizeof(want));
    seen_clear(&s);
    EXPECT_OK(seen_add(&s, prompt, 1));
    got = seen_take(&s, 1, &n);
    assert_int_equal(n, 1);
    assert_int_equal(got[0], 7);
    seen_fini(&s);
}

static void
a_whole_vocabulary_has_room(void **state)
{
    enum { N_VOCAB = KERNEL_SAMPLE_SEEN + 1 };
    seen s;

    (void)state;
    EXPECT_OK(seen_init(&s, 65, 1));
    for (int32_t id = 0; id < 65; id++)
        EXPECT_OK(seen_add(&s, &id, 1));
    assert_int_equal(s.n, 65);
    seen_fini(&s);
    EXPECT_OK(seen_init(&s, N_VOCAB, 1));
    for (int32_t id = 0; id < KERNEL_SAMPLE_SEEN; id++)
        EXPECT_OK(seen_add(&s, &id, 1));
    EXPECT_ST(seen_add(&s, (int32_t[]){N_VOCAB - 1}, 1), ST_LIMIT);
    EXPECT_OK(seen_add(&s, (int32_t[]){0}, 1));
    seen_fini(&s);
}

static void
too_much_is_refused_beforehand(void **state)
{
    const model_config small = {.n_vocab = KERNEL_SAMPLE_SEEN};
    const model_config large = {.n_vocab = 4 * KERNEL_SAMPLE_SEEN};

    (void)state;
    EXPECT_OK(seen_check(&small, 1.5f, UINT64_MAX));
    EXPECT_OK(seen_check(&large, 1.5f, KERNEL_SAMPLE_SEEN));
    EXPECT_ST(seen_check(&large, 1.5f, KERNEL_SAMPLE_SEEN + 1), ST_LIMIT);
    EXPECT_OK(seen_check(&large, 1, UINT64_MAX));
    assert_false(seen_matters(0));
    assert_false(seen_matters(1));
    assert_false(seen_matters(NAN));
    assert_true(seen_matters(0.5f));
    assert_true(seen_matters(nextafterf(1, 2)));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_are_counted_once),
        cmocka_unit_test(a_whole_vocabulary_has_room),
        cmocka_unit_test(too_much_is_refused_beforehand),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
