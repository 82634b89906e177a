/* SPDX-License-Identifier: Apache-2.0 */
/* Safe places inside words, and between words that two characters alone do not
 * tell apart.
 *
 * Words: a known pattern matches from left to right, looks back at nothing,
 * and decides on a word by what follows it up to the next character that is no
 * space.  So a word that ends before such a character ends there for good.
 *
 * Inside a word: let b be a place where two tokens of the merged beginning
 * w[0..n) meet, and L the longest token's length.  In the merged whole, some
 * token ends at a place m with n - L < m <= n, and up to there it is w[0..m)
 * merged by itself, because no merge crossed m.  And w[0..m) is w[0..b) and
 * w[b..m), each merged by itself, if merging does nothing to the two tokens
 * that meet at b.  If that is so for every m, tokens meet at b in the whole
 * too, and what is before and behind can be merged apart. */
#include <string.h>

#include "base/utf8.h"
#include "model/tokenizer_cut.h"

enum {
    MAX_TOKEN = 1024, /* longest token for which the inside is looked at */
    MAX_TRIES = 32,   /* places that are looked at */
    CERTAIN = 16      /* bytes that a pattern's fixed part may look ahead */
};

/* The last of a row of places, each with the length of what ends there. */
typedef struct places {
    size_t at[MAX_TRIES], width[MAX_TRIES];
    size_t n; /* that there were */
} places;

static void
places_keep(places *p, size_t at, size_t width)
{
    p->at[p->n % MAX_TRIES] = at;
    p->width[p->n % MAX_TRIES] = width;
    p->n++;
}

static size_t
places_count(const places *p)
{
    return p->n < MAX_TRIES ? p->n : MAX_TRIES;
}

/* Where the last is, for i = 0, or the i-th before it. */
static size_t
places_from_last(const places *p, size_t i)
{
    return (p->n - 1 - i) % MAX_TRIES;
}

typedef struct giant {
    tokenizer_scratch *s;
    const char *raw;  /* the piece */
    const char *text; /* the same, normalized */
    size_t n_raw, len;
    size_t lead; /* bytes that were put before the text */
    bool same;   /* raw and text are */
    size_t margin;
    size_t last_solid; /* the last place of a character that is no space */
    size_t at;         /* walking over words */
    places words;      /* their ends */
    size_t best;
} giant;

/* The place in the piece of a place in the normalized text: every character
 * became one. */
static size_t
raw_place(const giant *g, size_t place)
{
    size_t at = 0;
    size_t n;

    if (g->same)
        return place;
    for (size_t i = g->lead; i < place; i += n) {
        size_t n_raw;

        (void)utf8_next(g->text + i, g->len - i, &n);
        (void)utf8_next(g->raw + at, g->n_raw - at, &n_raw);
        at += n_raw;
    }
    return at;
}

/* Whether the place may be a cut as far as all but words are concerned. */
static status
may_cut(const giant *g, bool *out, size_t place)
{
    size_t at = raw_place(g, place);
    bool nfc = normal_has(&g->s->tok->normalizer, NORMAL_NFC);

    *out = false;
    if (((unsigned char)g->raw[at] & 0xc0) == 0x80 ||
        (nfc && !unicode_is_inert(unicode_at(g->raw, g->n_raw, at))))
        return ST_OK;
    return tokenizer_cut_clear(g->s, out, g->raw, g->n_raw, at);
}

/* -------------------------------------------------------------- words --- */

static void
find_last_solid(giant *g)
{
    size_t end =
        g->len > g->margin + CERTAIN ? g->len - g->margin - CERTAIN : 0;

    while (end > 0 && (((unsigned char)g->text[end] & 0xc0) == 0x80 ||
                       unicode_is_space(unicode_at(g->text, g->len, end))))
        end--;
    g->last_solid = end;
}

static status
see_word(void *ctx, const char *word, size_t len)
{
    giant *g = ctx;

    (void)word;
    g->at += len;
    if (g->at <= g->last_solid)
        places_keep(&g->words, g->at, len);
    return ST_OK;
}

static status
cut_between(giant *g)
{
    tokenizer_scratch *s = g->s;
    bool good = false;
    status st;

    find_last_solid(g);
    TRY(pretoken_each(&s->tok->pretoken, &s->pretoken, g->text, g->len,
                      see_word, g));
    for (size_t i = 0; i < places_count(&g->words) && !good; i++) {
        g->best = g->words.at[places_from_last(&g->words, i)];
        TRY(may_cut(g, &good, g->best));
    }
    if (!good)
        g->best = 0;

fail:
    return st;
}

