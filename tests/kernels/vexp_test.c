/* SPDX-License-Identifier: Apache-2.0 */
/* vexp() over its whole range, and behind both ends. */
#include <math.h>

#include "kernels/cpu/vexp.h"
#include "tests/expect.h"

/* Distance in units of the last place of the true value. */
static double
ulps(float x)
{
    double want = exp((double)x);
    int exponent;

    (void)frexp(want, &exponent);
    return fabs((double)vexp(x) - want) / ldexp(1.0, exponent - 24);
}

static void
within_two_ulp(void **state)
{
    double worst = 0.0;

    (void)state;
    for (float x = -87.3F; x < 88.3F; x += 1.37e-4F) {
        double distance = ulps(x);

        worst = distance > worst ? distance : worst;
    }
    for (float x = 1e-30F; x < 1.0F; x *= 1.7F)
        worst = fmax(worst, fmax(ulps(x), ulps(-x)));
    if (!(worst <= 2.0))
        fail_msg("off by %g ulp", worst);
    assert_true(vexp(0.0F) == 1.0F);
}

static void
ends_are_tame(void **state)
{
    (void)state;
    assert_true(vexp(-1000.0F) >= 0.0F && vexp(-1000.0F) < 1.3e-38F);
    assert_true(vexp(-INFINITY) >= 0.0F && vexp(-INFINITY) < 1.3e-38F);
    assert_true(vexp(1000.0F) > 1e38F && isfinite(vexp(1000.0F)));
    assert_true(vexp(INFINITY) > 1e38F);
    assert_true(isnan(vexp(NAN)));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(within_two_ulp),
        cmocka_unit_test(ends_are_tame),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
