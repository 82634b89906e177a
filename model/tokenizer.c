/* SPDX-License-Identifier: Apache-2.0 */
/* Text to ids: added tokens are found first, what is between them is cut into
 * words, and each word is merged. */
#include "model/tokenizer.h"

#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "model/tokenizer_parts.h"

enum { MAX_TEXT = INT32_MAX }; /* bytes of one text */

void
tokenizer_close(tokenizer *tok)
{
    if (tok == NULL)
        return;
    spelling_fini(&tok->spelling);
    pretoken_fini(&tok->pretoken);
    bpe_fini(&tok->bpe);
    for (int i = 0; i < TOKENIZER_N_ADDED; i++)
        added_fini(&tok->added[i]);
    vocab_fini(&tok->vocab);
    mem_free(tok);
}

uint32_t
tokenizer_size(const tokenizer *tok)
{
    return tok->vocab.n_token;
}

int32_t
tokenizer_bos(const tokenizer *tok)
{
    return tok->bos;
}

int32_t
tokenizer_find(const tokenizer *tok, const char *token)
{
    const vocab *v = &tok->vocab;
    size_t len = strlen(token);

    for (uint32_t id = 0; id < v->n_token; id++) {
        const vocab_token *t = &v->token[id];

        if ((t->kind == VOCAB_ADDED || t->kind == VOCAB_SPECIAL) &&
            t->len == len && memcmp(v->bytes + t->at, token, len) == 0)
            return (int32_t)id;
    }
    return vocab_find(v, token, len);
}

status
tokenizer_scratch_new(tokenizer_scratch **out, const tokenizer *tok)
{
    tokenizer_scratch *s = NULL;
    status st;

    TRY(mem_new(&s, 1, sizeof(*s)));
    s->tok = tok;
    TRY(bpe_scratch_init(&s->bpe));
    TRY(pretoken_scratch_init(&s->pretoken, &tok->pretoken));
    *out = s;
    return ST_OK;

fail:
    tokenizer_scratch_free(s);
    return st;
}

void
tokenizer_scratch_free(tokenizer_scratch *s)
{
    if (s == NULL)
        return;
    mem_free(s->ids.id);
    bytes_fini(&s->giant);
    bytes_fini(&s->window);
    pretoken_scratch_fini(&s->pretoken);
    normal_scratch_fini(&s->marks);
    normal_scratch_fini(&s->normalizer);
    bpe_scratch_fini(&s->bpe);
    mem_free(s);
}

/* ------------------------------------------------------------- encode --- */

/* What merging cannot cross is merged alone: short parts are remembered. */
static status
encode_word(void *ctx, const char *word, size_t len)
{
    tokenizer_scratch *s = ctx;
    const bpe *b = &s->tok->bpe;
    size_t end = 0;
    status st;

    if (!b->set.chars)
        return bpe_word(b, &s->bpe, word, len, &s->ids);
    for (size_t at = 0; at < len; at = end) {
        bpe_part(b, word, len, at, &end);
        TRY(bpe_word(b, &s->bpe, word + at, end - at, &s->ids));
    }
    return ST_OK;

fail:
    return st;
}

static status
check_len(size_t len)
{
    if (len > MAX_TEXT)
        return status_fail(ST_LIMIT, "a text of %zu bytes, at most %d at once",
                           len, MAX_TEXT);
    return ST_OK;
}

static status encode_list(tokenizer_scratch *s, int list,
                          const normal_part *part, bool special) MUST_USE;

/* A part that the list has no token in, on its way to the next list. */
static status
encode_rest(tokenizer_scratch *s, int list, normal_part part, bool special)
{
    const tokenizer *tok = s->tok;
    status st;

    if (list == 0) {
        TRY(normal_apply(&tok->normalizer, &s->normalizer, &part));
        TRY(check_len(part.len));
        return encode_list(s, 1, &part, special);
    }
    TRY(normal_apply(&tok->marks, &s->marks, &part));
    TRY(check_len(part.len));
    TRY(pretoken_each(&tok->pretoken, &s->pretoken, part.text, part.len,
                      encode_word, s));

fail:
    return st;
}

static normal_part
slice(const normal_part *part, size_t from, size_t end)
{
    return (normal_part){.text = part->text + from,
                         .len = end - from,
                         .begins = part->begins || from > 0,
                         .first = part->first && from == 0};
}

/* Takes the tokens of one list out of the text. */
static status
encode_list(tokenizer_scratch *s, int list, const normal_part *part,
            bool special)
{
    const added *a = &s->tok->added[list];
    added_walk walk = {0};
    size_t from = 0;
    status st;

    while (added_next(a, &walk, part->text, part->len, special)) {
        if (from < walk.at)
            TRY(encode_rest(s, list, slice(part, from, walk.at), special));
        TRY(bpe_ids_add(&s->ids, &walk.id, 1));
        from = walk.from;
    }
    if (from < part->len)
        TRY(encode_rest(s, list, slice(part, from, part->len), special));
    return ST_OK;

fail:
    return st;
}

status
tokenizer_encode(tokenizer_scratch *scratch, const int32_t **ids, size_t *n_id,
                 const char *text, size_t len, unsigned flags)
{
    bool whole = (flags & TOKENIZER_GOES_ON) == 0;
    normal_part part = {
        .text = text, .len = len, .begins = whole, .first = whole};
    status st;

    TRY(check_len(len));
    TRY(utf8_check(text, len));
    scratch->ids.n = 0;
    TRY(encode_list(scratch, 0, &part, (flags & TOKENIZER_SPECIAL) != 0));
    *ids = scratch->ids.id;
    *n_id = scratch->ids.n;
    return ST_OK;

fail:
    return st;
}

/* -------------------------------------------------------------- decode --- */

void
tokenizer_piece(const tokenizer *tok, int32_t id, bool special,
                const char **text, size_t *len)
{
    const vocab_token *t;

    *text = "";
    *len = 0;
    if (id < 0 || (uint32_t)id >= tok->vocab.n_token)
        return;
    t = &tok->vocab.token[id];
    if (t->kind == VOCAB_NONE || (t->kind == VOCAB_SPECIAL && !special))
        return;
    *text = spelling_of(&tok->spelling, id, len);
}
