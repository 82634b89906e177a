/* SPDX-License-Identifier: Apache-2.0 */
/* tokenizer.json to the tables of a tokenizer.
 *
 * Only what changes ids or bytes is read.  Whatever of that is not built is
 * refused by name: leaving it out would give other ids. */
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "model/bytelevel.h"
#include "model/tokenizer_parser.h"

enum {
    MAX_FILE = 64 << 20, /* bytes of tokenizer.json */
    MAX_MERGES = 1 << 20,
    MAX_ADDED = 1 << 14
};

typedef tokenizer_parser parser;

status
tokenizer_parser_bad(const parser *p, const char *name, const char *expected)
{
    return status_fail(ST_ARG, "%s: %s must be %s", p->what, name, expected);
}

status
tokenizer_parser_unsupported(const parser *p, const char *name,
                             const char *value)
{
    return status_fail(ST_UNSUPPORTED, "%s: %s %.60s is not supported", p->what,
                       name, value);
}

bool
tokenizer_parser_flag(const json *object, const char *name, bool fallback)
{
    const json *v = json_get(object, name);

    return json_is_bool(v) ? json_bool(v) : fallback;
}

static status
reserve_word(parser *p, size_t len)
{
    status st;

    if (len <= p->word_cap)
        return ST_OK;
    TRY(mem_resize(&p->word, 2 * len, 1));
    p->word_cap = 2 * len;
    return ST_OK;

fail:
    return st;
}

/* --------------------------------------------------------- vocabulary --- */

static bool
see_id(void *ctx, const char *key, const json *id)
{
    parser *p = ctx;

    (void)key;
    if (!json_is_integer(id) || json_int(id) < 0 || json_int(id) >= VOCAB_MAX) {
        p->st = tokenizer_parser_bad(p, "a token id",
                                     "an integer from 0 to 1048575");
        return false;
    }
    if (json_int(id) > p->max_id)
        p->max_id = json_int(id);
    return true;
}

static status
check_added(parser *p, const json *entry)
{
    size_t len;
    const char *text = json_text(json_get(entry, "content"), &len);

    if (len == 0 || len > ADDED_MAX_LEN || strlen(text) != len)
        return tokenizer_parser_bad(p, "the content of an added token",
                                    "1 to 256 bytes");
    (void)see_id(p, "", json_get(entry, "id"));
    return p->st;
}

static bool
put_plain(void *ctx, const char *key, const json *id)
{
    parser *p = ctx;
    vocab *v = &p->tok->vocab;
    size_t len = strlen(key);
    size_t n;

    p->st = reserve_word(p, len);
    if (p->st != ST_OK)
        return false;
    if (len > 0 && !p->letters)
        p->st = vocab_put(v, json_int(id), VOCAB_PLAIN, key, len);
    else if (len > 0 && bytelevel_decode(p->word, &n, key, len))
        p->st = vocab_put(v, json_int(id), VOCAB_PLAIN, p->word, n);
    else
        p->st = vocab_put(v, json_int(id), VOCAB_ODD, key, len);
    return p->st == ST_OK;
}

static status
put_added(parser *p, const json *entry)
{
    size_t len;
    const char *text = json_text(json_get(entry, "content"), &len);
    vocab_kind kind = tokenizer_parser_flag(entry, "special", false)
                          ? VOCAB_SPECIAL
                          : VOCAB_ADDED;

    return vocab_put(&p->tok->vocab, json_int(json_get(entry, "id")), kind,
                     text, len);
}

static status
read_vocab(parser *p)
{
    const json *plain = json_get(json_get(p->root, "model"), "vocab");
    const json *list = json_get(p->root, "added_tokens");
    status st;

    if (!json_is_object(plain) || json_size(plain) == 0)
        return tokenizer_parser_bad(p, "model.vocab", "an object of tokens");
    if (!json_is_null(list) &&
        (!json_is_array(list) || json_size(list) > MAX_ADDED))
        return tokenizer_parser_bad(p, "added_tokens",
                                    "a list of at most 16384");
    p->max_id = -1;
    json_each(plain, see_id, p);
    TRY(p->st);
    for (size_t i = 0; i < json_size(list); i++)
        TRY(check_added(p, json_at(list, i)));
    /* Escapes make the file's text longer than what it says, never shorter. */
    TRY(vocab_init(&p->tok->vocab, (uint32_t)p->max_id + 1, p->len));
    json_each(plain, put_plain, p);
    TRY(p->st);
    for (size_t i = 0; i < json_size(list); i++)
        TRY(put_added(p, json_at(list, i)));
    TRY(vocab_index(&p->tok->vocab));
    return ST_OK;

fail:
    return st;
}

