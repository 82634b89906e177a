/* SPDX-License-Identifier: Apache-2.0 */
/* Exponents of all ones, looked for in blocks. */
#include "worker/finite.h"

#include <string.h>

/* What makes exponents of all ones carry into the sign, in every number of
 * eight bytes. */
typedef struct carry {
    uint64_t exponent, one, sign;
} carry;

static carry
carry_of(kernel_type type)
{
    uint64_t narrow = 0x0001000100010001;

    if (type == KERNEL_F32)
        return (carry){0x7f8000007f800000, 0x0080000000800000,
                       0x8000000080000000};
    if (type == KERNEL_BF16)
        return (carry){narrow * 0x7f80, narrow * 0x0080, narrow * 0x8000};
    return (carry){narrow * 0x7c00, narrow * 0x0400, narrow * 0x8000};
}

enum { BLOCK = 8 }; /* words: loops of a fixed length become vectors */

static void
carry_block(uint64_t *bad, const uint8_t *data, carry c)
{
    uint64_t word[BLOCK];

    memcpy(word, data, sizeof word);
    for (size_t i = 0; i < BLOCK; i++)
        bad[i] |= (word[i] & c.exponent) + c.one;
}

bool
finite_all(const uint8_t *data, size_t len, kernel_type type)
{
    carry c = carry_of(type);
    uint64_t bad[BLOCK] = {0};
    uint8_t rest[sizeof bad] = {0};
    size_t n = len / sizeof bad * sizeof bad;

    for (size_t at = 0; at < n; at += sizeof bad)
        carry_block(bad, data + at, c);
    memcpy(rest, data + n, len - n);
    carry_block(bad, rest, c);
    for (size_t i = 1; i < BLOCK; i++)
        bad[0] |= bad[i];
    return (bad[0] & c.sign) == 0;
}
