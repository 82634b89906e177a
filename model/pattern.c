/* SPDX-License-Identifier: Apache-2.0 */
/* Regular expressions, compiled and matched within limits. */
#include "model/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <string.h>

#include "base/mem.h"

enum {
    MAX_PATTERN = 4096,     /* bytes */
    MAX_NEST = 32,          /* parentheses */
    MAX_HEAP_KIB = 1 << 16, /* of one match */
    MATCH_STEPS = 1 << 16,  /* and MATCH_STEPS_PER_BYTE for each of the text */
    MATCH_STEPS_PER_BYTE = 8
};

const char pattern_gpt2[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|"
    "\\s+(?!\\S)|\\s+";
/* GPT-2's with pairs of digits: the sample model's. */
static const char pairs[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}{1,2}| ?[^\\s\\p{L}\\p{N}]+|"
    "\\s+(?!\\S)|\\s+";
static const char llama3[] =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|"
    " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
/* Llama 3's with single digits, as several other families have it. */
static const char one_digit[] =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}|"
    " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

struct pattern {
    pcre2_code *code;
    bool known;
};

struct pattern_scratch {
    pcre2_match_data *data;
    pcre2_match_context *context;
    bool found; /* by the last match */
};

/* ------------------------------------------------------------ compile --- */

/* The space of these files is Unicode's White_Space; PCRE2's \s has one
 * character more (U+180E).  out[] has room for the longest replacement of
 * each byte. */
static size_t
translate(char *out, const char *regex, size_t len)
{
    static const char space[] = "\\p{White_Space}";
    static const char other[] = "\\P{White_Space}";
    size_t n = 0;

    for (size_t i = 0; i < len; i++) {
        bool escape = regex[i] == '\\' && i + 1 < len;

        if (escape && (regex[i + 1] == 's' || regex[i + 1] == 'S')) {
            memcpy(out + n, regex[i + 1] == 's' ? space : other,
                   sizeof(space) - 1);
            n += sizeof(space) - 1;
            i++;
            continue;
        }
        out[n++] = regex[i];
        if (escape)
            out[n++] = regex[++i];
    }
    return n;
}

static status
compile(pattern *p, const char *regex, size_t len)
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
    len = translate(text, regex, len);
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
equals(const char *regex, size_t len, const char *known)
{
    return strlen(known) == len && memcmp(regex, known, len) == 0;
}

status
pattern_new(pattern **out, const char *regex, size_t len)
{
    pattern *p = NULL;
    status st;

    if (len > MAX_PATTERN)
        return status_fail(ST_LIMIT,
                           "the pre-tokenizer's pattern has over %d bytes",
                           MAX_PATTERN);
    TRY(mem_new(&p, 1, sizeof(*p)));
    p->known = equals(regex, len, pattern_gpt2) || equals(regex, len, pairs) ||
               equals(regex, len, llama3) || equals(regex, len, one_digit);
    TRY(compile(p, regex, len));
    *out = p;
    return ST_OK;

fail:
    pattern_free(p);
    return st;
}

void
pattern_free(pattern *p)
{
    if (p == NULL)
        return;
    pcre2_code_free(p->code);
    mem_free(p);
}

bool
pattern_is_known(const pattern *p)
{
    return p->known;
}

/* -------------------------------------------------------------- match --- */

status
pattern_scratch_new(pattern_scratch **out, const pattern *p)
{
    pattern_scratch *s = NULL;
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
    pattern_scratch_free(s);
    return st;
}

void
pattern_scratch_free(pattern_scratch *s)
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
match(const pattern *p, pattern_scratch *s, const char *text, size_t len,
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
pattern_next(const pattern *p, pattern_scratch *s, const char *text, size_t len,
             size_t at, size_t *end)
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
