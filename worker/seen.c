/* SPDX-License-Identifier: Apache-2.0 */
/* A list of ids, and a bit for each of the vocabulary. */
#include "worker/seen.h"

#include <string.h>

#include "base/mem.h"
#include "kernels/kernel_ops.h"

bool
seen_matters(float penalty)
{
    return penalty > 0 && (penalty < 1 || penalty > 1);
}

status
seen_check(const model_config *cfg, float penalty, uint64_t n_token)
{
    uint64_t n = n_token < cfg->n_vocab ? n_token : cfg->n_vocab;

    if (seen_matters(penalty) && n > KERNEL_SAMPLE_SEEN)
        return status_fail(ST_LIMIT,
                           "a repetition penalty counts %d different tokens, "
                           "prompt and answer may have %llu",
                           KERNEL_SAMPLE_SEEN, (unsigned long long)n);
    return ST_OK;
}

static size_t
n_word(const seen *s)
{
    return (size_t)s->n_vocab / 32 + 1;
}

status
seen_init(seen *s, uint32_t n_vocab, uint32_t n_rank)
{
    status st = ST_OK;

    *s = (seen){.n_vocab = n_vocab, .n_rank = n_rank};
    s->room = n_vocab < KERNEL_SAMPLE_SEEN ? n_vocab : KERNEL_SAMPLE_SEEN;
    TRY(mem_new(&s->ids, s->room, sizeof *s->ids));
    TRY(mem_new(&s->bits, n_word(s), sizeof *s->bits));
    TRY(mem_new(&s->n_sent, n_rank, sizeof *s->n_sent));
fail:
    return st;
}

void
seen_fini(seen *s)
{
    mem_free(s->ids);
    mem_free(s->bits);
    mem_free(s->n_sent);
    *s = (seen){0};
}

void
seen_clear(seen *s)
{
    s->n = 0;
    memset(s->bits, 0, n_word(s) * sizeof *s->bits);
    memset(s->n_sent, 0, s->n_rank * sizeof *s->n_sent);
}

status
seen_add(seen *s, const int32_t *ids, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        uint32_t id = (uint32_t)ids[i];
        uint32_t bit = 1U << id % 32;

        ASSERT(id < s->n_vocab);
        if ((s->bits[id / 32] & bit) != 0)
            continue;
        if (s->n == s->room)
            return status_fail(ST_LIMIT, "more than %u different tokens",
                               s->room);
        s->bits[id / 32] |= bit;
        s->ids[s->n++] = ids[i];
    }
    return ST_OK;
}

const int32_t *
seen_take(seen *s, uint32_t rank, uint32_t *n)
{
    uint32_t first = s->n_sent[rank];

    ASSERT(rank < s->n_rank);
    s->n_sent[rank] = s->n;
    *n = s->n - first;
    return s->ids + first;
}
