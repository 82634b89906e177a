/* SPDX-License-Identifier: Apache-2.0 */
/* Filling weights: conversion to the type that a kind is kept in, and random
 * values that every rank agrees on. */
#include <math.h>
#include <string.h>

#include "base/bf16.h"
#include "base/mem.h"
#include "kernels/random.h"
#include "model/weights_impl.h"

/* ---------------------------------------------------------- conversion --- */

/* To the nearest, ties to even; a NaN stays one, what is too large becomes
 * infinite, what is small subnormal. */
static uint16_t
to_f16(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000u);
    float size = fabsf(value);
    if (size != size)
        return sign | 0x7e00u;
    if (size >= 65520.0f)
        return sign | 0x7c00u;
    if (size < 0x1p-14f) /* an integer times 2^-24 */
        return (uint16_t)(sign | (uint16_t)lrintf(size * 0x1p24f));
    bits &= 0x7fffffffu;
    bits += 0xfffu + (bits >> 13 & 1u);
    return (uint16_t)(sign | (uint16_t)((bits - 0x38000000u) >> 13));
}

/* One row to integers of -127 to 127; returns what they are multiplied by.  A
 * row of zeros has the scale 0. */
static float
to_i8(int8_t *out, const float *row, size_t n)
{
    float most = 0;
    for (size_t i = 0; i < n; i++)
        most = fmaxf(most, fabsf(row[i]));
    float scale = most / 127.0f;
    for (size_t i = 0; i < n; i++)
        out[i] = (int8_t)(scale > 0 ? lrintf(row[i] / scale) : 0);
    return scale;
}

static status
copy(const weights *w, kernel_buf *buf, size_t at, const void *data,
     size_t bytes)
{
    status st = kernel_copy_in(w->q, buf, at, data, bytes);
    return st == ST_OK ? kernel_sync(w->q) : st;
}

static status
put_halves(weights *w, const weights_place *p, const float *values, size_t n)
{
    bool brain = w->types.of[p->kind] == KERNEL_BF16;
    uint16_t *half = w->narrow;
    for (size_t i = 0; i < n; i++)
        half[i] = brain ? bf16_from_float(values[i]) : to_f16(values[i]);
    return copy(w, p->buf, p->first * sizeof *half, half, n * sizeof *half);
}

/* Whole rows. */
static status
put_bytes(weights *w, const weights_place *p, const float *values, size_t n)
{
    int8_t *out = (int8_t *)w->narrow;
    float scale = 0;
    status st = ST_OK;
    ASSERT(p->first % p->cols == 0 && n % p->cols == 0);
    for (size_t i = 0; i < n; i += p->cols) {
        scale = to_i8(out + i, values + i, p->cols);
        TRY(copy(w, w->scale[p->kind], (p->first + i) / p->cols * sizeof scale,
                 &scale, sizeof scale));
    }
    TRY(copy(w, p->buf, p->first, out, n));
fail:
    return st;
}

static weights_place
place_of(const weights *w, weights_kind kind, uint32_t layer, size_t first,
         size_t n)
{
    weights_place p = {.kind = weights_home(&w->cfg, &w->part, kind)};
    size_t rows = 0, item = 0;
    p.buf = w->buf[p.kind];
    weights_shape(&w->cfg, kind, &rows, &p.cols);
    ASSERT(p.buf != NULL && kind != WEIGHTS_ROPE);
    ASSERT(first <= rows * p.cols && n <= rows * p.cols - first);
    if (kind < WEIGHTS_N_LAYER_KIND) {
        ASSERT(layer >= w->part.layer_first &&
               layer - w->part.layer_first < w->part.n_layer);
        item = layer - w->part.layer_first;
    }
    p.first = item * rows * p.cols + first;
    return p;
}

status
weights_put(weights *w, weights_kind kind, uint32_t layer, size_t first,
            size_t n, const float *values)
{
    weights_place p = place_of(w, kind, layer, first, n);
    size_t step = WEIGHTS_CHUNK / p.cols * p.cols;
    status st = ST_OK;
    for (size_t i = 0; i < n; i += step, p.first += step) {
        size_t now = n - i < step ? n - i : step;
        switch (w->types.of[p.kind]) {
        case KERNEL_F32:
            TRY(copy(w, p.buf, p.first * sizeof *values, values + i,
                     now * sizeof *values));
            break;
        case KERNEL_BF16:
        case KERNEL_F16:
            TRY(put_halves(w, &p, values + i, now));
            break;
        case KERNEL_I8:
            TRY(put_bytes(w, &p, values + i, now));
            break;
        case KERNEL_I32:
            ASSERT(false);
        }
    }
fail:
    return st;
}

