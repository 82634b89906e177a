/* SPDX-License-Identifier: Apache-2.0 */
/* Cutting an input of n_token tokens into segments of `size` (alignment left:
 * full segments, the remainder of 1 .. size tokens last).  Pure. */
#ifndef SCHED_SEGMENT_H
#define SCHED_SEGMENT_H

#include <stdint.h>

/* ceil(n_token / size); size > 0. */
uint64_t segment_count(uint64_t n_token, uint32_t size);
/* First token of segment `seg`. */
uint64_t segment_start(uint64_t seg, uint32_t size);
/* Tokens of segment `seg`, 0 beyond the last. */
uint32_t segment_tokens(uint64_t seg, uint64_t n_token, uint32_t size);

#endif
