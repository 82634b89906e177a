/* SPDX-License-Identifier: Apache-2.0 */
/* The pattern of a pre-tokenizer, compiled and matched. */
#include "model/pretoken.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"

enum {
    MAX_PATTERN = 4096,     /* bytes */
    MAX_NEST = 32,          /* parentheses */
    MAX_HEAP_KIB = 1 << 16, /* of one match */
    MATCH_STEPS = 1 << 16,  /* and MATCH_STEPS_PER_BYTE for each of the text */
    MATCH_STEPS_PER_BYTE = 8
};

const char pretoken_gpt2[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|"
    "\\s+(?!\\S)|\\s+";
static const char llama3[] =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|"
    " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
/* Llama 3's with single digits, as several other families have it. */
static const char one_digit[] =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}|"
    " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

struct pretoken {
    pcre2_code *code;
    bool known;
};

struct pretoken_scratch {
    pcre2_match_data *data;
    pcre2_match_context *context;
    bool found; /* by the last match */
};

/* ------------------------------------------------------------ compile --- */

/* The space of these files is Unicode's White_Space; PCRE2's \s has one
 * character more (U+180E).  out[] has room for the longest replacement of
 * each byte. */
static size_t
translate(char *out, const char *pattern, size_t len)
{
    static const char space[] = "\\p{White_Space}";
    static const char other[] = "\\P{White_Space}";
    size_t n = 0;

    for (size_t i = 0; i < len; i++) {
        bool escape = pattern[i] == '\\' && i + 1 < len;

        if (escape && (pattern[i + 1] == 's' || pattern[i + 1] == 'S')) {
            memcpy(out + n, pattern[i + 1] == 's' ? space : other,
                   sizeof(space) - 1);
            n += sizeof(space) - 1;
            i++;
            continue;
        }
        out[n++] = pattern[i];
        if (escape)
            out[n++] = pattern[++i];
    }
    return n;
}

static status
compile(pretoken *p, const char *pattern, size_t len)
{
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    char *text = NULL;
    int code = 0;
    PCRE2_SIZE at = 0;
    PCRE2_UCHAR why[128] = "";
    status st;

    if (context == NULL)
        TRY(status_fail(ST_NOMEM, "out of memory for a pattern"));
    (void)pcre2_set_parens_nest_limit(context, MAX_NEST);
    TRY(mem_new(&text, len, 16));
    len = translate(text, pattern, len);
    p->code = pcre2_compile((PCRE2_SPTR)text, len,
                            PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C,
                            &code, &at, context);
    if (p->code == NULL) {
        (void)pcre2_get_error_message(code, why, sizeof(why));
        TRY(status_fail(ST_ARG, "the pre-tokenizer's pattern: %s",
                        (const char *)why));
    }
    st = ST_OK;

fail:
    mem_free(text);
    pcre2_compile_context_free(context);
    return st;
}

static bool
equals(const char *pattern, size_t len, const char *known)
{
    return strlen(known) == len && memcmp(pattern, known, len) == 0;
}

status
pretoken_new(pretoken **out, const char *pattern, size_t len)
{
    pretoken *p = NULL;
    status st;

    if (len > MAX_PATTERN)
        return status_fail(ST_LIMIT,
                           "the pre-tokenizer's pattern has over %d bytes",
                           MAX_PATTERN);
    TRY(mem_new(&p, 1, sizeof(*p)));
    p->known = equals(pattern, len, pretoken_gpt2) ||
               equals(pattern, len, llama3) || equals(pattern, len, one_digit);
    TRY(compile(p, pattern, len));
    *out = p;
    return ST_OK;

fail:
    pretoken_free(p);
    return st;
}

void
pretoken_free(pretoken *p)
{
    if (p == NULL)
        return;
    pcre2_code_free(p->code);
    mem_free(p);
}

bool
pretoken_is_known(const pretoken *p)
{
    return p->known;
}

/* -------------------------------------------------------------- match --- */

status
pretoken_scratch_new(pretoken_scratch **out, const pretoken *p)
{
    pretoken_scratch *s = NULL;
    status st;

    TRY(mem_new(&s, 1, sizeof(*s)));
    s->data = pcre2_match_data_create_from_pattern(p->code, NULL);
    s->context = pcre2_match_context_create(NULL);
    if (s->data == NULL || s->context == NULL)
        TRY(status_fail(ST_NOMEM, "out of memory for matching"));
    (void)pcre2_set_heap_limit(s->context, MAX_HEAP_KIB);
    *out = s;
    return ST_OK;

fail:
    pretoken_scratch_free(s);
    return st;
}