status
weights_put_raw(weights *w, weights_kind kind, uint32_t layer, size_t first,
                size_t n, const void *values)
{
    weights_place p = place_of(w, kind, layer, first, n);
    size_t width = kernel_type_size(w->types.of[p.kind]);
    ASSERT(w->types.of[p.kind] != KERNEL_I8);
    return copy(w, p.buf, p.first * width, values, n * width);
}

void *
weights_host(const weights *w, weights_kind kind, uint32_t layer, size_t first)
{
    weights_place p = place_of(w, kind, layer, first, 0);
    return kernel_buf_host(p.buf,
                           p.first * kernel_type_size(w->types.of[p.kind]));
}

/* -------------------------------------------------------- random values --- */

/* What a kind's random values are. */
static void
random_law(const model_config *cfg, weights_kind kind, kernel_random *law)
{
    size_t rows = 0, fan_in = 0;
    weights_shape(cfg, kind, &rows, &fan_in);
    bool one = kind == WEIGHTS_NORM1 || kind == WEIGHTS_NORM2 ||
               kind == WEIGHTS_NORM_F || kind == WEIGHTS_Q_NORM ||
               kind == WEIGHTS_K_NORM;
    bool gate = kind == WEIGHTS_MEM_B_BIAS;
    law->mean = one ? 1.0f : gate ? -4.0f : 0.0f;
    law->spread = one || gate ? 0.0f : 1.0f / sqrtf((float)fan_in);
    if (kind == WEIGHTS_EMBED || (kind == WEIGHTS_HEAD && cfg->tied_head))
        law->spread = 1.0f; /* tokens that the first layers still tell apart */
    /* A gate that opens for all memory rows at once overshoots the delta rule,
     * and states grow without end: so it stays near its bias. */
    if (kind == WEIGHTS_MEM_V || kind == WEIGHTS_MEM_B)
        law->spread *= 0.1f;
}

/* Types that a device does not make: from here, chunk by chunk. */
static status
randomize_narrow(weights *w, weights_kind kind, uint32_t layer,
                 const kernel_random *law)
{
    size_t rows = 0, cols = 0;
    float *chunk = NULL;
    status st = ST_OK;
    weights_shape(&w->cfg, kind, &rows, &cols);
    size_t step = WEIGHTS_CHUNK / cols * cols, n = rows * cols;
    TRY(mem_new(&chunk, step, sizeof *chunk));
    for (size_t first = 0; first < n; first += step) {
        size_t now = n - first < step ? n - first : step;
        for (size_t i = 0; i < now; i++)
            chunk[i] = random_value(law, first + i);
        TRY(weights_put(w, kind, layer, first, now, chunk));
    }
fail:
    mem_free(chunk);
    return st;
}

static status
randomize_item(weights *w, weights_kind kind, uint32_t layer, uint64_t seed)
{
    kernel_type type = w->types.of[kind];
    size_t rows = 0, cols = 0;
    kernel_random law = {0};
    weights_shape(&w->cfg, kind, &rows, &cols);
    random_law(&w->cfg, kind, &law);
    /* A tied head has the table's values, also on a rank without it. */
    bool as_table = kind == WEIGHTS_HEAD && w->cfg.tied_head;
    uint64_t number = (uint64_t)(as_table ? WEIGHTS_EMBED : kind);
    law.key = random_mix(random_mix(seed) ^ random_mix(number << 32 | layer));
    if (type != KERNEL_F32 && type != KERNEL_BF16)
        return randomize_narrow(w, kind, layer, &law);
    weights_place p = place_of(w, kind, layer, 0, rows * cols);
    return kernel_fill(w->q, p.buf, p.first * kernel_type_size(type), type,
                       rows * cols, &law);
}

status
weights_randomize(weights *w, uint64_t seed)
{
    status st = ST_OK;

    for (weights_kind kind = 0; kind < WEIGHTS_ROPE; kind++) {
        size_t n_item = weights_item_count(&w->cfg, &w->part, kind);
        bool by_layer = kind < WEIGHTS_N_LAYER_KIND;
        for (uint32_t i = 0; i < n_item; i++)
            TRY(randomize_item(w, kind, by_layer ? w->part.layer_first + i : 0,
                               seed));
    }
    TRY(kernel_sync(w->q));
fail:
    return st;
}
