/* SPDX-License-Identifier: Apache-2.0 */
/* Segments cover an input once, in order, the remainder last. */
#include "sched/segment.h"

#include "tests/expect.h"

static void
covers(void **state)
{
    (void)state;
    for (uint32_t size = 1; size <= 17; size++) {
        for (uint64_t n_token = 0; n_token <= 70; n_token++) {
            uint64_t n = segment_count(n_token, size), next = 0;
            for (uint64_t seg = 0; seg < n; seg++) {
                assert_int_equal(segment_start(seg, size), next);
                uint32_t len = segment_tokens(seg, n_token, size);
                assert_true(len >= 1 && len <= size);
                assert_true(len == size || seg == n - 1);
                next += len;
            }
            assert_int_equal(next, n_token);
            assert_int_equal(segment_tokens(n, n_token, size), 0);
            assert_int_equal(segment_tokens(n + 5, n_token, size), 0);
        }
    }
}

/* However they are cut, segments cover the input in order, and none is longer
 * than `size`. */
static void
cuts(void **state)
{
    (void)state;
    for (uint32_t size = 1; size <= 17; size++) {
        for (uint64_t n_token = 1; n_token <= 70; n_token++) {
            segment_cut c[3];
            for (int how = 0; how < 3; how++) {
                c[how] = segment_cut_of(n_token, size, (segment_align)how);
                uint64_t next = 0, n = c[how].n_segment;
                for (uint64_t seg = 0; seg < n; seg++) {
                    uint32_t len = segment_cut_tokens(&c[how], seg);
                    assert_int_equal(segment_cut_start(&c[how], seg), next);
                    assert_true(len >= 1 && len <= size);
                    next += len;
                }
                assert_int_equal(next, n_token);
                assert_int_equal(segment_cut_tokens(&c[how], n), 0);
            }
            uint64_t n = segment_count(n_token, size), last = n - 1;
            for (uint64_t seg = 0; seg < n; seg++)
                assert_int_equal(segment_cut_tokens(&c[SEGMENT_LEFT], seg),
                                 segment_tokens(seg, n_token, size));
            /* Right is left the other way round. */
            assert_int_equal(c[SEGMENT_RIGHT].n_segment, n);
            for (uint64_t seg = 0; seg < n; seg++)
                assert_int_equal(segment_cut_tokens(&c[SEGMENT_RIGHT], seg),
                                 segment_tokens(last - seg, n_token, size));
            assert_true(c[SEGMENT_CENTER].n_segment <= n);
        }
    }
    segment_cut c = segment_cut_of(9, 4, SEGMENT_CENTER);
    assert_true(c.n_segment == 3 && c.first == 3 && c.each == 3);
    c = segment_cut_of(5, 4, SEGMENT_CENTER);
    assert_true(c.n_segment == 2 && c.first == 3);
    c = segment_cut_of(21, 4, SEGMENT_CENTER);
    assert_true(c.n_segment == 6 && c.each == 4);
    c = segment_cut_of(26, 5, SEGMENT_CENTER);
    assert_true(c.n_segment == 6 && segment_cut_tokens(&c, 5) == 1);
}

static void
large(void **state)
{
    (void)state;
    uint64_t n_token = UINT64_MAX;
    assert_int_equal(segment_count(n_token, 1), n_token);
    assert_int_equal(segment_count(n_token, 2), UINT64_C(1) << 63);
    assert_int_equal(segment_tokens((UINT64_C(1) << 63) - 1, n_token, 2), 1);
    assert_int_equal(segment_start(UINT64_C(1) << 40, 1024), UINT64_C(1) << 50);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(covers),
        cmocka_unit_test(cuts),
        cmocka_unit_test(large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
