/* SPDX-License-Identifier: Apache-2.0 */
/* Text to ids: added tokens are found first, what is between them is cut into
 * words, and each word is merged. */
#include "model/tokenizer.h"

#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "model/tokenizer_parts.h"

enum { MAX_TEXT = INT32_MAX }; /* bytes of one text */

struct tokenizer_scratch {
    const tokenizer *tok;
    bpe_scratch bpe;
    pretoken_scratch *pretoken;
    bpe_ids ids;
};

void
tokenizer_close(tokenizer *tok)
{
    if (tok == NULL)
        return;
    pretoken_free(tok->pretoken);
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
    size_t len = strlen(token);

    for (int i = 0; i < TOKENIZER_N_ADDED; i++) {
        int32_t id = added_find(&tok->added[i], token, len);

        if (id >= 0)
            return id;
    }
    return vocab_find(&tok->vocab, token, len);
}

status
tokenizer_scratch_new(tokenizer_scratch **out, const tokenizer *tok)
{
    tokenizer_scratch *s = NULL;
    status st;

    TRY(mem_new(&s, 1, sizeof(*s)));
    s->tok = tok;
    TRY(bpe_scratch_init(&s->bpe));
    TRY(pretoken_scratch_new(&s->pretoken, tok->pretoken));
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
    pretoken_scratch_free(s->pretoken);
    bpe_scratch_fini(&s->bpe);
    mem_free(s);
}

/* ------------------------------------------------------------- encode --- */

static status
encode_words(tokenizer_scratch *s, const char *text, size_t len)
{
    const tokenizer *tok = s->tok;
    size_t at = 0;
    size_t end = 0;
    status st;

    for (; at < len; at = end) {
        TRY(pretoken_next(tok->pretoken, s->pretoken, text, len, at, &end));
        TRY(bpe_word(&tok->bpe, &s->bpe, text + at, end - at, &s->ids));
    }
    return ST_OK;

fail:
    return st;
}

/* Takes the tokens of one list out of the text; what is between them goes to
 * the next list, and from the last one to the words. */
static status
encode_added(tokenizer_scratch *s, int list, const char *text, size_t len,
             bool special)
{
    const added_entry *e;
    size_t from = 0;
    size_t at;
    status st;

    if (list == TOKENIZER_N_ADDED)
        return encode_words(s, text, len);
    while ((e = added_next(&s->tok->added[list], text, len, from, special,
                           &at)) != NULL) {
        TRY(encode_added(s, list + 1, text + from, at - from, special));
        TRY(bpe_ids_add(&s->ids, &e->id, 1));
        from = at + e->len;
    }
    TRY(encode_added(s, list + 1, text + from, len - from, special));
    return ST_OK;

fail:
    return st;
}

status
tokenizer_encode(tokenizer_scratch *scratch, const int32_t **ids, size_t *n_id,
                 const char *text, size_t len, bool special)
{
    status st;

    if (len > MAX_TEXT)
        return status_fail(ST_LIMIT, "a text of %zu bytes, at most %d at once",
                           len, MAX_TEXT);
    TRY(utf8_check(text, len));
    scratch->ids.n = 0;
    TRY(encode_added(scratch, 0, text, len, special));
    *ids = scratch->ids.id;
    *n_id = scratch->ids.n;
    return ST_OK;

fail:
    return st;
}

/* ---------------------------------------------------------------- cut --- */

static bool
is_border(const tokenizer *tok, const char *text, size_t len, size_t at)
{
    if (!pretoken_border(text, len, at))
        return false;
    for (int i = 0; i < TOKENIZER_N_ADDED; i++)
        if (added_crosses(&tok->added[i], text, len, at))
            return false;
    return true;
}

/* Places nearer to the end than the longest added token and one character
 * are left for later: what follows might change the verdict, and then the cut
 * would depend on how the text arrived.  For the same reason nothing behind
 * `limit` is looked at. */
size_t
tokenizer_cut(const tokenizer *tok, const char *text, size_t len, size_t limit)
{
    size_t seen = len < limit ? len : limit;
    size_t margin = 4;

    for (int i = 0; i < TOKENIZER_N_ADDED; i++)
        if (margin < tok->added[i].max_len)
            margin = tok->added[i].max_len;
    if (pretoken_is_known(tok->pretoken))
        for (size_t at = seen; at-- > margin + 1;)
            if (is_border(tok, text, seen, at - margin))
                return at - margin;
    if (len < limit)
        return 0;
    seen -= utf8_tail(text, seen);
    return seen > 0 ? seen : limit;
}

/* -------------------------------------------------------------- decode --- */

void
tokenizer_piece(const tokenizer *tok, int32_t id, bool special,
                const char **bytes, size_t *len)
{
    const vocab_token *t;

    *bytes = "";
    *len = 0;
    if (id < 0 || (uint32_t)id >= tok->vocab.n_token)
        return;
    t = &tok->vocab.token[id];
    if (t->kind == VOCAB_NONE || (t->kind == VOCAB_SPECIAL && !special))
        return;
    *bytes = tok->vocab.bytes + t->at;
    *len = t->len;
}
