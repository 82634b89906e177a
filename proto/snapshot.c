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
check_len(uint64_t len, uint64_t state_bytes)
{
    size_t expected;
    status st;

    TRY(snapshot_bytes(&expected, state_bytes));
    if (len != expected)
        return status_fail(ST_WIRE,
                           "the snapshot has %llu bytes, its header says %zu",
                           (unsigned long long)len, expected);
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

static float
number(const uint8_t *p)
{
    uint32_t bits = (uint32_t)get(p, 4);
    float value;

    memcpy(&value, &bits, sizeof(value));
    return value;
}

/* By the bits: an exponent of all ones is an infinity or no number.  The upper
 * one of two 16-bit numbers with such bits is one, too. */
static void
look_for_wild(snapshot_scan *s, const uint8_t *p, uint64_t n)
{
    const uint32_t exponent = UINT32_C(0x7F800000);

    for (uint64_t i = 0; i < n && s->wild == UINT64_MAX; i++)
        if ((get(p + 4 * i, 4) & exponent) == exponent)
            s->wild = s->n + i;
}

static void
measure(snapshot_scan *s, const uint8_t *p, uint64_t n)
{
    uint64_t each = s->info.state_bytes / sizeof(float) / s->info.n_layer;
    uint64_t at = s->n, end = s->n + n;

    while (at < end && at < each * s->info.n_layer) {
        uint64_t layer_end = (at / each + 1) * each;

        for (; at < end && at < layer_end; at++, p += 4) {
            double x = (double)number(p);

            s->square += x * x;
        }
        if (at < layer_end)
            return;
        s->norm[at / each - 1] = (float)fmin(sqrt(s->square), (double)FLT_MAX);
        s->square = 0;
    }
}

status
snapshot_scan_begin(snapshot_scan *s, const uint8_t head[SNAPSHOT_HEADER],
                    uint64_t len)
{
    status st;

    if (memcmp(head, MAGIC, sizeof(MAGIC)) != 0)
        return status_fail(ST_WIRE, "this is not a snapshot");
    if (get(head + AT_VERSION, 4) != VERSION)
        return status_fail(ST_UNSUPPORTED,
                           "the snapshot has version %u, this program reads %d",
                           (unsigned)get(head + AT_VERSION, 4), VERSION);
    TRY(check_len(len, get(head + AT_BYTES, 8)));
    s->info = (snapshot_info){.n_layer = (uint32_t)get(head + AT_LAYER, 4),
                              .state_bytes = get(head + AT_BYTES, 8),
                              .n_segment = get(head + AT_SEGMENT, 8)};
    memcpy(s->info.fingerprint, head + AT_FINGERPRINT,
           sizeof(s->info.fingerprint));
    memcpy(s->expected, head + AT_HASH, sizeof(s->expected));
    s->norm = NULL;
    s->n = s->bytes = 0;
    s->square = 0;
    s->wild = UINT64_MAX;
    hash_init(&s->sum);
    hash_add(&s->sum, head, AT_HASH);
fail:
    return st;
}

void
snapshot_scan_add(snapshot_scan *s, const uint8_t *data, size_t len)
{
    hash_add(&s->sum, data, len);
    look_for_wild(s, data, len / 4);
    if (s->norm)
        measure(s, data, len / 4);
    s->n += len / 4;
    s->bytes += len;
}

status
snapshot_scan_end(snapshot_scan *s)
{
    uint8_t sum[HASH_BYTES];

    hash_end(&s->sum, sum);
    if (s->bytes != s->info.state_bytes ||
        memcmp(sum, s->expected, sizeof(sum)) != 0)
        return status_fail(ST_WIRE,
                           "the snapshot is damaged: its hash differs");
    if (s->wild != UINT64_MAX)
        return status_fail(
            ST_WIRE,
            "the snapshot has numbers that are not finite (from byte %llu on): "
            "the memory has run away",
            (unsigned long long)(SNAPSHOT_HEADER + 4 * s->wild));
    return ST_OK;
}

status
snapshot_check(snapshot_info *out, const uint8_t *data, size_t len)
{
    snapshot_scan s;
    status st;

    if (len < SNAPSHOT_HEADER)
        return status_fail(ST_WIRE, "this is not a snapshot");
    TRY(snapshot_scan_begin(&s, data, len));
    snapshot_scan_add(&s, data + SNAPSHOT_HEADER, len - SNAPSHOT_HEADER);
    TRY(snapshot_scan_end(&s));
    *out = s.info;
fail:
    return st;
}
