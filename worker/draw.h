/* SPDX-License-Identifier: Apache-2.0 */
/* Random numbers of sampling: a function of seed and place alone, so that an
 * answer can be drawn again anywhere, also by another program.  Pure. */
#ifndef WORKER_DRAW_H
#define WORKER_DRAW_H

#include <stdint.h>

/* The number in [0, 1) for token `index` (from 0) of an answer: the upper 24
 * bits of mix(mix(seed) + index), divided by 2^24, where mix is one step of
 * SplitMix64 (Steele, Lea and Flood 2014) from the given state. */
float draw_uniform(uint64_t seed, uint64_t index);

#endif
