/* SPDX-License-Identifier: Apache-2.0 */
/* Every number of every narrow type, one by one and by vectors. */
#include <math.h>

#include "kernels/cpu/widen.h"
#include "tests/expect.h"

/* What the bits of a type with `n_mantissa` bits behind `n_exponent` stand for.
 */
static double
meaning(uint32_t bits, int n_exponent, int n_mantissa)
{
    int bias = (1 << (n_exponent - 1)) - 1;
    int exponent = (int)(bits >> n_mantissa) & ((1 << n_exponent) - 1);
    double mantissa = (double)(bits & ((1U << n_mantissa) - 1));
    double sign = (bits >> (n_exponent + n_mantissa)) != 0 ? -1.0 : 1.0;

    if (exponent == (1 << n_exponent) - 1)
        return mantissa != 0.0 ? (double)NAN : sign * (double)INFINITY;
    if (exponent == 0)
        return sign * ldexp(mantissa, 1 - bias - n_mantissa);
    return sign * ldexp(mantissa + ldexp(1.0, n_mantissa),
                        exponent - bias - n_mantissa);
}

static void
assert_same(float got, double want, uint32_t bits)
{
    if (isnan(want) ? !isnan(got)
                    : (double)got != want ||
                          (signbit(got) != 0) != (signbit(want) != 0))
        fail_msg("bits %x are %.9g, expected %.9g", bits, (double)got, want);
}

/* All 2^16 numbers, TILE_HALF at a time and from an odd place. */
static void
halves(const kernel_type type, int n_exponent, int n_mantissa)
{
    uint16_t data[TILE_HALF + 1] = {0};

    for (uint32_t first = 0; first < 1U << 16; first += TILE_HALF) {
        tile_half got;

        for (uint32_t i = 0; i < TILE_HALF; i++)
            data[i + 1] = (uint16_t)(first + i);
        widen_vec(&got, data, 1, type, 1.0F);
        for (uint32_t i = 0; i < TILE_HALF; i++) {
            double want = meaning(first + i, n_exponent, n_mantissa);

            assert_same(got[i], want, first + i);
            assert_same(widen_one(data, i + 1, type, 1.0F), want, first + i);
        }
    }
}

static void
halves_are_exact(void **state)
{
    (void)state;
    halves(KERNEL_BF16, 8, 7);
    halves(KERNEL_F16, 5, 10);
}

static void
bytes_are_scaled(void **state)
{
    const float scale = 0.0123F;
    int8_t data[TILE_HALF + 3];

    (void)state;
    for (int first = -128; first < 128; first += TILE_HALF) {
        tile_half got;

        for (int i = 0; i < TILE_HALF; i++)
            data[i + 3] = (int8_t)(first + i);
        widen_vec(&got, data, 3, KERNEL_I8, scale);
        for (int i = 0; i < TILE_HALF; i++) {
            float want = (float)(first + i) * scale;

            assert_same(got[i], (double)want, (uint32_t)(first + i));
            assert_same(widen_one(data, (size_t)i + 3, KERNEL_I8, scale),
                        (double)want, (uint32_t)(first + i));
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(halves_are_exact),
        cmocka_unit_test(bytes_are_scaled),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