/* ------------------------------------------------------------- inside --- */

typedef enum class { LETTER, NUMBER, SPACE, OTHER } class;

static class class_of(uint32_t c)
{
    if (unicode_is_space(c))
        return SPACE;
    if (unicode_is_number(c))
        return NUMBER;
    return unicode_is_letter(c) ? LETTER : OTHER;
}

/* Whether the piece is one run of a class, but perhaps for its first
 * character, and a part of it is a word in the same way as the whole: then the
 * same alternative of each known pattern goes through both. */
static bool
is_one_run(const giant *g)
{
    size_t first;
    size_t n;
    class run;
    class before;

    (void)utf8_next(g->text, g->len, &first);
    if (first >= g->len)
        return false;
    run = class_of(unicode_at(g->text, g->len, first));
    before = class_of(utf8_value(g->text, first));
    for (size_t i = first; i < g->len; i += n) {
        uint32_t c = unicode_at(g->text, g->len, i);

        (void)utf8_next(g->text + i, g->len - i, &n);
        /* A line's end may end the word before spaces. */
        if (class_of(c) != run || c == '\r' || c == '\n')
            return false;
    }
    if (before == run)
        return g->text[0] != '\r' && g->text[0] != '\n';
    return run == LETTER || (run != SPACE && g->text[0] == ' ');
}

/* Bytes of the text that a token stands for. */
static size_t
width_of(const tokenizer *tok, int32_t id)
{
    for (int i = 0; i < 256 && tok->bpe.set.chars; i++)
        if (tok->bpe.byte_id[i] == id)
            return 1;
    return tok->vocab.token[id].len;
}

static status
merge(const giant *g, const char *text, size_t len)
{
    g->s->ids.n = 0;
    return bpe_merged(&g->s->tok->bpe, &g->s->bpe, text, len, &g->s->ids);
}

/* Whether merging leaves the token that ends at `place`, of `n_left` bytes,
 * and the first of text[place..end) as they are. */
static status
stays(const giant *g, bool *out, size_t place, size_t n_left, size_t end)
{
    const bpe_ids *ids = &g->s->ids;
    size_t n_right;
    int32_t right;
    status st;

    *out = false;
    TRY(merge(g, g->text + place, end - place));
    if (ids->n == 0)
        return ST_OK;
    right = ids->id[0];
    n_right = width_of(g->s->tok, right);
    TRY(merge(g, g->text + place - n_left, n_left + n_right));
    *out = ids->n == 2 && ids->id[1] == right &&
           width_of(g->s->tok, ids->id[0]) == n_left;

fail:
    return st;
}

static status
holds(const giant *g, bool *out, size_t place, size_t n_left)
{
    size_t longest = g->s->tok->bpe.longest;
    status st;

    TRY(may_cut(g, out, place));
    for (size_t m = g->len - longest + 1; m <= g->len && *out; m++)
        if (!g->s->tok->bpe.set.chars || m == g->len ||
            ((unsigned char)g->text[m] & 0xc0) != 0x80)
            TRY(stays(g, out, place, n_left, m));

fail:
    return st;
}

/* Where tokens end before `limit`. */
static status
find_borders(const giant *g, places *b, size_t limit)
{
    const bpe_ids *ids = &g->s->ids;
    size_t at = 0;
    status st;

    b->n = 0;
    TRY(merge(g, g->text, g->len));
    for (size_t i = 0; i < ids->n; i++) {
        size_t width = width_of(g->s->tok, ids->id[i]);

        at += width;
        if (at <= limit)
            places_keep(b, at, width);
    }
    /* Something in the text has no token. */
    if (at != g->len)
        b->n = 0;

fail:
    return st;
}

static status
cut_inside(giant *g)
{
    size_t longest = g->s->tok->bpe.longest;
    places b;
    status st;

    if (longest > MAX_TOKEN || g->len <= 6 * longest + g->margin ||
        (!g->s->tok->bpe.set.chars && !is_one_run(g)))
        return ST_OK;
    TRY(find_borders(g, &b, g->len - 4 * longest - g->margin));
    for (size_t i = 0; i < places_count(&b); i++) {
        size_t k = places_from_last(&b, i);
        bool good;

        if (b.at[k] <= longest + g->lead)
            break;
        TRY(holds(g, &good, b.at[k], b.width[k]));
        if (good) {
            g->best = b.at[k];
            return ST_OK;
        }
    }
    return ST_OK;

fail:
    return st;
}

