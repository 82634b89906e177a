/* SPDX-License-Identifier: Apache-2.0 */
/* A counter-based generator: nothing is carried from one draw to the next. */
#include "worker/draw.h"

static uint64_t
mix(uint64_t x)
{
    x += UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
    return x ^ x >> 31;
}

float
draw_uniform(uint64_t seed, uint64_t index)
{
    /* 24 bits: every value is exact in a float, and below 1. */
    return (float)(mix(mix(seed) + index) >> 40) * 0x1p-24f;
}
