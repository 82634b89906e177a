/* SPDX-License-Identifier: Apache-2.0 */
/* A table for ASCII, and a hash table for the rest. */
#include "model/seam.h"

#include <string.h>

#include "base/mem.h"
#include "model/vocab.h"

status
seam_init(seam *s, size_t n_pair, uint64_t seed)
{
    size_t n_slot = 16;
    status st;

    memset(s, 0, sizeof(*s));
    s->seed = seed;
    while (n_slot < 2 * n_pair)
        n_slot *= 2;
    TRY(mem_new(&s->pair, n_slot, sizeof(*s->pair)));
    s->mask = n_slot - 1;
    return ST_OK;

fail:
    return st;
}

void
seam_fini(seam *s)
{
    mem_free(s->pair);
    memset(s, 0, sizeof(*s));
}

/* The slot that has the pair, or the free one where it belongs.  The pair of
 * two NULs, which would look free, is in the table for ASCII. */
static uint64_t *
slot_of(const seam *s, uint64_t pair)
{
    size_t i = vocab_mix(pair ^ s->seed, 0x9e3779b97f4a7c15u) & s->mask;

    while (s->pair[i] != pair && s->pair[i] != 0)
        i = (i + 1) & s->mask;
    return &s->pair[i];
}

void
seam_cross(seam *s, uint32_t before, uint32_t behind)
{
    uint64_t pair = (uint64_t)before << 32 | behind;

    if (before < 128 && behind < 128)
        s->ascii[before][behind] = true;
    else
        *slot_of(s, pair) = pair;
}

bool
seam_is_crossed(const seam *s, uint32_t before, uint32_t behind)
{
    uint64_t pair = (uint64_t)before << 32 | behind;

    if (before < 128 && behind < 128)
        return s->ascii[before][behind];
    return *slot_of(s, pair) == pair;
}