void
pretoken_scratch_free(pretoken_scratch *s)
{
    if (s == NULL)
        return;
    pcre2_match_context_free(s->context);
    pcre2_match_data_free(s->data);
    mem_free(s);
}

/* A step is a place where the match may have to come back to; giving back one
 * character of a run of spaces is one.  The longest run there can be takes as
 * many steps as it has bytes, and no pattern that is of use takes many times
 * more. */
static uint32_t
step_limit(size_t len)
{
    if (len > (UINT32_MAX - MATCH_STEPS) / MATCH_STEPS_PER_BYTE)
        return UINT32_MAX;
    return (uint32_t)(MATCH_STEPS + MATCH_STEPS_PER_BYTE * len);
}

/* Looks for a match, not empty, at or (unless anchored) behind text[at]. */
static status
match(const pretoken *p, pretoken_scratch *s, const char *text, size_t len,
      size_t at, uint32_t anchored)
{
    int n = pcre2_match(p->code, (PCRE2_SPTR)text, len, at,
                        anchored | PCRE2_NOTEMPTY | PCRE2_NO_UTF_CHECK, s->data,
                        s->context);

    s->found = n >= 0;
    if (n >= 0 || n == PCRE2_ERROR_NOMATCH)
        return ST_OK;
    if (n == PCRE2_ERROR_NOMEMORY)
        return status_fail(ST_NOMEM, "out of memory for matching");
    return status_fail(
        ST_LIMIT, "the pre-tokenizer's pattern takes too long at byte %zu", at);
}

/* Text that nothing matches is a word of its own, up to the next match. */
status
pretoken_next(const pretoken *p, pretoken_scratch *s, const char *text,
              size_t len, size_t at, size_t *end)
{
    const PCRE2_SIZE *place = pcre2_get_ovector_pointer(s->data);
    status st;

    (void)pcre2_set_match_limit(s->context, step_limit(len - at));
    TRY(match(p, s, text, len, at, PCRE2_ANCHORED));
    if (s->found) {
        *end = place[1];
    } else {
        TRY(match(p, s, text, len, at, 0));
        *end = s->found ? place[0] : len;
    }
    /* A look-behind may begin a match before the place it was asked for. */
    if (*end <= at)
        return status_fail(ST_UNSUPPORTED,
                           "the pre-tokenizer's pattern goes backwards");
    return ST_OK;

fail:
    return st;
}

/* ------------------------------------------------------------- border --- */

/* Characters that are letters in every version of Unicode, of the scripts
 * that put no spaces between words. */
static bool
is_letter(uint32_t c)
{
    return (c >= 0x3041 && c <= 0x3096) || (c >= 0x30a1 && c <= 0x30fa) ||
           (c >= 0x4e00 && c <= 0x9fa5) || (c >= 0xac00 && c <= 0xd7a3);
}

/* Punctuation of those scripts; neither letter nor number nor space. */
static bool
is_mark(uint32_t c)
{
    return (c >= 0x3001 && c <= 0x3003) || (c >= 0x3008 && c <= 0x3011) ||
           (c >= 0xff01 && c <= 0xff0f) || (c >= 0xff1a && c <= 0xff20);
}

static bool
is_space(uint32_t c)
{
    return c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 ||
           c == 0x202f || c == 0x205f || c == 0x3000;
}

static bool
is_alnum(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
           (c >= 'A' && c <= 'Z');
}

/* The character that ends before text[at]; 0 if none does. */
static uint32_t
value_before(const char *text, size_t at)
{
    size_t start = at - 1;
    size_t n;

    while (start > 0 && at - start < 4 &&
           ((unsigned char)text[start] & 0xc0) == 0x80)
        start--;
    if (utf8_next(text + start, at - start, &n) != UTF8_GOOD || n != at - start)
        return 0;
    return utf8_value(text + start, n);
}

static uint32_t
value_at(const char *text, size_t len, size_t at)
{
    size_t n;

    if (utf8_next(text + at, len - at, &n) != UTF8_GOOD)
        return 0;
    return utf8_value(text + at, n);
}

/* Two rules, both true of each known pattern: no word has a space behind
 * something else, and none has a letter or digit and then neither.  No
 * pattern looks back, and the only look ahead stands behind spaces, so what
 * ends here ends in the same way without the rest. */
bool
pretoken_border(const char *text, size_t len, size_t at)
{
    uint32_t before = value_before(text, at);
    uint32_t next = value_at(text, len, at);
    bool word;

    if (before <= 0x20 || before == 0x7f || next == 0)
        return false;
    if (next == ' ')
        return !is_space(before);
    word = before < 0x80 ? is_alnum((unsigned char)before) : is_letter(before);
    return word &&
           (next < 0x80 ? !is_alnum((unsigned char)next) : is_mark(next));
}
