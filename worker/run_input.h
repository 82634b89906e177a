/* SPDX-License-Identifier: Apache-2.0 */
/* The input of longwave-run as token ids: 4 to 8 bytes a token, and nothing
 * else that grows with it. */
#ifndef WORKER_RUN_INPUT_H
#define WORKER_RUN_INPUT_H

#include <stdint.h>

#include "model/template.h"
#include "model/tokenizer.h"

typedef struct run_input {
    int32_t *ids; /* all inside the vocabulary */
    uint64_t n_id;
    uint64_t cap;
    uint32_t n_vocab;
} run_input;

/* Reads text or ids from `path` ("-": standard input, text), then the question
 * (NULL: none), and what `chat` puts around them; ids get nothing before them.
 * `tok` NULL: there is no tokenizer.  ST_ARG: not UTF-8 (with
 * the byte's place), malformed file, ids outside the vocabulary, nothing in
 * it.  ST_NOTFOUND, ST_IO. */
status run_input_init(run_input *in, const char *path, const char *question,
                      const tokenizer *tok, const template *chat,
                      uint32_t n_vocab) MUST_USE;
void run_input_fini(run_input *in);

#endif
