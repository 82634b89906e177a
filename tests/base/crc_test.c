/* SPDX-License-Identifier: Apache-2.0 */
/* CRC-32C against the vectors of RFC 3720, B.4, and its own parts. */
#include "base/crc.h"

#include "tests/expect.h"

#include <string.h>

static void
known_values(void **state)
{
    uint8_t data[32];

    (void)state;
    assert_int_equal(crc_add(0, "", 0), 0);
    assert_int_equal(crc_add(0, "123456789", 9), 0xE3069283);
    memset(data, 0, sizeof(data));
    assert_int_equal(crc_add(0, data, sizeof(data)), 0x8A9136AA);
    memset(data, 0xFF, sizeof(data));
    assert_int_equal(crc_add(0, data, sizeof(data)), 0x62A8AB43);
    for (int i = 0; i < 32; i++)
        data[i] = (uint8_t)i;
    assert_int_equal(crc_add(0, data, sizeof(data)), 0x46DD794E);
}

static void
parts_add_up(void **state)
{
    uint8_t data[100];
    uint32_t whole;

    (void)state;
    for (int i = 0; i < 100; i++)
        data[i] = (uint8_t)(i * 37);
    whole = crc_add(0, data, sizeof(data));
    for (size_t cut = 0; cut <= sizeof(data); cut++)
        assert_int_equal(
            crc_add(crc_add(0, data, cut), data + cut, sizeof(data) - cut),
            whole);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_values),
        cmocka_unit_test(parts_add_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
