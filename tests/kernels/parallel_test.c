/* SPDX-License-Identifier: Apache-2.0 */
/* Teams: every thread once, each on its core, the caller's mask untouched. */
#include <sched.h>
#include <stdatomic.h>

#include "kernels/cpu/parallel.h"
#include "tests/expect.h"

enum { MAX = 8 };

typedef struct seen {
    atomic_uint calls[MAX];
    int n_allowed[MAX]; /* cores that the thread may use while it runs */
    int core[MAX];
} seen;

static void
look(void *ctx, uint32_t thread)
{
    seen *s = ctx;
    cpu_set_t mask;

    atomic_fetch_add(&s->calls[thread], 1);
    if (sched_getaffinity(0, sizeof(mask), &mask) == 0)
        s->n_allowed[thread] = CPU_COUNT(&mask);
    s->core[thread] = sched_getcpu();
}

static int
n_allowed(void)
{
    cpu_set_t mask;

    assert_int_equal(sched_getaffinity(0, sizeof(mask), &mask), 0);
    return CPU_COUNT(&mask);
}

static void
every_thread_runs_once_on_one_core(void **state)
{
    int before = n_allowed();

    (void)state;
    for (uint32_t n = 1; n <= MAX; n++) {
        parallel *p = NULL;
        seen s = {0};

        EXPECT_OK(parallel_new(&p, n, 0));
        assert_int_equal(parallel_threads(p), n);
        parallel_run(p, look, &s);
        parallel_run(p, look, &s);
        for (uint32_t t = 0; t < n; t++) {
            assert_int_equal(atomic_load(&s.calls[t]), 2);
            assert_int_equal(s.n_allowed[t], 1);
        }
        if (n <= (uint32_t)before) {
            assert_int_equal(parallel_cores(p), n);
            for (uint32_t t = 1; t < n; t++)
                assert_int_not_equal(s.core[t], s.core[t - 1]);
        } else {
            assert_int_equal(parallel_cores(p), before);
        }
        assert_int_equal(n_allowed(), before);
        parallel_free(p);
    }
}

/* Ranks of one host start behind each other, round the allowed set. */
static void
ranks_take_different_cores(void **state)
{
    int total = n_allowed();
    int first = -1;

    (void)state;
    for (uint32_t rank = 0; rank <= (uint32_t)total; rank++) {
        parallel *p = NULL;
        seen s = {0};

        EXPECT_OK(parallel_new(&p, 1, rank));
        parallel_run(p, look, &s);
        if (rank == 0)
            first = s.core[0];
        else if (rank < (uint32_t)total)
            assert_int_not_equal(s.core[0], first);
        else
            assert_int_equal(s.core[0], first);
        parallel_free(p);
    }
}

static void
all_cores_by_default(void **state)
{
    parallel *p = NULL;

    (void)state;
    EXPECT_OK(parallel_new(&p, 0, 0));
    assert_int_equal(parallel_threads(p), n_allowed());
    assert_int_equal(parallel_cores(p), n_allowed());
    parallel_free(p);
    EXPECT_ST(parallel_new(&p, 1000000, 0), ST_ARG);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_thread_runs_once_on_one_core),
        cmocka_unit_test(ranks_take_different_cores),
        cmocka_unit_test(all_cores_by_default),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
