/* SPDX-License-Identifier: Apache-2.0 */
/* What a tokenizer is made of.  Internal to tokenizer*.c. */
#ifndef MODEL_TOKENIZER_PARTS_H
#define MODEL_TOKENIZER_PARTS_H

#include "model/added.h"
#include "model/bpe.h"
#include "model/normal.h"
#include "model/pretoken.h"
#include "model/spelling.h"
#include "model/tokenizer.h"
#include "model/vocab.h"

enum { TOKENIZER_N_ADDED = 2 }; /* lists of added tokens, in order of search */

/* The way of text: the first list of added tokens, the normalizer, the second
 * list, `marks` (what Metaspace does to the text), `pretoken`, `bpe`. */
struct tokenizer {
    vocab vocab;
    bpe bpe;
    added added[TOKENIZER_N_ADDED];
    normal normalizer;
    normal marks;
    pretoken pretoken;
    spelling spelling;
    int32_t bos;
};

struct tokenizer_scratch {
    const tokenizer *tok;
    bpe_scratch bpe;
    normal_scratch normalizer;
    normal_scratch marks;
    pretoken_scratch pretoken;
    bpe_ids ids;
    bytes window; /* of tokenizer_cut.c */
    bytes giant;  /* of tokenizer_giant.c */
};

#endif
