/* SPDX-License-Identifier: Apache-2.0 */
/* The answer to one question as it grows: ids and text, up to a stop string.
 *
 * A second attempt at the same question brings the same tokens again; they are
 * compared and told to nobody twice.  Pure; loop thread. */
#ifndef DAEMON_ANSWER_H
#define DAEMON_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "model/tokenizer.h"

typedef struct answer answer;

typedef struct answer_step {
    bool fresh;   /* false: was there before, nothing to tell */
    bool stopped; /* a stop string was met: the answer is complete */
} answer_step;

/* `tok` NULL: ids without text.  `tok` outlives the answer. */
status answer_new(answer **out, const tokenizer *tok, const char *const *stops,
                  size_t n_stop) MUST_USE;
void answer_free(answer *a);

/* Token number `index`.  ST_WIRE: a gap, or another token than the attempt
 * before gave; of one that was there the log-probability stays as it was. */
status answer_push(answer *a, answer_step *out, uint32_t index, int32_t id,
                   float logprob) MUST_USE;
/* No more tokens: what was held back joins the text. */
status answer_finish(answer *a) MUST_USE;

/* What became certain with token `index`; until the next token. */
const char *answer_piece(const answer *a, size_t index, size_t *len);
const int32_t *answer_ids(const answer *a, size_t *n);
const float *answer_logprobs(const answer *a); /* one an id */
const char *answer_text(const answer *a, size_t *len);
size_t answer_bytes(const answer *a); /* of memory, about */

#endif