/* Tokens that are taken from the normalized text come after the others, and
 * are normalized like it. */
static status
put_in_list(parser *p, normal_scratch *scratch, const json *entry)
{
    bool special = tokenizer_parser_flag(entry, "special", false);
    bool late = tokenizer_parser_flag(entry, "normalized", !special);
    added_flags flags = {
        .lstrip = tokenizer_parser_flag(entry, "lstrip", false),
        .rstrip = tokenizer_parser_flag(entry, "rstrip", false),
        .single_word = tokenizer_parser_flag(entry, "single_word", false)};
    normal_part part = {.begins = true, .first = true};
    status st;

    part.text = json_text(json_get(entry, "content"), &part.len);
    if (late)
        TRY(normal_apply(&p->tok->normalizer, scratch, &part));
    TRY(added_put(&p->tok->added[late ? 1 : 0],
                  (int32_t)json_int(json_get(entry, "id")), part.text, part.len,
                  flags));
    return ST_OK;

fail:
    return st;
}

static status
read_added(parser *p)
{
    const json *list = json_get(p->root, "added_tokens");
    normal_scratch scratch = {0};
    status st;

    for (int i = 0; i < TOKENIZER_N_ADDED; i++)
        TRY(added_init(&p->tok->added[i], &p->tok->vocab, json_size(list)));
    for (size_t i = 0; i < json_size(list); i++)
        TRY(put_in_list(p, &scratch, json_at(list, i)));
    for (int i = 0; i < TOKENIZER_N_ADDED; i++)
        TRY(added_sort(&p->tok->added[i]));
    st = ST_OK;

fail:
    normal_scratch_fini(&scratch);
    return st;
}

/* ------------------------------------------------------------- merges --- */

/* "a b", where the one space parts them, or ["a", "b"]. */
static status
split_merge(const parser *p, const json *merge, const char *part[2],
            size_t len[2])
{
    if (json_is_array(merge) && json_size(merge) == 2) {
        for (size_t i = 0; i < 2; i++)
            part[i] = json_text(json_at(merge, i), &len[i]);
    } else {
        const char *space;

        part[0] = json_text(merge, &len[1]);
        space = strchr(part[0], ' ');
        part[1] = space != NULL ? space + 1 : part[0];
        len[0] = space != NULL ? (size_t)(space - part[0]) : 0;
        len[1] -= len[0] + (space != NULL ? 1 : 0);
    }
    if (len[0] == 0 || len[1] == 0)
        return tokenizer_parser_bad(p, "a merge", "a pair of tokens");
    return ST_OK;
}

static status
read_merge(parser *p, uint32_t rank, const json *merge)
{
    const char *part[2];
    size_t len[2];
    size_t n[2];
    status st;

    TRY(split_merge(p, merge, part, len));
    TRY(reserve_word(p, len[0] + len[1]));
    if (!p->letters) {
        memcpy(p->word, part[0], len[0]);
        memcpy(p->word + len[0], part[1], len[1]);
        return bpe_add(&p->tok->bpe, rank, p->word, len[0], len[1]);
    }
    if (!bytelevel_decode(p->word, &n[0], part[0], len[0]) ||
        !bytelevel_decode(p->word + n[0], &n[1], part[1], len[1]))
        return tokenizer_parser_bad(p, "a merge", "of byte-level tokens");
    TRY(bpe_add(&p->tok->bpe, rank, p->word, n[0], n[1]));
    return ST_OK;

fail:
    return st;
}

