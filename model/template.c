/* SPDX-License-Identifier: Apache-2.0 */
/* Chat templates are programs in a language of their own; here they are told
 * by the marks that they contain, and what they make of one message of a user
 * is written out. */
#include "model/template.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"

enum { MAX_BYTES = 1 << 20, MAX_FILE = 64 << 10, MAX_TEXT = 4096 };

struct template
{
    const char *name;
    int32_t *ids[TEMPLATE_N_PLACE];
    size_t n[TEMPLATE_N_PLACE];
};

/* The three texts before they are ids. */
typedef struct texts {
    const char *name;
    const char *mark; /* a token that the tokenizer must have, or NULL */
    char text[TEMPLATE_N_PLACE][MAX_TEXT];
} texts;

static void
set(texts *t, template_place place, const char *text)
{
    (void)snprintf(t->text[place], MAX_TEXT, "%s", text);
}

/* -------------------------------------------------------------- shapes --- */

#define HEADER(role) "<|start_header_id|>" role "<|end_header_id|>\n\n"

/* From 3.1 on a system message with two dates is always there; the second is
 * the one that the published templates fall back to, so that the same
 * question is the same ids tomorrow. */
static void
llama3(texts *t, const char *source)
{
    bool dates = strstr(source, "Cutting Knowledge Date") != NULL;
    t->name = "llama3";
    t->mark = "<|start_header_id|>";
    set(t, TEMPLATE_DOCUMENT,
        dates ? HEADER("system") "Cutting Knowledge Date: December 2023\n"
                                 "Today Date: 26 Jul 2024\n\n<|eot_id|>" HEADER(
                                     "user")
              : HEADER("user"));
    set(t, TEMPLATE_QUESTION, "\n\n");
    set(t, TEMPLATE_ANSWER, "<|eot_id|>" HEADER("assistant"));
}

/* The space behind [INST] is the one that these tokenizers put before a
 * document. */
static void
llama2(texts *t, const char *source)
{
    bool space = strstr(source, " [/INST]") != NULL;
    t->name = "llama2";
    set(t, TEMPLATE_DOCUMENT, "[INST]");
    set(t, TEMPLATE_QUESTION, "\n\n");
    set(t, TEMPLATE_ANSWER, space ? " [/INST]" : "[/INST]");
}

/* The system message that a template has when the user gives none: text behind
 * the mark that no quote ends before the message's own end does.  Line ends in
 * the source's strings are themselves, or written "\\n". */
static status
default_system(const char *source, const char **text, size_t *len)
{
    static const char begin[] = "<|im_start|>system";
    for (const char *p = source; (p = strstr(p, begin)) != NULL;) {
        p += sizeof begin - 1;
        if (*p != '\n' && strncmp(p, "\\n", 2) != 0)
            continue;
        p += *p == '\n' ? 1 : 2;
        const char *end = strstr(p, "<|im_end|>");
        size_t n = end != NULL ? (size_t)(end - p) : 0;
        if (n == 0 || memchr(p, '\'', n) != NULL || memchr(p, '"', n) != NULL)
            continue;
        if (memchr(p, '\\', n) != NULL)
            return status_fail(ST_UNSUPPORTED,
                               "the chat template's system message has "
                               "escapes: it takes --template plain, or a "
                               "file");
        *text = p;
        *len = n;
        return ST_OK;
    }
    return ST_OK;
}

static status
chatml(texts *t, const char *source)
{
    const char *text = "";
    size_t n = 0;
    status st = default_system(source, &text, &n);
    t->name = "chatml";
    t->mark = "<|im_start|>";
    if (st == ST_OK && n > MAX_TEXT / 2)
        st = status_fail(ST_LIMIT,
                         "the chat template's system message is "
                         "longer than %d bytes",
                         MAX_TEXT / 2);
    (void)snprintf(t->text[TEMPLATE_DOCUMENT], MAX_TEXT, "%s%.*s%s%s",
                   n > 0 ? "<|im_start|>system\n" : "", (int)n, text,
                   n > 0 ? "<|im_end|>\n" : "", "<|im_start|>user\n");
    set(t, TEMPLATE_QUESTION, "\n\n");
    set(t, TEMPLATE_ANSWER, "<|im_end|>\n<|im_start|>assistant\n");
    return st;
}

static status
recognise(texts *t, const char *source)
{
    if (strstr(source, "<|start_header_id|>") != NULL &&
        strstr(source, "<|eot_id|>") != NULL)
        llama3(t, source);
    else if (strstr(source, "<|im_start|>") != NULL &&
             strstr(source, "<|im_end|>") != NULL)
        return chatml(t, source);
    else if (strstr(source, "[INST]") != NULL &&
             strstr(source, "[/INST]") != NULL)
        llama2(t, source);
    else
        return status_fail(ST_UNSUPPORTED,
                           "the model's chat template has none of the shapes "
                           "that are known (Llama 3, Llama 2, ChatML): it "
                           "takes --template plain, or a file");
    return ST_OK;
}

/* --------------------------------------------------------------- files --- */

/* The source in tokenizer_config.json: a string, or one called default in a
 * list of named ones.  NULL: none. */
static const char *
source_in(const json *root)
{
    const json *v = json_get(root, "chat_template");
    if (json_is_string(v))
        return json_text(v, NULL);
    for (size_t i = 0; i < json_size(v); i++) {
        const json *item = json_at(v, i);
        if (strcmp(json_text(json_get(item, "name"), NULL), "default") == 0)
            return json_text(json_get(item, "template"), NULL);
    }
    return NULL;
}

