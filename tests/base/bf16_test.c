/* SPDX-License-Identifier: Apache-2.0 */
/* All numbers in bf16, and what rounds to them. */
#include "base/bf16.h"

#include <math.h>
#include <stdbool.h>

#include "tests/expect.h"

enum { N = 1 << 16, INFINITE = 0x7f80, SIGN = 0x8000 };

static uint16_t
rounded(uint32_t bits)
{
    float x;

    memcpy(&x, &bits, sizeof(x));
    return bf16_from_float(x);
}

static bool
is_nan(uint32_t half)
{
    return (half & ~(uint32_t)SIGN) > INFINITE;
}

/* By its sign, its exponent of 8 bits and its fraction of 7. */
static void
every_number_has_its_value(void **state)
{
    (void)state;
    for (uint32_t half = 0; half < N; half++) {
        int exponent = (int)(half >> 7 & 0xff), fraction = (int)(half & 0x7f);
        double size = exponent == 0 ? ldexp(fraction, -126 - 7)
                                    : ldexp(128 + fraction, exponent - 127 - 7);
        float x = bf16_to_float((uint16_t)half);

        assert_int_equal(signbit(x) != 0, half >> 15);
        if (exponent < 255)
            assert_true(fabs((double)x) == size);
        else
            assert_true(fraction == 0 ? isinf(x) : isnan(x));
    }
}

static void
a_number_rounds_to_itself(void **state)
{
    (void)state;
    for (uint32_t half = 0; half < N; half++)
        if (!is_nan(half))
            assert_int_equal(rounded(half << 16), half);
}

/* Between each number and the next away from zero, subnormals too, and from
 * the largest to infinity. */
static void
between_two_the_nearer_is_taken(void **state)
{
    (void)state;
    for (uint32_t half = 0; half < N; half++) {
        uint32_t low = half << 16, even = half + (half & 1);

        if ((half & ~(uint32_t)SIGN) >= INFINITE)
            continue;
        assert_int_equal(rounded(low | 0x0001), half);
        assert_int_equal(rounded(low | 0x7fff), half);
        assert_int_equal(rounded(low | 0x8000), even);
        assert_int_equal(rounded(low | 0x8001), half + 1);
        assert_int_equal(rounded(low | 0xffff), half + 1);
    }
}

/* Also one whose bits are all in the half that goes, and one that an addition
 * would carry into another number. */
static void
no_number_stays_none(void **state)
{
    static const uint32_t rest[] = {0, 1, 0x7fff, 0x8000, 0x8001, 0xffff};

    (void)state;
    for (uint32_t half = 0; half < N; half++)
        for (size_t i = 0; i < sizeof(rest) / sizeof(*rest); i++) {
            uint32_t bits = half << 16 | rest[i];
            uint16_t got;

            if ((bits & 0x7fffffff) <= (uint32_t)INFINITE << 16)
                continue;
            got = rounded(bits);
            assert_true(is_nan(got));
            assert_int_equal(got & SIGN, half & SIGN);
            assert_true(got & 0x40); /* quiet */
        }
}

static void
a_row_is_widened_in_place(void **state)
{
    enum { MOST = 70 };

    (void)state;
    for (size_t n = 0; n <= MOST; n++) {
        float row[MOST + 1];
        uint16_t half[MOST];

        for (size_t i = 0; i < n; i++)
            half[i] = (uint16_t)(0x3f80 + 17 * i);
        row[n] = 5.0F;
        memcpy(row, half, n * sizeof(*half));
        bf16_to_floats(row, n);
        for (size_t i = 0; i < n; i++)
            assert_true(row[i] == bf16_to_float(half[i]));
        assert_true(row[n] == 5.0F);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_number_has_its_value),
        cmocka_unit_test(a_number_rounds_to_itself),
        cmocka_unit_test(between_two_the_nearer_is_taken),
        cmocka_unit_test(no_number_stays_none),
        cmocka_unit_test(a_row_is_widened_in_place),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
