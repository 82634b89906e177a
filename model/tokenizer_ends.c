/* SPDX-License-Identifier: Apache-2.0 */
/* What comes behind merging in tokenizer.json: what is put before the ids, and
 * how they become text again. */
#include <string.h>

#include "model/tokenizer_parser.h"

typedef tokenizer_parser parser;

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
    if (json_is_null(processor) || tokenizer_parser_is(processor, "ByteLevel"))
        return ST_OK;
    if (tokenizer_parser_is(processor, "TemplateProcessing"))
        return read_template(p, processor);
    return tokenizer_parser_unsupported(p, "post_processor",
                                        tokenizer_parser_type(processor));
}

static status
read_post_processor(parser *p)
{
    const json *processor = json_get(p->root, "post_processor");
    const json *list = json_get(processor, "processors");
    status st;

    if (!tokenizer_parser_is(processor, "Sequence"))
        return read_processor(p, processor);
    for (size_t i = 0; i < json_size(list); i++)
        TRY(read_processor(p, json_at(list, i)));
    return ST_OK;

fail:
    return st;
}

/* ------------------------------------------------------------ decoder --- */

/* The order of the steps that a sequence may have. */
typedef enum stage {
    STAGE_REPLACE,
    STAGE_BYTES,
    STAGE_FUSE,
    STAGE_STRIP,
    STAGE_END
} stage;

static status
add_swap(const parser *p, spelling_setup *set, const char *from, const char *to)
{
    spelling_swap *w = &set->swap[set->n_swap];

    if (set->n_swap == SPELLING_MAX_SWAP)
        return status_fail(ST_LIMIT, "%s: the decoder has over %d Replace",
                           p->what, SPELLING_MAX_SWAP);
    w->n_from = strlen(from);
    w->n_to = strlen(to);
    if (w->n_from == 0 || w->n_from > sizeof(w->from) ||
        w->n_to > sizeof(w->to))
        return tokenizer_parser_bad(p, "what a decoder replaces",
                                    "1 to 16 bytes, by as many at most");
    memcpy(w->from, from, w->n_from);
    memcpy(w->to, to, w->n_to);
    set->n_swap++;
    return ST_OK;
}

static status
read_replace(const parser *p, spelling_setup *set, const json *step)
{
    const json *what = json_get(json_get(step, "pattern"), "String");

    if (!json_is_string(what))
        return tokenizer_parser_unsupported(p, "decoder Replace",
                                            "of anything but a plain text");
    return add_swap(p, set, json_text(what, NULL),
                    json_text(json_get(step, "content"), NULL));
}

static status
read_strip(const parser *p, spelling_setup *set, const json *step)
{
    const char *content = json_text(json_get(step, "content"), NULL);
    int64_t start = json_int(json_get(step, "start"));

    if (strcmp(content, " ") != 0 || json_int(json_get(step, "stop")) != 0)
        return tokenizer_parser_unsupported(p, "decoder Strip",
                                            "of anything but leading spaces");
    if (start < 0 || start > 16)
        return tokenizer_parser_bad(p, "start of decoder Strip", "0 to 16");
    set->n_strip = (size_t)start;
    return ST_OK;
}

static status
read_metaspace(const parser *p, spelling_setup *set, const json *step)
{
    status st;

    TRY(tokenizer_parser_mark(p, step));
    TRY(add_swap(p, set, "\u2581", " "));
    set->drop_first = strcmp(tokenizer_parser_scheme(step), "never") != 0;
    return ST_OK;

fail:
    return st;
}

/* One step of a sequence; *at is the least stage that may come. */
static status
read_step(const parser *p, spelling_setup *set, const json *step, stage *at)
{
    static const char *const types[] = {"Replace", "ByteFallback", "Fuse",
                                        "Strip"};
    const char *type = tokenizer_parser_type(step);
    stage here = STAGE_REPLACE;

    while (here < STAGE_END && strcmp(type, types[here]) != 0)
        here++;
    /* Spaces of every single token would go without a Fuse before. */
    if (here == STAGE_END || here < *at ||
        (here == STAGE_STRIP && *at != STAGE_STRIP))
        return tokenizer_parser_unsupported(p, "decoder step", type);
    *at = here == STAGE_REPLACE ? here : here + 1;
    switch (here) {
    case STAGE_REPLACE:
        return read_replace(p, set, step);
    case STAGE_BYTES:
        set->byte_names = true;
        return ST_OK;
    case STAGE_STRIP:
        return read_strip(p, set, step);
    case STAGE_FUSE:
    case STAGE_END:
    default:
        return ST_OK;
    }
}

static status
read_sequence(const parser *p, spelling_setup *set, const json *list)
{
    stage at = STAGE_REPLACE;
    status st;

    for (size_t i = 0; i < json_size(list); i++)
        TRY(read_step(p, set, json_at(list, i), &at));
    return ST_OK;

fail:
    return st;
}

static status
read_decoder(parser *p, const json *decoder)
{
    const json *list = json_get(decoder, "decoders");
    spelling_setup set = {.letters = p->letters};
    status st;

    if (tokenizer_parser_is(decoder, "Sequence") && json_size(list) == 1)
        decoder = json_at(list, 0);
    if (tokenizer_parser_is(decoder, "ByteLevel") != p->letters)
        return tokenizer_parser_unsupported(p, "decoder",
                                            tokenizer_parser_type(decoder));
    if (tokenizer_parser_is(decoder, "Sequence"))
        TRY(read_sequence(p, &set, list));
    else if (tokenizer_parser_is(decoder, "Metaspace"))
        TRY(read_metaspace(p, &set, decoder));
    else if (!p->letters)
        return tokenizer_parser_unsupported(p, "decoder",
                                            tokenizer_parser_type(decoder));
    TRY(spelling_init(&p->tok->spelling, &p->tok->vocab, &set));
    return ST_OK;

fail:
    return st;
}

status
tokenizer_parser_ends(parser *p)
{
    status st;

    TRY(read_post_processor(p));
    TRY(read_decoder(p, json_get(p->root, "decoder")));
    return ST_OK;

fail:
    return st;
}
