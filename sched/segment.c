/* SPDX-License-Identifier: Apache-2.0 */
/* Cutting an input into segments: full ones, the remainder last. */
#include "sched/segment.h"

#include "base/status.h"

uint64_t
segment_count(uint64_t n_token, uint32_t size)
{
    ASSERT(size > 0);
    return n_token / size + (n_token % size != 0);
}

uint64_t
segment_start(uint64_t seg, uint32_t size)
{
    return seg * size;
}

uint32_t
segment_tokens(uint64_t seg, uint64_t n_token, uint32_t size)
{
    ASSERT(size > 0);
    uint64_t n_full = n_token / size;
    if (seg < n_full)
        return size;
    return seg == n_full ? (uint32_t)(n_token % size) : 0;
}
