/* SPDX-License-Identifier: Apache-2.0 */
/* Where segments begin, and how long they are. */
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

segment_cut
segment_cut_of(uint64_t n_token, uint32_t size, segment_align align)
{
    segment_cut c = {.n_token = n_token,
                     .n_segment = segment_count(n_token, size),
                     .first = size,
                     .each = size};
    if (align == SEGMENT_RIGHT && n_token % size != 0)
        c.first = (uint32_t)(n_token % size);
    if (align == SEGMENT_CENTER && n_token > 0) {
        uint64_t n = c.n_segment;
        c.each = (uint32_t)(n_token / n + (n_token % n != 0));
        c.first = c.each;
    }
    return c;
}

uint64_t
segment_cut_start(const segment_cut *cut, uint64_t seg)
{
    return seg == 0 ? 0 : cut->first + (seg - 1) * cut->each;
}

uint32_t
segment_cut_tokens(const segment_cut *cut, uint64_t seg)
{
    uint64_t start = segment_cut_start(cut, seg);
    uint32_t most = seg == 0 ? cut->first : cut->each;
    if (seg >= cut->n_segment)
        return 0;
    return cut->n_token - start < most ? (uint32_t)(cut->n_token - start)
                                       : most;
}
