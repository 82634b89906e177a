/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers of a tensor, converted to fp32 or int32. */
#include <string.h>

#include "base/bf16.h"
#include "base/file.h"
#include "model/safetensors.h"
#include "model/safetensors_header.h"

/* The elements first .. first + n - 1 are there. */
static status
check_range(const safetensors_tensor *t, size_t first, size_t n)
{
    size_t count = t->bytes / safetensors_width(t->type);

    if (first <= count && n <= count - first)
        return ST_OK;
    return status_fail(ST_ARG,
                       "tensor %.120s has %zu numbers, %zu from %zu were "
                       "asked for",
                       t->name, count, n, first);
}

static float
f32_from_bits(uint32_t bits)
{
    float x;

    memcpy(&x, &bits, sizeof(x));
    return x;
}

/* Every half is a normal fp32 number but zero, infinity and not-a-number:
 * the exponent is rebased, and a subnormal is its integer times 2^-24. */
static float
f32_from_half(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16;
    uint32_t exponent = half >> 10 & 0x1f;
    uint32_t fraction = half & 0x3ff;
    float tiny;

    if (exponent == 0x1f)
        return f32_from_bits(sign | 0x7f800000 | fraction << 13);
    if (exponent != 0)
        return f32_from_bits(sign | (exponent + 112) << 23 | fraction << 13);
    tiny = (float)fraction * 0x1p-24f;
    return sign != 0 ? -tiny : tiny;
}

/* Places in a file are not aligned, so each number is copied out first. */
static void
read_halves(const char *data, bool brain, float *out, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t half;

        memcpy(&half, data + i * sizeof(half), sizeof(half));
        out[i] = brain ? bf16_to_float(half) : f32_from_half(half);
    }
}

status
safetensors_read_f32(const safetensors_tensor *t, float *out, size_t first,
                     size_t n)
{
    const char *data = t->data;
    size_t width = safetensors_width(t->type);
    status st;

    if (t->type != SAFETENSORS_F32 && t->type != SAFETENSORS_F16 &&
        t->type != SAFETENSORS_BF16)
        return status_fail(ST_ARG, "tensor %.120s is not F32, F16 or BF16",
                           t->name);
    TRY(check_range(t, first, n));
    data += first * width;
    if (t->type != SAFETENSORS_F32)
        read_halves(data, t->type == SAFETENSORS_BF16, out, n);
    else if (n > 0)
        memcpy(out, data, n * width);
    return ST_OK;

fail:
    return st;
}

status
safetensors_read_i32(const safetensors_tensor *t, int32_t *out, size_t first,
                     size_t n)
{
    const char *data = t->data;
    size_t width = safetensors_width(t->type);
    status st;

    if (t->type != SAFETENSORS_I32 && t->type != SAFETENSORS_I64)
        return status_fail(ST_ARG, "tensor %.120s is not I32 or I64", t->name);
    TRY(check_range(t, first, n));
    data += first * width;
    if (t->type == SAFETENSORS_I32) {
        if (n > 0)
            memcpy(out, data, n * width);
        return ST_OK;
    }
    for (size_t i = 0; i < n; i++) {
        int64_t x;

        memcpy(&x, data + i * sizeof(x), sizeof(x));
        if (x < INT32_MIN || x > INT32_MAX)
            return status_fail(ST_ARG,
                               "tensor %.120s: number %zu does not fit in 32 "
                               "bits",
                               t->name, first + i);
        out[i] = (int32_t)x;
    }
    return ST_OK;

fail:
    return st;
}

status
safetensors_read_raw(const safetensors_tensor *t, void *out)
{
    return file_read_at(t->fd, out, t->bytes, t->at);
}

void
safetensors_expect(const safetensors_tensor *t)
{
    file_map_expect(t->data, t->bytes);
}

void
safetensors_forget(const safetensors_tensor *t, size_t first, size_t n)
{
    size_t width = safetensors_width(t->type);

    file_map_forget((const char *)t->data + first * width, n * width);
}
