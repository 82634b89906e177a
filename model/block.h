/* SPDX-License-Identifier: Apache-2.0 */
/* A decoder layer: one of the three tables of functions.
 *
 * A block is one file that ends with its table; model.c lists them. */
#ifndef MODEL_BLOCK_H
#define MODEL_BLOCK_H

#include "model/phase.h"

typedef struct block {
    const char *name;
    /* The norm of its layers and before the head. */
    status (*norm)(kernel_queue *q, const kernel_norm_args *a);
    /* Takes what run() takes, so that p->used tells the bytes. */
    void (*measure)(phase *p);
    /* x = layer(x) for every cell; frozen: keys and values go to the cache,
     * and rows attend to all that is there.  Enqueue-only. */
    status (*run)(phase *p, kernel_queue *q);
} block;

extern const block block_llama; /* also Mistral, Qwen2, Qwen3, SmolLM */
extern const block block_gpt2;
extern const block block_neox;

#endif
