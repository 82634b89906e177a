/* SPDX-License-Identifier: Apache-2.0 */
/* What stands around a document and a question so that a chat model answers:
 * three runs of token ids, before the document, between it and the question,
 * and before the answer.
 *
 * They are made once; a document is read without its question being known, and
 * the ids of both are those of one run over the whole.  Immutable: any thread
 * may read it.  Text library. */
#ifndef MODEL_TEMPLATE_H
#define MODEL_TEMPLATE_H

#include "model/tokenizer.h"

typedef struct template template;

typedef enum template_place {
    TEMPLATE_DOCUMENT = 0, /* behind the begin-of-text token */
    TEMPLATE_QUESTION,
    TEMPLATE_ANSWER,
    TEMPLATE_N_PLACE
} template_place;

/* `how`: "plain" (nothing around them), "auto" (what chat_template in
 * `dir`/tokenizer_config.json, or `dir`/chat_template.jinja, is recognised as;
 * plain if there is none), or a file with {document} and {question} in it.
 * `tok` may be NULL with "plain" and, for ids, with "auto".  ST_UNSUPPORTED: a
 * chat template of an unknown shape.  ST_ARG: a file without its two places,
 * or a tokenizer without the template's tokens. */
status template_open(template **out, const char *how, const char *dir,
                     const tokenizer *tok) MUST_USE;
void template_close(template *t);

/* "plain", "llama3", "llama2", "chatml" or "file". */
const char *template_name(const template *t);
const int32_t *template_ids(const template *t, template_place place, size_t *n);
/* Flags of tokenizer_encode() for a question. */
unsigned template_flags(const template *t);

#endif
