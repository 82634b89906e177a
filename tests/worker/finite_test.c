/* SPDX-License-Identifier: Apache-2.0 */
/* What is not finite is found wherever it lies; nothing else is. */
#include "worker/finite.h"

#include <string.h>

#include "tests/expect.h"

enum { BYTES = 204 }; /* three blocks and a rest */

typedef struct format {
    kernel_type type;
    size_t size;
    uint32_t infinite; /* exponent of all ones, mantissa of zeros */
    uint32_t sign;
} format;

static const format formats[] = {
    {KERNEL_F32, 4, 0x7f800000, 0x80000000},
    {KERNEL_BF16, 2, 0x7f80, 0x8000},
    {KERNEL_F16, 2, 0x7c00, 0x8000},
};

/* One number alone, at every place of every length, between `other` ones. */
static void
expect_everywhere(const format *f, uint32_t number, uint32_t other, bool finite)
{
    uint8_t data[BYTES];

    for (size_t len = f->size; len <= BYTES; len += f->size) {
        for (size_t i = 0; i < len; i += f->size)
            memcpy(data + i, &other, f->size);
        for (size_t i = 0; i < len; i += f->size) {
            memcpy(data + i, &number, f->size);
            assert_int_equal(finite_all(data, len, f->type), finite);
            memcpy(data + i, &other, f->size);
        }
    }
}

static void
what_is_not_finite_is_found(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        const format *f = &formats[i];
        uint32_t nan = f->infinite | 1, all = f->infinite | (f->infinite - 1);
        uint32_t largest = f->infinite - 1;
        expect_everywhere(f, f->infinite, 0, false);
        expect_everywhere(f, f->infinite | f->sign, largest, false);
        expect_everywhere(f, nan, largest | f->sign, false);
        expect_everywhere(f, all | f->sign, 0, false);
    }
}

/* The neighbours of what is not: the largest numbers, of either sign. */
static void
all_others_are_finite(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        const format *f = &formats[i];
        uint32_t largest = f->infinite - 1;
        assert_true(finite_all((const uint8_t *)"", 0, f->type));
        expect_everywhere(f, 0, largest | f->sign, true);
        expect_everywhere(f, largest, largest, true);
        expect_everywhere(f, f->sign, f->sign | 1, true);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_finite_is_found),
        cmocka_unit_test(all_others_are_finite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
