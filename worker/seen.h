/* SPDX-License-Identifier: Apache-2.0 */
/* The ids that a repetition penalty counts: those of the prompt, which is the
 * last segment of the input, and of the answer.
 *
 * Each once, in the order in which they came, and how many of them each rank
 * knows.  Which segment an id is in depends on the tokens alone, so a question
 * about a stored document counts what one run over both would count.  A plain
 * value of the lead; nothing is allocated after seen_init(). */
#ifndef WORKER_SEEN_H
#define WORKER_SEEN_H

#include <stdbool.h>

#include "base/status.h"
#include "model/config.h"

typedef struct seen {
    int32_t *ids; /* [n]; an id keeps its place until seen_clear() */
    uint32_t n, room;
    uint32_t *bits;   /* one an id of the vocabulary */
    uint32_t *n_sent; /* [n_rank] of the ids */
    uint32_t n_vocab, n_rank;
} seen;

/* Whether a penalty changes anything. */
bool seen_matters(float penalty);
/* ST_LIMIT: prompt and answer of n_token may have more ids than are counted. */
status seen_check(const model_config *cfg, float penalty,
                  uint64_t n_token) MUST_USE;

status seen_init(seen *s, uint32_t n_vocab, uint32_t n_rank) MUST_USE;
void seen_fini(seen *s);
void seen_clear(seen *s);
/* ids[n] below n_vocab.  ST_LIMIT: seen_check() was not asked. */
status seen_add(seen *s, const int32_t *ids, uint32_t n) MUST_USE;
/* What `rank` does not know yet; from now on it does. */
const int32_t *seen_take(seen *s, uint32_t rank, uint32_t *n);

#endif
