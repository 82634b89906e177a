/* SPDX-License-Identifier: Apache-2.0 */
/* What a tokenizer is made of.  Internal to tokenizer*.c. */
#ifndef MODEL_TOKENIZER_PARTS_H
#define MODEL_TOKENIZER_PARTS_H

#include "model/added.h"
#include "model/bpe.h"
#include "model/pretoken.h"
#include "model/tokenizer.h"
#include "model/vocab.h"

enum { TOKENIZER_N_ADDED = 2 }; /* lists of added tokens, in order of search */

struct tokenizer {
    vocab vocab;
    bpe bpe;
    added added[TOKENIZER_N_ADDED];
    pretoken *pretoken;
    int32_t bos;
};

#endif
