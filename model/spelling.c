/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens spelled out one by one, in the order of their ids. */
#include "model/spelling.h"

#include <string.h>

#include "base/mem.h"
#include "model/bytelevel.h"

enum { MAX_TEXT = 1 << 28 }; /* bytes of all tokens */

void
spelling_fini(spelling *s)
{
    bytes_fini(&s->text);
    mem_free(s->end);
    mem_free(s->is_byte);
    memset(s, 0, sizeof(*s));
}

static int
digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte that "<0xNN>" names; -1: it is no such name. */
static int
byte_named(const char *text, size_t len)
{
    if (len != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>' ||
        digit_of(text[3]) < 0 || digit_of(text[4]) < 0)
        return -1;
    return digit_of(text[3]) * 16 + digit_of(text[4]);
}

static status
swap(bytes *out, const spelling_swap *w, bool drop, size_t from)
{
    bytes old = {0};
    const char *at;
    const char *end;
    status st;

    TRY(bytes_add(&old, out->data + from, out->len - from));
    out->len = from;
    end = old.data + old.len;
    for (const char *text = old.data; text < end; text = at + w->n_from) {
        at = memmem(text, (size_t)(end - text), w->from, w->n_from);
        TRY(bytes_add(out, text, (size_t)((at != NULL ? at : end) - text)));
        if (at == NULL)
            break;
        if (!drop)
            TRY(bytes_add(out, w->to, w->n_to));
    }
    st = ST_OK;

fail:
    bytes_fini(&old);
    return st;
}

static bool
holds(const bytes *b, size_t from, const spelling_swap *w)
{
    return b->len > from &&
           memmem(b->data + from, b->len - from, w->from, w->n_from) != NULL;
}

/* A token whose letters are not all known is taken as it is. */
static status
spell_letters(bytes *out, const char *text, size_t len)
{
    size_t n;
    status st;

    TRY(bytes_reserve(out, len));
    if (bytelevel_decode(out->data + out->len, &n, text, len))
        out->len += n;
    else
        TRY(bytes_add(out, text, len));
    return ST_OK;

fail:
    return st;
}

static status
spell(const spelling *s, const vocab *v, const vocab_token *t, bool drop,
      bytes *out)
{
    const char *text = v->bytes + t->at;
    size_t from = out->len;
    status st;

    /* The vocabulary has plain tokens as bytes already. */
    if (s->set.letters && (t->kind == VOCAB_ADDED || t->kind == VOCAB_SPECIAL))
        return spell_letters(out, text, t->len);
    TRY(bytes_add(out, text, t->len));
    for (size_t i = 0; i < s->set.n_swap; i++)
        if (holds(out, from, &s->set.swap[i]))
            TRY(swap(out, &s->set.swap[i], drop, from));
    return ST_OK;

fail:
    return st;
}

static status
spell_token(spelling *s, const vocab *v, uint32_t id)
{
    size_t from = s->text.len;
    int byte = -1;
    status st;

    if (v->token[id].kind != VOCAB_NONE)
        TRY(spell(s, v, &v->token[id], false, &s->text));
    if (s->set.byte_names && s->text.len > from)
        byte = byte_named(s->text.data + from, s->text.len - from);
    if (byte >= 0) {
        s->text.data[from] = (char)byte;
        s->text.len = from + 1;
        s->is_byte[id / 8] |= (uint8_t)(1 << id % 8);
    }
    if (s->text.len > MAX_TEXT)
        return status_fail(ST_LIMIT, "the tokens have over %d bytes", MAX_TEXT);
    s->end[id] = (uint32_t)s->text.len;
    return ST_OK;

fail:
    return st;
}

status
spelling_init(spelling *s, const vocab *v, const spelling_setup *set)
{
    status st;

    memset(s, 0, sizeof(*s));
    s->set = *set;
    s->n_token = v->n_token;
    TRY(mem_new(&s->end, v->n_token, sizeof(*s->end)));
    TRY(mem_new(&s->is_byte, v->n_token / 8 + 1, 1));
    for (uint32_t id = 0; id < v->n_token; id++)
        TRY(spell_token(s, v, id));
    return ST_OK;

fail:
    return st;
}

const char *
spelling_of(const spelling *s, int32_t id, size_t *len)
{
    uint32_t from = id > 0 ? s->end[id - 1] : 0;

    *len = s->end[id] - from;
    return *len > 0 ? s->text.data + from : "";
}

bool
spelling_is_byte(const spelling *s, int32_t id)
{
    return s->is_byte[id / 8] >> id % 8 & 1;
}

status
spelling_first(const spelling *s, const vocab *v, int32_t id, bytes *out)
{
    const char *text;
    size_t len;

    if (s->set.drop_first)
        return spell(s, v, &v->token[id], true, out);
    text = spelling_of(s, id, &len);
    return bytes_add(out, text, len);
}
