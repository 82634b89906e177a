/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots: every damage is found. */
#include "proto/snapshot.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "tests/expect.h"

enum { N_LAYER = 2, N_FLOAT = 5 };

/* Numbers as another implementation must write them. */
static const uint8_t HEAD[32] = {'L', 'W', 'S', 'N', 'A', 'P', 0, 1, 2, 0, 0,
                                 0,   2,   0,   0,   0,   40,  0, 0, 0, 0, 0,
                                 0,   0,   7,   1,   0,   0,   0, 0, 0, 0};

static uint8_t *
a_snapshot(size_t *len)
{
    snapshot_info info = {.n_layer = N_LAYER,
                          .state_bytes = N_LAYER * N_FLOAT * sizeof(float),
                          .n_segment = 263};
    float value[N_LAYER * N_FLOAT];
    uint8_t *data;

    for (int i = 0; i < N_LAYER * N_FLOAT; i++)
        value[i] = (float)i - 0.5F;
    memset(info.fingerprint, 0x5A, sizeof(info.fingerprint));
    EXPECT_OK(snapshot_bytes(len, sizeof(value)));
    assert_int_equal(*len, SNAPSHOT_HEADER + sizeof(value));
    EXPECT_OK(mem_new(&data, *len, 1));
    memcpy(data + SNAPSHOT_HEADER, value, sizeof(value));
    EXPECT_OK(snapshot_seal(data, *len, &info));
    return data;
}

static void
what_was_sealed_is_read(void **state)
{
    snapshot_info info;
    size_t len;
    uint8_t *data = a_snapshot(&len);

    (void)state;
    assert_memory_equal(data, HEAD, sizeof(HEAD));
    EXPECT_OK(snapshot_check(&info, data, len));
    assert_int_equal(info.n_layer, N_LAYER);
    assert_int_equal(info.state_bytes, N_LAYER * N_FLOAT * sizeof(float));
    assert_int_equal(info.n_segment, 263);
    assert_int_equal(info.fingerprint[31], 0x5A);
    mem_free(data);
}

static void
every_flipped_bit_is_found(void **state)
{
    snapshot_info info;
    size_t len;
    uint8_t *data = a_snapshot(&len);

    (void)state;
    for (size_t i = 0; i < 8 * len; i++) {
        data[i / 8] ^= (uint8_t)(1u << i % 8);
        assert_int_not_equal(snapshot_check(&info, data, len), ST_OK);
        data[i / 8] ^= (uint8_t)(1u << i % 8);
    }
    EXPECT_OK(snapshot_check(&info, data, len));
    mem_free(data);
}

static void
every_cut_is_found(void **state)
{
    snapshot_info info;
    size_t len;
    uint8_t *data = a_snapshot(&len);

    (void)state;
    for (size_t i = 0; i < len; i++)
        EXPECT_ST(snapshot_check(&info, data, i), ST_WIRE);
    mem_free(data);
}

static void
versions_are_told(void **state)
{
    snapshot_info info;
    size_t len;
    uint8_t *data = a_snapshot(&len);

    (void)state;
    data[8] = 3;
    EXPECT_ST(snapshot_check(&info, data, len), ST_UNSUPPORTED);
    mem_free(data);
}

static void
numbers_are_finite(void **state)
{
    const float bad[] = {NAN, INFINITY, -INFINITY};
    snapshot_info info;
    size_t len;
    uint8_t *data = a_snapshot(&len);

    (void)state;
    EXPECT_OK(snapshot_check(&info, data, len));
    for (int i = 0; i < 3; i++) {
        memcpy(data + len - sizeof(float), &bad[i], sizeof(float));
        EXPECT_OK(snapshot_seal(data, len, &info));
        EXPECT_ST(snapshot_check(&info, data, len), ST_WIRE);
    }
    mem_free(data);
}

/* In pieces of `piece` bytes behind its header. */
static status
scan(float norm[N_LAYER], const uint8_t *data, size_t len, size_t piece)
{
    snapshot_scan s;
    status st;

    TRY(snapshot_scan_begin(&s, data, len));
    assert_int_equal(s.info.n_layer, N_LAYER);
    s.norm = norm;
    for (size_t at = SNAPSHOT_HEADER; at < len; at += piece)
        snapshot_scan_add(&s, data + at, len - at < piece ? len - at : piece);
    TRY(snapshot_scan_end(&s));
fail:
    return st;
}

