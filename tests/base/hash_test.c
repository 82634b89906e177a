/* SPDX-License-Identifier: Apache-2.0 */
/* BLAKE2b-256 against known digests. */
#include "base/hash.h"

#include <string.h>

#include "tests/expect.h"

typedef struct vector {
    const char *text;
    const char *hex;
} vector;

/* What `b2sum -l 256` of coreutils prints. */
static const vector known[] = {
    {"", "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8"},
    {"abc", "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319"},
    {"The quick brown fox jumps over the lazy dog",
     "01718cec35cd3d796dd00020e0bfecb473ad23457d063b75eff29c0ffa2e58a9"},
};

static void
digest(char hex[2 * HASH_BYTES + 1], const char *text, size_t piece)
{
    hash h;
    uint8_t out[HASH_BYTES];
    size_t len = strlen(text);

    hash_init(&h);
    for (size_t at = 0; at < len; at += piece)
        hash_add(&h, text + at, len - at < piece ? len - at : piece);
    hash_end(&h, out);
    hash_hex(hex, out);
}

static void
digests_are_those_of_blake2b(void **unused)
{
    char hex[2 * HASH_BYTES + 1];

    (void)unused;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        digest(hex, known[i].text, SIZE_MAX / 2);
        assert_string_equal(hex, known[i].hex);
    }
}

static void
pieces_do_not_matter(void **unused)
{
    char hex[2 * HASH_BYTES + 1];

    (void)unused;
    for (size_t piece = 1; piece < 20; piece++) {
        digest(hex, known[2].text, piece);
        assert_string_equal(hex, known[2].hex);
    }
}

static void
of_one_piece(void **unused)
{
    char hex[2 * HASH_BYTES + 1];
    uint8_t out[HASH_BYTES] = {0};

    (void)unused;
    assert_true(hash_is_zero(out));
    hash_of(out, known[2].text, strlen(known[2].text));
    hash_hex(hex, out);
    assert_string_equal(hex, known[2].hex);
    assert_false(hash_is_zero(out));
    memset(out, 0, sizeof(out));
    out[HASH_BYTES - 1] = 1;
    assert_false(hash_is_zero(out));
}

static void
hex_digits_are_lower_case(void **unused)
{
    uint8_t in[HASH_BYTES] = {0x00, 0x0f, 0xf0, 0xab};
    char hex[2 * HASH_BYTES + 1];

    (void)unused;
    hash_hex(hex, in);
    assert_memory_equal(hex, "000ff0ab00", 10);
    assert_int_equal(strlen(hex), 64);
}

static void
random_bytes_differ(void **unused)
{
    uint8_t a[32] = {0};
    uint8_t b[32] = {0};

    (void)unused;
    hash_random(a, sizeof(a));
    hash_random(b, sizeof(b));
    assert_memory_not_equal(a, b, sizeof(a));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digests_are_those_of_blake2b),
        cmocka_unit_test(pieces_do_not_matter),
        cmocka_unit_test(of_one_piece),
        cmocka_unit_test(hex_digits_are_lower_case),
        cmocka_unit_test(random_bytes_differ),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
