/* SPDX-License-Identifier: Apache-2.0 */
/* Cutting an input of n_token tokens into segments of `size`.  Pure.
 *
 *   left    full segments, the remainder of 1 .. size tokens last
 *   right   the remainder first, then full segments
 *   center  ceil(n / size) segments are wanted, so all have n / that, rounded
 *           up, but the last, which has what is left
 *
 * The first three functions cut left; segment_cut is any of them. */
#ifndef SCHED_SEGMENT_H
#define SCHED_SEGMENT_H

#include <stdint.h>

/* ceil(n_token / size); size > 0. */
uint64_t segment_count(uint64_t n_token, uint32_t size);
/* First token of segment `seg`. */
uint64_t segment_start(uint64_t seg, uint32_t size);
/* Tokens of segment `seg`, 0 beyond the last. */
uint32_t segment_tokens(uint64_t seg, uint64_t n_token, uint32_t size);

typedef enum segment_align {
    SEGMENT_LEFT = 0,
    SEGMENT_RIGHT,
    SEGMENT_CENTER
} segment_align;

typedef struct segment_cut {
    uint64_t n_token, n_segment;
    uint32_t first, each; /* tokens of segment 0, and of the others but for the
                             last */
} segment_cut;

segment_cut segment_cut_of(uint64_t n_token, uint32_t size,
                           segment_align align);
uint64_t segment_cut_start(const segment_cut *cut, uint64_t seg);
uint32_t segment_cut_tokens(const segment_cut *cut, uint64_t seg);

#endif