static status
recognise_config(texts *t, const char *dir, bool *found)
{
    char *path = NULL;
    json_doc *doc = NULL;
    status st = ST_OK;

    TRY(file_join(&path, dir, "tokenizer_config.json"));
    if (!file_exists(path))
        goto fail; /* none is fine */
    TRY(json_read(&doc, path, MAX_BYTES, "tokenizer_config.json"));
    const char *source = source_in(json_root(doc));
    *found = source != NULL;
    if (source != NULL)
        TRY(recognise(t, source));
fail:
    json_free(doc);
    mem_free(path);
    return st;
}

static status
recognise_jinja(texts *t, const char *dir)
{
    char *path = NULL, *text = NULL;
    size_t len = 0;
    status st = ST_OK;

    TRY(file_join(&path, dir, "chat_template.jinja"));
    if (file_exists(path)) {
        TRY(file_read(&text, &len, path, MAX_BYTES));
        TRY(recognise(t, text));
    }
fail:
    mem_free(text);
    mem_free(path);
    return st;
}

static status
read_auto(texts *t, const char *dir)
{
    bool found = false;
    status st = ST_OK;
    TRY(recognise_config(t, dir, &found));
    if (!found)
        TRY(recognise_jinja(t, dir));
fail:
    return st;
}

/* Our own format: the text itself, with two places in it.  The line end that
 * an editor leaves at the end of a file is not part of it. */
static status
read_file(texts *t, const char *path)
{
    static const char document[] = "{document}", question[] = "{question}";
    char *text = NULL;
    size_t len = 0;
    status st = ST_OK;

    TRY(file_read(&text, &len, path, MAX_FILE));
    if (len > 0 && text[len - 1] == '\n')
        text[--len] = '\0';
    char *d = strstr(text, document), *q = strstr(text, question);
    if (strlen(text) != len || d == NULL || q == NULL || q < d ||
        strstr(d + 1, document) != NULL || strstr(q + 1, question) != NULL)
        TRY(status_fail(ST_ARG,
                        "%s: a template has {document} and then {question}, "
                        "each once",
                        path));
    *d = *q = '\0';
    const char *part[] = {text, d + sizeof document - 1,
                          q + sizeof question - 1};
    for (size_t i = 0; i < TEMPLATE_N_PLACE; i++) {
        if (strlen(part[i]) >= MAX_TEXT)
            TRY(status_fail(ST_LIMIT, "%s: a part is longer than %d bytes",
                            path, MAX_TEXT - 1));
        set(t, (template_place)i, part[i]);
    }
    t->name = "file";
fail:
    mem_free(text);
    return st;
}

/* ----------------------------------------------------------------- ids --- */

static status
encode(template *t, const texts *from, tokenizer_scratch *scratch, size_t i)
{
    const int32_t *ids = NULL;
    size_t n = 0;
    unsigned flags = TOKENIZER_SPECIAL | (i > 0 ? TOKENIZER_GOES_ON : 0);
    status st = ST_OK;

    if (from->text[i][0] == '\0')
        return ST_OK;
    TRY(tokenizer_encode(scratch, &ids, &n, from->text[i],
                         strlen(from->text[i]), flags));
    TRY(mem_new(&t->ids[i], n, sizeof *ids));
    memcpy(t->ids[i], ids, n * sizeof *ids);
    t->n[i] = n;
fail:
    return st;
}

static status
encode_all(template *t, const texts *from, const tokenizer *tok)
{
    tokenizer_scratch *scratch = NULL;
    status st = ST_OK;

    if (from->mark != NULL && tokenizer_find(tok, from->mark) < 0)
        TRY(status_fail(ST_ARG,
                        "the chat template has %s, which is no token of "
                        "tokenizer.json",
                        from->mark));
    TRY(tokenizer_scratch_new(&scratch, tok));
    for (size_t i = 0; i < TEMPLATE_N_PLACE; i++)
        TRY(encode(t, from, scratch, i));
fail:
    tokenizer_scratch_free(scratch);
    return st;
}

status
template_open(template **out, const char *how, const char *dir,
              const tokenizer *tok)
{
    bool choose = strcmp(how, "auto") == 0;
    template *t = NULL;
    texts *from = NULL;
    status st = ST_OK;

    TRY(mem_new(&t, 1, sizeof *t));
    TRY(mem_new(&from, 1, sizeof *from));
    from->name = "plain";
    if (strcmp(how, "plain") != 0 && !choose) {
        TRY(read_file(from, how));
        if (tok == NULL)
            TRY(status_fail(ST_ARG, "--template needs tokenizer.json"));
    } else if (choose && tok != NULL) {
        TRY(read_auto(from, dir));
    }
    t->name = from->name;
    if (tok != NULL)
        TRY(encode_all(t, from, tok));
    *out = t;
    t = NULL;
fail:
    mem_free(from);
    template_close(t);
    return st;
}

void
template_close(template *t)
{
    if (t == NULL)
        return;
    for (size_t i = 0; i < TEMPLATE_N_PLACE; i++)
        mem_free(t->ids[i]);
    mem_free(t);
}

const char *
template_name(const template *t)
{
    return t->name;
}

const int32_t *
template_ids(const template *t, template_place place, size_t *n)
{
    *n = t->n[place];
    return t->ids[place];
}

unsigned
template_flags(const template *t)
{
    return strcmp(t->name, "plain") == 0 ? 0 : TOKENIZER_GOES_ON;
}