/* Where something in a text may be no token, the unknown one must be one. */
static status
check_unknown(const parser *p, const char *unk)
{
    const bpe *b = &p->tok->bpe;
    bool needed = b->set.chars && !b->set.fallback;

    for (int i = 0; i < 256 && !b->set.chars; i++)
        needed |= b->byte_id[i] < 0;
    if (needed && unk[0] != '\0' && b->set.unk < 0)
        return tokenizer_parser_bad(p, "model.unk_token", "a token");
    return ST_OK;
}

static status
read_merges(parser *p, const json *model)
{
    const char *unk = json_text(json_get(model, "unk_token"), NULL);
    const json *merges = json_get(model, "merges");
    size_t n = json_size(merges);
    status st;

    if (!json_is_array(merges) || n > MAX_MERGES)
        return tokenizer_parser_bad(p, "model.merges",
                                    "a list of at most 1048576");
    TRY(bpe_init(
        &p->tok->bpe, &p->tok->vocab,
        &(bpe_setup){
            .chars = !p->letters,
            .fallback = tokenizer_parser_flag(model, "byte_fallback", false),
            .fuse_unk = tokenizer_parser_flag(model, "fuse_unk", false),
            .ignore_merges =
                tokenizer_parser_flag(model, "ignore_merges", false),
            .unk = tokenizer_find(p->tok, unk),
            .n_merge = n}));
    TRY(check_unknown(p, unk));
    for (size_t i = 0; i < n; i++)
        TRY(read_merge(p, (uint32_t)i, json_at(merges, i)));
    return ST_OK;

fail:
    return st;
}

static status
check_model(const parser *p, const json *model)
{
    static const char *const affixes[] = {"continuing_subword_prefix",
                                          "end_of_word_suffix"};
    const char *type = json_text(json_get(model, "type"), NULL);

    /* Older files do not say the type of a model that has merges. */
    if (strcmp(type, "BPE") != 0 &&
        !(type[0] == '\0' && json_is_array(json_get(model, "merges"))))
        return tokenizer_parser_unsupported(p, "model", type);
    if (p->letters && tokenizer_parser_flag(model, "byte_fallback", false))
        return tokenizer_parser_unsupported(p, "model.byte_fallback",
                                            "with ByteLevel");
    if (!p->letters && tokenizer_parser_flag(model, "ignore_merges", false))
        return tokenizer_parser_unsupported(p, "model.ignore_merges",
                                            "without ByteLevel");
    if (json_number(json_get(model, "dropout")) != 0)
        return tokenizer_parser_unsupported(p, "model.dropout", "");
    for (size_t i = 0; i < 2; i++) {
        const char *affix = json_text(json_get(model, affixes[i]), NULL);

        if (affix[0] != '\0')
            return tokenizer_parser_unsupported(p, affixes[i], affix);
    }
    return ST_OK;
}

/* -------------------------------------------------------------- whole --- */

static status
read_all(parser *p)
{
    const json *model = json_get(p->root, "model");
    status st;

    if (!json_is_object(model))
        return tokenizer_parser_bad(p, "model", "an object");
    TRY(tokenizer_parser_steps(p));
    TRY(check_model(p, model));
    TRY(read_vocab(p));
    TRY(read_added(p));
    TRY(read_merges(p, model));
    TRY(tokenizer_parser_ends(p));
    return ST_OK;

fail:
    return st;
}

status
tokenizer_parse(tokenizer **out, const char *text, size_t len, const char *what)
{
    parser p = {.what = what, .len = len, .st = ST_OK};
    json_doc *doc = NULL;
    status st;

    TRY(mem_new(&p.tok, 1, sizeof(*p.tok)));
    p.tok->bos = -1;
    TRY(json_parse(&doc, text, len, what));
    p.root = json_root(doc);
    TRY(read_all(&p));
    *out = p.tok;
    p.tok = NULL;

fail:
    mem_free(p.word);
    json_free(doc);
    tokenizer_close(p.tok);
    return st;
}

status
tokenizer_open(tokenizer **out, const char *dir)
{
    char *path = NULL;
    char *text = NULL;
    size_t len;
    status st;

    TRY(file_join(&path, dir, "tokenizer.json"));
    TRY(file_read(&text, &len, path, MAX_FILE));
    TRY(tokenizer_parse(out, text, len, "tokenizer.json"));

fail:
    mem_free(text);
    mem_free(path);
    return st;
}
