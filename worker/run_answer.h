/* SPDX-License-Identifier: Apache-2.0 */
/* The answer of longwave-run as it is drawn: ids, text, and when it ends. */
#ifndef WORKER_RUN_ANSWER_H
#define WORKER_RUN_ANSWER_H

#include <stdio.h>

#include "base/terminal.h"
#include "model/config.h"
#include "model/tokenizer.h"
#include "worker/engine.h"
#include "worker/run_options.h"

typedef struct run_answer {
    const model_config *cfg;
    const tokenizer *tok; /* NULL: ids only */
    tokenizer_stream *stream;
    FILE *live; /* where text goes as it comes, or NULL */
    terminal screen;
    uint32_t max_token;
    bool ignore_eos;
    int32_t *ids;         /* [n_id] */
    engine_token *tokens; /* [n_id] with log-probabilities, or NULL */
    uint32_t n_id;
    bool ended; /* by an end token, a stop string or the limit */
    char *text; /* what is certain so far */
    size_t text_len;
    float *logits; /* [n_id, n_vocab] when kept */
    bool keep_logits;
} run_answer;

/* `live` NULL: text is only kept. */
status run_answer_init(run_answer *a, const run_options *o,
                       const model_config *cfg, const tokenizer *tok,
                       FILE *live) MUST_USE;
void run_answer_fini(run_answer *a);

/* The logits that the next token is drawn from come before it. */
status run_answer_logits(run_answer *a, const float *row) MUST_USE;
status run_answer_token(run_answer *a, const engine_token *token) MUST_USE;
/* No token comes any more: what text was held back, and the end of the line. */
status run_answer_finish(run_answer *a) MUST_USE;

#endif
