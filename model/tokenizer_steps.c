/* SPDX-License-Identifier: Apache-2.0 */
/* The steps before merging in tokenizer.json: the normalizer, and the
 * pre-tokenizer. */
#include <string.h>

#include "base/utf8.h"
#include "model/tokenizer_parser.h"

typedef tokenizer_parser parser;

const char *
tokenizer_parser_type(const json *step)
{
    return json_text(json_get(step, "type"), NULL);
}

bool
tokenizer_parser_is(const json *step, const char *type)
{
    return strcmp(tokenizer_parser_type(step), type) == 0;
}

/* --------------------------------------------------------- normalizer --- */

/* What a step puts in. */
static status
read_content(const parser *p, normal_step *out, const json *text)
{
    const char *content = json_text(text, &out->n_to);

    if (out->n_to == 0 || out->n_to > NORMAL_LONGEST)
        return tokenizer_parser_bad(p, "what a normalizer puts in",
                                    "1 to 16 bytes");
    memcpy(out->to, content, out->n_to);
    return ST_OK;
}

/* One character: text may be cut before or behind it, never inside. */
static status
read_replace(const parser *p, normal_step *out, const json *step)
{
    const json *what = json_get(json_get(step, "pattern"), "String");
    const char *text = json_text(what, &out->n_from);
    size_t n;

    if (!json_is_string(what))
        return tokenizer_parser_unsupported(p, "normalizer Replace",
                                            "of anything but a plain text");
    if (out->n_from == 0 || utf8_next(text, out->n_from, &n) != UTF8_GOOD ||
        n != out->n_from)
        return tokenizer_parser_unsupported(p, "normalizer Replace",
                                            "of anything but one character");
    memcpy(out->from, text, n);
    out->kind = NORMAL_REPLACE;
    return read_content(p, out, json_get(step, "content"));
}

static status
read_normalizer(parser *p, const json *step)
{
    const json *list = json_get(step, "normalizers");
    normal *to = &p->tok->normalizer;
    normal_step s = {.kind = NORMAL_NFC};
    status st;

    if (tokenizer_parser_is(step, "Sequence")) {
        for (size_t i = 0; i < json_size(list); i++)
            TRY(read_normalizer(p, json_at(list, i)));
        return ST_OK;
    }
    if (tokenizer_parser_is(step, "Prepend")) {
        s.kind = NORMAL_PREPEND;
        TRY(read_content(p, &s, json_get(step, "prepend")));
    } else if (tokenizer_parser_is(step, "Replace")) {
        TRY(read_replace(p, &s, step));
    } else if (!tokenizer_parser_is(step, "NFC")) {
        return tokenizer_parser_unsupported(p, "normalizer",
                                            tokenizer_parser_type(step));
    } else if (to->n > 0) {
        return tokenizer_parser_unsupported(p, "normalizer",
                                            "NFC behind another");
    }
    TRY(normal_add(to, &s));
    return ST_OK;

fail:
    return st;
}

/* ------------------------------------------------------ pre-tokenizer --- */

/* Step `i` of a pre-tokenizer, which is a sequence or a step itself. */
static const json *
step_at(const json *pre, size_t i)
{
    if (tokenizer_parser_is(pre, "Sequence"))
        return json_at(json_get(pre, "pretokenizers"), i);
    return i == 0 && !json_is_null(pre) ? pre : NULL;
}

/* A word is what the pattern matches, and what is left between matches. */
static status
read_split(parser *p, const json *split)
{
    const json *regex = json_get(json_get(split, "pattern"), "Regex");
    const char *behavior = json_text(json_get(split, "behavior"), NULL);
    const char *text;
    size_t len;

    if (!json_is_string(regex))
        return tokenizer_parser_unsupported(
            p, "pre_tokenizer Split", "by anything but a regular expression");
    if (strcmp(behavior, "Isolated") != 0)
        return tokenizer_parser_unsupported(p, "pre_tokenizer Split", behavior);
    if (tokenizer_parser_flag(split, "invert", false))
        return tokenizer_parser_unsupported(p, "pre_tokenizer Split", "invert");
    text = json_text(regex, &len);
    return pretoken_add_pattern(&p->tok->pretoken, text, len);
}

