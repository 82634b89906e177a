/* SPDX-License-Identifier: Apache-2.0 */
/* The steps around the model in tokenizer.json: what comes before merging,
 * and what is put before the ids. */
#include <string.h>

#include "model/tokenizer_parser.h"

typedef tokenizer_parser parser;

/* The "type" of a step; "" when it has none. */
static const char *
type_of(const json *step)
{
    return json_text(json_get(step, "type"), NULL);
}

static bool
is_type(const json *step, const char *type)
{
    return strcmp(type_of(step), type) == 0;
}

/* ------------------------------------------------------ pre-tokenizer --- */

/* Step `i` of a pre-tokenizer, which is a sequence or a step itself. */
static const json *
step_at(const json *pre, size_t i)
{
    if (is_type(pre, "Sequence"))
        return json_at(json_get(pre, "pretokenizers"), i);
    return i == 0 ? pre : NULL;
}

/* A word is what the pattern matches, and what is left between matches. */
static status
read_split(const parser *p, const json *split, const char **pattern,
           size_t *len)
{
    const json *regex = json_get(json_get(split, "pattern"), "Regex");
    const char *behavior = json_text(json_get(split, "behavior"), NULL);

    if (!json_is_string(regex))
        return tokenizer_parser_unsupported(
            p, "pre_tokenizer Split", "by anything but a regular expression");
    if (strcmp(behavior, "Isolated") != 0)
        return tokenizer_parser_unsupported(p, "pre_tokenizer Split", behavior);
    if (tokenizer_parser_flag(split, "invert", false))
        return tokenizer_parser_unsupported(p, "pre_tokenizer Split", "invert");
    *pattern = json_text(regex, len);
    return ST_OK;
}

/* ByteLevel alone, with its own pattern, or Split and ByteLevel without. */
static status
read_pre_tokenizer(parser *p)
{
    const json *pre = json_get(p->root, "pre_tokenizer");
    const json *step = step_at(pre, 0);
    const char *pattern = pretoken_gpt2;
    size_t len = strlen(pretoken_gpt2);
    size_t n = 0;
    bool split = is_type(step, "Split");
    status st;

    if (split) {
        TRY(read_split(p, step, &pattern, &len));
        step = step_at(pre, ++n);
    }
    if (!is_type(step, "ByteLevel"))
        return tokenizer_parser_unsupported(p, "pre_tokenizer", type_of(step));
    if (step_at(pre, n + 1) != NULL)
        return tokenizer_parser_unsupported(p, "pre_tokenizer",
                                            "of more steps");
    if (tokenizer_parser_flag(step, "add_prefix_space", true))
        return tokenizer_parser_unsupported(p, "add_prefix_space", "true");
    if (tokenizer_parser_flag(step, "use_regex", true) == split)
        return tokenizer_parser_unsupported(p, "pre_tokenizer",
                                            "with two patterns, or with none,");
    TRY(pretoken_new(&p->tok->pretoken, pattern, len));
    return ST_OK;

fail:
    return st;
}

/* ----------------------------------------------------- post-processor --- */

/* The one id that a special token of a template stands for. */
static status
read_template_token(parser *p, const json *processor, const char *name)
{
    const json *token = json_get(json_get(processor, "special_tokens"), name);
    const json *ids = json_get(token, "ids");
    const json *id = json_at(ids, 0);

    if (!json_is_array(ids) || json_size(ids) != 1 || !json_is_integer(id))
        return tokenizer_parser_bad(p, "a special token of post_processor",
                                    "one id");
    if (json_int(id) < 0 || json_int(id) >= p->tok->vocab.n_token ||
        p->tok->vocab.token[json_int(id)].kind == VOCAB_NONE)
        return tokenizer_parser_bad(p, "a special token of post_processor",
                                    "a token");
    if (p->tok->bos >= 0)
        return tokenizer_parser_unsupported(p, "post_processor",
                                            "with two tokens");
    p->tok->bos = (int32_t)json_int(id);
    return ST_OK;
}

/* Special tokens, then the text: the only order that is built, because an
 * answer goes on behind the text. */
static status
read_template(parser *p, const json *processor)
{
    const json *single = json_get(processor, "single");
    bool text = false;
    status st;

    for (size_t i = 0; i < json_size(single); i++) {
        const json *piece = json_at(single, i);
        const json *special = json_get(piece, "SpecialToken");

        if (special == NULL && json_get(piece, "Sequence") != NULL && !text) {
            text = true;
            continue;
        }
        if (special == NULL || text)
            return tokenizer_parser_unsupported(
                p, "post_processor", "with anything behind the text");
        TRY(read_template_token(p, processor,
                                json_text(json_get(special, "id"), NULL)));
    }
    if (!text)
        return tokenizer_parser_bad(p, "post_processor.single",
                                    "a list with the text in it");
    return ST_OK;

fail:
    return st;
}

static status
read_processor(parser *p, const json *processor)
{
    if (json_is_null(processor) || is_type(processor, "ByteLevel"))
        return ST_OK;
    if (is_type(processor, "TemplateProcessing"))
        return read_template(p, processor);
    return tokenizer_parser_unsupported(p, "post_processor",
                                        type_of(processor));
}

static status
read_post_processor(parser *p)
{
    const json *processor = json_get(p->root, "post_processor");
    const json *list = json_get(processor, "processors");
    status st;

    if (!is_type(processor, "Sequence"))
        return read_processor(p, processor);
    for (size_t i = 0; i < json_size(list); i++)
        TRY(read_processor(p, json_at(list, i)));
    return ST_OK;

fail:
    return st;
}

/* -------------------------------------------------------------- whole --- */

status
tokenizer_parser_steps(parser *p)
{
    const json *normalizer = json_get(p->root, "normalizer");
    const json *decoder = json_get(p->root, "decoder");
    status st;

    if (!json_is_null(normalizer))
        return tokenizer_parser_unsupported(p, "normalizer",
                                            type_of(normalizer));
    if (!is_type(decoder, "ByteLevel"))
        return tokenizer_parser_unsupported(p, "decoder", type_of(decoder));
    TRY(read_pre_tokenizer(p));
    TRY(read_post_processor(p));
    return ST_OK;

fail:
    return st;
}
