/* SPDX-License-Identifier: Apache-2.0 */
/* Ids to text as they come: whole characters only, and nothing that may turn
 * out to be a stop string. */
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "model/tokenizer_parts.h"

typedef struct stop {
    char *text;
    size_t len;
} stop;

struct tokenizer_stream {
    const tokenizer *tok;
    stop *stop;
    size_t n_stop;
    bytes first;  /* what the answer begins with */
    bool begun;   /* there was a token that is text */
    size_t strip; /* spaces at the beginning that still may go */
    char tail[4]; /* the beginning of a character */
    size_t n_tail;
    char *text; /* handed out by the last call, then held back */
    size_t given, n, cap;
    bool stopped;
};

status
tokenizer_stream_new(tokenizer_stream **out, const tokenizer *tok,
                     const char *const *stops, size_t n_stop)
{
    tokenizer_stream *s = NULL;
    status st;

    TRY(mem_new(&s, 1, sizeof(*s)));
    s->tok = tok;
    s->strip = tok->spelling.set.n_strip;
    TRY(mem_new(&s->stop, n_stop, sizeof(*s->stop)));
    for (size_t i = 0; i < n_stop; i++) {
        if (stops[i][0] == '\0')
            TRY(status_fail(ST_ARG, "a stop string is empty"));
        TRY(mem_strdup(&s->stop[i].text, stops[i]));
        s->stop[i].len = strlen(stops[i]);
        s->n_stop++;
    }
    *out = s;
    return ST_OK;

fail:
    tokenizer_stream_free(s);
    return st;
}

void
tokenizer_stream_free(tokenizer_stream *s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; i < s->n_stop; i++)
        mem_free(s->stop[i].text);
    mem_free(s->stop);
    bytes_fini(&s->first);
    mem_free(s->text);
    mem_free(s);
}

/* A token of n bytes adds at most one U+FFFD for each and for the tail. */
static status
reserve(tokenizer_stream *s, size_t n)
{
    size_t need = s->n + 3 * (n + sizeof(s->tail));
    status st;

    if (need <= s->cap)
        return ST_OK;
    TRY(mem_resize(&s->text, 2 * need, 1));
    s->cap = 2 * need;
    return ST_OK;

fail:
    return st;
}

static void
put(tokenizer_stream *s, const char *text, size_t n)
{
    memcpy(s->text + s->n, text, n);
    s->n += n;
}

/* n bytes that are no character.  The library that writes these files makes
 * one U+FFFD of them, or one of each where bytes are tokens by name. */
static void
put_bad(tokenizer_stream *s, size_t n)
{
    size_t times = s->tok->spelling.set.byte_names ? n : 1;

    for (size_t i = 0; i < times && n > 0; i++)
        put(s, "\xef\xbf\xbd", 3);
}

/* One byte joins the tail.  What becomes a character or can no longer become
 * one leaves it; the byte that spoils a character may begin the next. */
static void
push_byte(tokenizer_stream *s, char byte)
{
    s->tail[s->n_tail++] = byte;
    while (s->n_tail > 0) {
        size_t n;
        utf8_kind kind = utf8_next(s->tail, s->n_tail, &n);

        if (kind == UTF8_SHORT)
            break;
        if (kind == UTF8_GOOD)
            put(s, s->tail, n);
        else
            put_bad(s, n);
        s->n_tail -= n;
        memmove(s->tail, s->tail + n, s->n_tail);
    }
}

static void
push_bytes(tokenizer_stream *s, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (s->strip > 0 && text[i] == ' ') {
            s->strip--;
            continue;
        }
        s->strip = 0;
        push_byte(s, text[i]);
    }
}

/* The text ends at s->text + end: does a stop string too? */
static const stop *
stop_ending(const tokenizer_stream *s, size_t end)
{
    const stop *longest = NULL;

    for (size_t i = 0; i < s->n_stop; i++) {
        const stop *p = &s->stop[i];

        if (p->len <= end &&
            memcmp(s->text + end - p->len, p->text, p->len) == 0 &&
            (longest == NULL || p->len > longest->len))
            longest = p;
    }
    return longest;
}

/* Bytes at the end that begin a stop string. */
static size_t
held_back(const tokenizer_stream *s)
{
    size_t most = 0;

    for (size_t i = 0; i < s->n_stop; i++) {
        const stop *p = &s->stop[i];
        size_t n = p->len - 1 < s->n ? p->len - 1 : s->n;

        for (; n > most; n--)
            if (memcmp(s->text + s->n - n, p->text, n) == 0)
                most = n;
    }
    return most;
}

/* What was given by the last call goes; what was held back stays. */
static void
drop_given(tokenizer_stream *s)
{
    s->n -= s->given;
    if (s->given > 0)
        memmove(s->text, s->text + s->given, s->n);
    s->given = 0;
}

/* The stop string that is complete first decides, whatever pieces the text
 * came in; of those that end together the one that begins first. */
static void
find_stop(tokenizer_stream *s, size_t from)
{
    for (size_t end = from + 1; end <= s->n; end++) {
        const stop *found = stop_ending(s, end);

        if (found == NULL)
            continue;
        s->stopped = true;
        s->n = end - found->len;
        s->n_tail = 0;
        return;
    }
}

/* The bytes of a token, which may be the first of the answer. */
static status
read_token(tokenizer_stream *s, int32_t id, const char **text, size_t *n)
{
    const vocab *v = &s->tok->vocab;
    vocab_kind kind =
        id >= 0 && (uint32_t)id < v->n_token ? v->token[id].kind : VOCAB_NONE;
    status st;

    tokenizer_piece(s->tok, id, false, text, n);
    if (s->begun || kind == VOCAB_NONE || kind == VOCAB_SPECIAL)
        return ST_OK;
    TRY(spelling_first(&s->tok->spelling, v, id, &s->first));
    s->begun = true;
    *text = s->first.data;
    *n = s->first.len;

fail:
    return st;
}

/* Where bytes are tokens by name, any other token ends a character. */
static void
end_character(tokenizer_stream *s, int32_t id, size_t n)
{
    const spelling *p = &s->tok->spelling;

    if (n == 0 || !p->set.byte_names || spelling_is_byte(p, id))
        return;
    put_bad(s, s->n_tail);
    s->n_tail = 0;
}

status
tokenizer_stream_push(tokenizer_stream *s, int32_t id, const char **text,
                      size_t *len, bool *stopped)
{
    const char *token;
    size_t n;
    size_t old;
    status st;

    drop_given(s);
    TRY(read_token(s, id, &token, &n));
    TRY(reserve(s, n));
    old = s->n;
    if (!s->stopped) {
        end_character(s, id, n);
        push_bytes(s, token, n);
        find_stop(s, old);
    }
    s->given = s->stopped ? s->n : s->n - held_back(s);
    *text = s->text;
    *len = s->given;
    *stopped = s->stopped;
    return ST_OK;

fail:
    return st;
}

status
tokenizer_stream_finish(tokenizer_stream *s, const char **text, size_t *len)
{
    status st;

    drop_given(s);
    TRY(reserve(s, 0));
    put_bad(s, s->n_tail);
    s->n_tail = 0;
    s->given = s->n;
    *text = s->text;
    *len = s->given;
    return ST_OK;

fail:
    return st;
}
