/* SPDX-License-Identifier: Apache-2.0 */
/* An answer on its way into a stream: what is to be fed next.
 *
 * Frozen: the prompt, then every token that was drawn as one more row of the
 * same run.  Rollover: the run is a segment that grows; when it is full and
 * one more token comes, it is fed once more as a segment that is written, and
 * the token begins the run of the next segment.  Logits so are those of a pass
 * over everything.  A plain value. */
#ifndef WORKER_DECODE_H
#define WORKER_DECODE_H

#include "worker/engine.h"

typedef struct decode {
    uint32_t segment_size;
    bool rolls;
    uint64_t seg;    /* the run's */
    int32_t *ids;    /* [segment_size] of the run; if it does not roll over,
                        only what waits */
    uint32_t n_run;  /* tokens of the run that were fed */
    uint32_t n_wait; /* tokens that were not */
    int32_t held;    /* what comes behind a full run */
} decode;

status decode_init(decode *d, const model_config *cfg) MUST_USE;
void decode_fini(decode *d);

/* Nothing waits any more: what was on its way is of an answer that is over. */
void decode_clear(decode *d);
/* The prompt waits, 1 .. S tokens of segment `seg`; copied. */
void decode_prompt(decode *d, uint64_t seg, const int32_t *ids, uint32_t n);
/* A token that was drawn waits; nothing else does. */
void decode_add(decode *d, int32_t id);

/* What is to be fed now, without want and sample, which only a frozen segment
 * has; *ids is the decode's.  False: nothing waits. */
bool decode_next(const decode *d, engine_segment *s, const int32_t **ids);
/* It was fed. */
void decode_fed(decode *d, const engine_segment *s);

/* The longest run of a prompt and an answer of n_answer tokens. */
uint32_t decode_longest(const model_config *cfg, uint32_t n_answer);

#endif