static void
reseal(uint8_t *data, size_t len)
{
    const snapshot_info info = {.n_layer = N_LAYER,
                                .state_bytes = len - SNAPSHOT_HEADER};

    EXPECT_OK(snapshot_seal(data, len, &info));
}

/* Damage is found in whichever piece it is, and a piece that is missing. */
static void
pieces_are_as_good_as_the_whole(void **state)
{
    const float bad = NAN;
    float norm[N_LAYER];
    size_t len;
    uint8_t *data = a_snapshot(&len);

    (void)state;
    for (size_t at = SNAPSHOT_HEADER; at < len; at++) {
        data[at] ^= 1;
        EXPECT_ST(scan(norm, data, len, 8), ST_WIRE);
        data[at] ^= 1;
    }
    for (size_t at = SNAPSHOT_HEADER; at < len; at += 4) {
        uint8_t good[4];

        memcpy(good, data + at, 4);
        memcpy(data + at, &bad, 4);
        reseal(data, len);
        EXPECT_ST(scan(norm, data, len, 8), ST_WIRE);
        memcpy(data + at, good, 4);
    }
    reseal(data, len);
    EXPECT_OK(scan(norm, data, len, 8));
    {
        snapshot_scan s;

        EXPECT_OK(snapshot_scan_begin(&s, data, len));
        snapshot_scan_add(&s, data + SNAPSHOT_HEADER,
                          len - SNAPSHOT_HEADER - 4);
        EXPECT_ST(snapshot_scan_end(&s), ST_WIRE);
        EXPECT_ST(snapshot_scan_begin(&s, data, len - 1), ST_WIRE);
    }
    mem_free(data);
}

static void
norms_are_of_layers(void **state)
{
    const float big = 3e38F;
    float norm[N_LAYER];
    double sum[N_LAYER] = {0};
    size_t len;
    uint8_t *data = a_snapshot(&len);

    (void)state;
    for (int i = 0; i < N_LAYER * N_FLOAT; i++)
        sum[i / N_FLOAT] += (i - 0.5) * (i - 0.5);
    for (size_t piece = 4; piece < len; piece += 4) {
        EXPECT_OK(scan(norm, data, len, piece));
        for (int l = 0; l < N_LAYER; l++)
            assert_true(fabs((double)norm[l] - sqrt(sum[l])) < 1e-6);
    }

    /* The largest numbers have a finite norm too. */
    for (int i = 0; i < N_FLOAT; i++)
        memcpy(data + SNAPSHOT_HEADER + 4 * i, &big, sizeof(big));
    reseal(data, len);
    EXPECT_OK(scan(norm, data, len, len));
    assert_true(isfinite(norm[0]) && norm[0] >= big);
    mem_free(data);
}

static void
sizes_are_checked(void **state)
{
    snapshot_info info = {.n_layer = 2, .state_bytes = UINT64_MAX - 90};
    uint8_t data[SNAPSHOT_HEADER] = {0};
    size_t len = 0;

    (void)state;
    EXPECT_ST(snapshot_bytes(&len, UINT64_MAX), ST_LIMIT);
    EXPECT_ST(snapshot_bytes(&len, UINT64_MAX - SNAPSHOT_HEADER + 1), ST_LIMIT);
    assert_int_equal(len, 0);
    EXPECT_ST(snapshot_seal(data, sizeof(data), &info), ST_LIMIT);
    info.state_bytes = 1;
    EXPECT_ST(snapshot_seal(data, sizeof(data), &info), ST_WIRE);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_sealed_is_read),
        cmocka_unit_test(every_flipped_bit_is_found),
        cmocka_unit_test(every_cut_is_found),
        cmocka_unit_test(versions_are_told),
        cmocka_unit_test(numbers_are_finite),
        cmocka_unit_test(pieces_are_as_good_as_the_whole),
        cmocka_unit_test(norms_are_of_layers),
        cmocka_unit_test(sizes_are_checked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
