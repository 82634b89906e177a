/* SPDX-License-Identifier: Apache-2.0 */
/* Attention, as every block has it: from the normalised rows to the rows that
 * the output projection takes. */
#ifndef MODEL_ATTEND_H
#define MODEL_ATTEND_H

#include "model/phase.h"

typedef struct attend {
    kernel_view qkv;   /* [r, (nh + 2 nkv) hd]: q, k, v */
    kernel_view mixed; /* [r, nh hd], the result */
} attend;

attend attend_take(phase *p);

/* mixed = attention(rope(norm(Q in)), rope(norm(K in)), V in), with the norms
 * and the rotation where the model has them, over the cell's own rows and what
 * the memory gives beside them.  Tokens' keys and values go where later rows
 * look for them.  Enqueue-only. */
status attend_run(const phase *p, kernel_queue *q, const attend *at,
                  kernel_view in) MUST_USE;

#endif