/* ------------------------------------------------------- added tokens --- */

/* Behind an added token the text begins anew, as long as none takes anything
 * from what is beside it and nothing is put before what follows. */
static bool
begins_anew(const tokenizer *tok, const added *a)
{
    return a->n > 0 && !tok->bpe.set.chars && !a->any.lstrip &&
           !a->any.rstrip && !a->any.single_word;
}

/* The end of the last token of the second list that would be the same with
 * more text.  Those of the first must not be there. */
static void
cut_behind_added(giant *g)
{
    const tokenizer *tok = g->s->tok;
    const added *a = &tok->added[1];
    added_walk walk = {0};
    size_t limit = g->len - g->margin;

    if (!begins_anew(tok, a) || g->len <= g->margin ||
        added_next(&tok->added[0], &(added_walk){0}, g->text, g->len, true))
        return;
    while (added_next(a, &walk, g->text, g->len, true) && walk.from <= limit) {
        if (tok->vocab.token[walk.id].kind == VOCAB_SPECIAL)
            break;
        if (unicode_is_inert(unicode_at(g->text, g->len, walk.from)))
            g->best = walk.from;
    }
}

/* -------------------------------------------------------------- whole --- */

/* Whether the piece is in normal form C, if that is asked for. */
static status
check_form(const giant *g, bool *out)
{
    tokenizer_scratch *s = g->s;
    status st;

    *out = !normal_has(&s->tok->normalizer, NORMAL_NFC);
    if (*out)
        return ST_OK;
    s->giant.len = 0;
    TRY(unicode_nfc(&s->normalizer.unicode, &s->giant, g->raw, g->n_raw));
    *out = s->giant.len == g->n_raw &&
           memcmp(s->giant.data, g->raw, g->n_raw) == 0;

fail:
    return st;
}

/* The text of the piece as words see it, in the scratch. */
static status
normalize(giant *g, bool begins)
{
    tokenizer_scratch *s = g->s;
    const tokenizer *tok = s->tok;
    normal_part part = {
        .text = g->raw, .len = g->n_raw, .begins = begins, .first = begins};
    status st;

    TRY(normal_apply(&tok->normalizer, &s->normalizer, &part));
    TRY(normal_apply(&tok->marks, &s->marks, &part));
    s->giant.len = 0;
    TRY(bytes_add(&s->giant, part.text, part.len));

fail:
    return st;
}

/* *good = whether the places of the text are known, and of words at no
 * cost. */
static status
prepare(giant *g, bool *good, bool begins)
{
    const tokenizer *tok = g->s->tok;
    size_t n_without = 0;
    status st;

    TRY(check_form(g, good));
    if (!*good)
        return ST_OK;
    TRY(normalize(g, false));
    n_without = g->s->giant.len;
    if (begins)
        TRY(normalize(g, true));
    g->text = g->s->giant.data;
    g->len = g->s->giant.len;
    g->lead = g->len - n_without;
    g->same = g->len == g->n_raw && memcmp(g->text, g->raw, g->len) == 0;
    *good = g->same ||
            (tok->bpe.set.chars && normal_keeps_places(&tok->normalizer));

fail:
    return st;
}

status
tokenizer_cut_giant(tokenizer_scratch *s, size_t *cut, const char *text,
                    size_t len, bool begins)
{
    const tokenizer *tok = s->tok;
    giant g = {
        .s = s, .raw = text, .n_raw = len, .margin = tokenizer_cut_margin(tok)};
    bool good;
    status st;

    *cut = 0;
    if (utf8_check(text, len) != ST_OK)
        return ST_OK;
    if (tok->bpe.set.chars ? !tok->bpe.set.fallback
                           : !pretoken_is_known(&tok->pretoken))
        return ST_OK;
    TRY(prepare(&g, &good, begins));
    if (!good)
        return ST_OK;
    if (!tok->bpe.set.chars)
        TRY(cut_between(&g));
    if (g.best == 0)
        cut_behind_added(&g);
    if (g.best == 0)
        TRY(cut_inside(&g));
    *cut = g.best > 0 ? raw_place(&g, g.best) : 0;
    return ST_OK;

fail:
    return st;
}