static status
read_byte_level(parser *p, const json *step)
{
    if (tokenizer_parser_flag(step, "add_prefix_space", true))
        return tokenizer_parser_unsupported(p, "add_prefix_space", "true");
    p->letters = true;
    if (!tokenizer_parser_flag(step, "use_regex", true))
        return ST_OK;
    return pretoken_add_pattern(&p->tok->pretoken, pattern_gpt2,
                                strlen(pattern_gpt2));
}

/* Files that are older than "prepend_scheme" have a flag. */
const char *
tokenizer_parser_scheme(const json *metaspace)
{
    const json *scheme = json_get(metaspace, "prepend_scheme");

    if (json_is_string(scheme))
        return json_text(scheme, NULL);
    return tokenizer_parser_flag(metaspace, "add_prefix_space", true) ? "always"
                                                                      : "never";
}

status
tokenizer_parser_mark(const parser *p, const json *metaspace)
{
    const char *mark = json_text(json_get(metaspace, "replacement"), NULL);

    if (strcmp(mark, "\u2581") != 0)
        return tokenizer_parser_unsupported(p, "Metaspace with the mark", mark);
    return ST_OK;
}

static status
read_metaspace(parser *p, const json *step)
{
    const char *scheme = tokenizer_parser_scheme(step);
    normal_step space = {.kind = NORMAL_REPLACE,
                         .from = " ",
                         .n_from = 1,
                         .to = "\u2581",
                         .n_to = 3};
    normal_step prefix = {.kind = NORMAL_PREFIX, .to = "\u2581", .n_to = 3};
    status st;

    TRY(tokenizer_parser_mark(p, step));
    TRY(normal_add(&p->tok->marks, &space));
    if (strcmp(scheme, "first") == 0)
        prefix.kind = NORMAL_FIRST;
    else if (strcmp(scheme, "always") != 0 && strcmp(scheme, "never") != 0)
        TRY(tokenizer_parser_unsupported(p, "prepend_scheme", scheme));
    if (strcmp(scheme, "never") != 0)
        TRY(normal_add(&p->tok->marks, &prefix));
    if (tokenizer_parser_flag(step, "split", true))
        TRY(pretoken_add(&p->tok->pretoken, PRETOKEN_MARK));
    return ST_OK;

fail:
    return st;
}

static status
read_digits(parser *p, const json *step)
{
    bool alone = tokenizer_parser_flag(step, "individual_digits", false);

    return pretoken_add(&p->tok->pretoken,
                        alone ? PRETOKEN_DIGIT : PRETOKEN_DIGITS);
}

/* Splits and digits and then ByteLevel, or Metaspace alone, or nothing. */
static status
read_pre_tokenizer(parser *p, const json *pre)
{
    const json *step;
    size_t i = 0;
    status st;

    for (; (step = step_at(pre, i)) != NULL && !p->letters; i++) {
        const char *type = tokenizer_parser_type(step);

        if (strcmp(type, "Split") == 0)
            TRY(read_split(p, step));
        else if (strcmp(type, "Digits") == 0)
            TRY(read_digits(p, step));
        else if (strcmp(type, "ByteLevel") == 0)
            TRY(read_byte_level(p, step));
        else if (strcmp(type, "Metaspace") == 0 && i == 0 &&
                 step_at(pre, 1) == NULL)
            return read_metaspace(p, step);
        else
            return tokenizer_parser_unsupported(p, "pre_tokenizer", type);
    }
    if (step != NULL)
        return tokenizer_parser_unsupported(p, "pre_tokenizer",
                                            "of more steps");
    if (i > 0 && !p->letters)
        return tokenizer_parser_unsupported(p, "pre_tokenizer",
                                            "without ByteLevel");
    return ST_OK;

fail:
    return st;
}

status
tokenizer_parser_steps(parser *p)
{
    const json *normalizer = json_get(p->root, "normalizer");
    status st;

    if (!json_is_null(normalizer))
        TRY(read_normalizer(p, normalizer));
    TRY(read_pre_tokenizer(p, json_get(p->root, "pre_tokenizer")));
    return ST_OK;

fail:
    return st;
}
