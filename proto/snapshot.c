/* SPDX-License-Identifier: Apache-2.0 */
/* Header, hash and checks of a document's bytes. */
#include "proto/snapshot.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"

enum {
    AT_VERSION = 8,
    AT_LAYER = 12,
    AT_BYTES = 16,
    AT_SEGMENT = 24,
    AT_FINGERPRINT = 32,
    AT_HASH = 64,
    VERSION = 2
};
static const uint8_t MAGIC[8] = {'L', 'W', 'S', 'N', 'A', 'P', 0, 1};

static void
put(uint8_t *p, uint64_t value, int n)
{
    for (int i = 0; i < n; i++)
        p[i] = (uint8_t)(value >> 8 * i);
}

static uint64_t
get(const uint8_t *p, int n)
{
    uint64_t value = 0;

    for (int i = 0; i < n; i++)
        value |= (uint64_t)p[i] << 8 * i;
    return value;
}

status
snapshot_bytes(size_t *out, uint64_t state_bytes)
{
    size_t n;
    status st;

    TRY(size_add(&n, state_bytes, SNAPSHOT_HEADER));
    *out = n;
    return ST_OK;
fail:
    return st;
}

static void
digest(uint8_t out[HASH_BYTES], const uint8_t *data, size_t len)
{
    hash h;

    hash_init(&h);
    hash_add(&h, data, AT_HASH);
    hash_add(&h, data + SNAPSHOT_HEADER, len - SNAPSHOT_HEADER);
    hash_end(&h, out);
}

static status
check_len(size_t len, uint64_t state_bytes)
{
    size_t expected;
    status st;

    TRY(snapshot_bytes(&expected, state_bytes));
    if (len != expected)
        return status_fail(ST_WIRE,
                           "the snapshot has %zu bytes, its header says %zu",
                           len, expected);
fail:
    return st;
}

status
snapshot_seal(uint8_t *data, size_t len, const snapshot_info *info)
{
    status st;

    TRY(check_len(len, info->state_bytes));
    memcpy(data, MAGIC, sizeof(MAGIC));
    put(data + AT_VERSION, VERSION, 4);
    put(data + AT_LAYER, info->n_layer, 4);
    put(data + AT_BYTES, info->state_bytes, 8);
    put(data + AT_SEGMENT, info->n_segment, 8);
    memcpy(data + AT_FINGERPRINT, info->fingerprint, sizeof(info->fingerprint));
    digest(data + AT_HASH, data, len);
fail:
    return st;
}

/* Where the first number is that is not finite: by the bits, an exponent of
 * all ones is an infinity or no number.  The upper one of two 16-bit numbers
 * with such bits is one, too.  `n` if there is none. */
static uint64_t
first_wild(const uint8_t *p, uint64_t n)
{
    const uint32_t exponent = UINT32_C(0x7F800000);

    for (uint64_t i = 0; i < n; i++, p += 4)
        if ((get(p, 4) & exponent) == exponent)
            return i;
    return n;
}

static float
number(const uint8_t *p)
{
    uint32_t bits = (uint32_t)get(p, 4);
    float value;

    memcpy(&value, &bits, sizeof(value));
    return value;
}

void
snapshot_norms(float *norm, const uint8_t *data, const snapshot_info *info)
{
    const uint8_t *p = data + SNAPSHOT_HEADER;
    uint64_t n = info->state_bytes / sizeof(float) / info->n_layer;

    for (uint32_t l = 0; l < info->n_layer; l++) {
        double sum = 0;

        for (uint64_t i = 0; i < n; i++, p += 4) {
            double x = (double)number(p);

            sum += x * x;
        }
        norm[l] = (float)fmin(sqrt(sum), (double)FLT_MAX);
    }
}

status
snapshot_check(snapshot_info *out, const uint8_t *data, size_t len)
{
    uint8_t sum[HASH_BYTES];
    snapshot_info info;
    uint64_t n, wild;
    status st;

    if (len < SNAPSHOT_HEADER || memcmp(data, MAGIC, sizeof(MAGIC)) != 0)
        return status_fail(ST_WIRE, "this is not a snapshot");
    if (get(data + AT_VERSION, 4) != VERSION)
        return status_fail(ST_UNSUPPORTED,
                           "the snapshot has version %u, this program reads %d",
                           (unsigned)get(data + AT_VERSION, 4), VERSION);
    info.n_layer = (uint32_t)get(data + AT_LAYER, 4);
    info.state_bytes = get(data + AT_BYTES, 8);
    info.n_segment = get(data + AT_SEGMENT, 8);
    memcpy(info.fingerprint, data + AT_FINGERPRINT, sizeof(info.fingerprint));
    TRY(check_len(len, info.state_bytes));
    digest(sum, data, len);
    if (memcmp(sum, data + AT_HASH, sizeof(sum)) != 0)
        return status_fail(ST_WIRE,
                           "the snapshot is damaged: its hash differs");
    n = (len - SNAPSHOT_HEADER) / 4;
    wild = first_wild(data + SNAPSHOT_HEADER, n);
    if (wild < n)
        return status_fail(ST_WIRE,
                           "the snapshot has numbers that are not finite (from "
                           "byte %llu on): the memory has run away",
                           (unsigned long long)(SNAPSHOT_HEADER + 4 * wild));
    *out = info;
    return ST_OK;
fail:
    return st;
}
