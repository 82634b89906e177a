/* SPDX-License-Identifier: Apache-2.0 */
/* One JSON object on one line. */
#include "base/jsonout.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"

void
jsonout_init(jsonout *j)
{
    memset(j, 0, sizeof(*j));
}

void
jsonout_fini(jsonout *j)
{
    mem_free(j->text);
    jsonout_init(j);
}

static void
put(jsonout *j, const char *bytes, size_t n)
{
    size_t cap = j->cap > 0 ? j->cap : 256;

    if (j->st != ST_OK)
        return;
    while (cap < j->len + n + 1)
        cap *= 2;
    if (cap != j->cap) {
        j->st = mem_resize(&j->text, cap, 1);
        if (j->st != ST_OK)
            return;
        j->cap = cap;
    }
    memcpy(j->text + j->len, bytes, n);
    j->len += n;
    j->text[j->len] = '\0';
}

static void
put_text(jsonout *j, const char *text)
{
    put(j, text, strlen(text));
}

static void
put_escape(jsonout *j, uint32_t c)
{
    char text[16];

    switch (c) {
    case '"':
        put_text(j, "\\\"");
        return;
    case '\\':
        put_text(j, "\\\\");
        return;
    case '\n':
        put_text(j, "\\n");
        return;
    case '\t':
        put_text(j, "\\t");
        return;
    default:
        (void)snprintf(text, sizeof(text), "\\u%04" PRIx32, c);
        put_text(j, text);
    }
}

static void
put_string(jsonout *j, const char *text, size_t len)
{
    put(j, "\"", 1);
    for (size_t i = 0; i < len;) {
        unsigned char c = (unsigned char)text[i];
        size_t n;

        if (utf8_next(text + i, len - i, &n) != UTF8_GOOD) {
            put_text(j, "\\ufffd");
            i++;
        } else if (utf8_is_control(utf8_value(text + i, n)) || c == '"' ||
                   c == '\\') { /* terminals show JSON, too */
            put_escape(j, utf8_value(text + i, n));
            i += n;
        } else {
            put(j, text + i, n);
            i += n;
        }
    }
    put(j, "\"", 1);
}

static void
key_of(jsonout *j, const char *key)
{
    if (j->comma)
        put(j, ", ", 2);
    j->comma = true;
    if (key != NULL) {
        put_string(j, key, strlen(key));
        put(j, ": ", 2);
    }
}

static void
open_bracket(jsonout *j, const char *key, const char *bracket)
{
    key_of(j, key);
    put(j, bracket, 1);
    j->comma = false;
}

static void
close_bracket(jsonout *j, const char *bracket)
{
    put(j, bracket, 1);
    j->comma = true;
}

void
jsonout_object(jsonout *j, const char *key)
{
    open_bracket(j, key, "{");
}

void
jsonout_array(jsonout *j, const char *key)
{
    open_bracket(j, key, "[");
}

void
jsonout_close_object(jsonout *j)
{
    close_bracket(j, "}");
}

void
jsonout_close_array(jsonout *j)
{
    close_bracket(j, "]");
}

void
jsonout_bytes(jsonout *j, const char *key, const char *text, size_t len)
{
    key_of(j, key);
    put_string(j, text, len);
}

void
jsonout_text(jsonout *j, const char *key, const char *text)
{
    jsonout_bytes(j, key, text, strlen(text));
}

void
jsonout_u64(jsonout *j, const char *key, uint64_t value)
{
    char text[24];

    key_of(j, key);
    (void)snprintf(text, sizeof(text), "%" PRIu64, value);
    put_text(j, text);
}

void
jsonout_i64(jsonout *j, const char *key, int64_t value)
{
    char text[24];

    key_of(j, key);
    (void)snprintf(text, sizeof(text), "%" PRId64, value);
    put_text(j, text);
}

void
jsonout_f64(jsonout *j, const char *key, double value)
{
    char text[40];

    key_of(j, key);
    if (!isfinite(value)) {
        put_text(j, "null");
        return;
    }
    (void)snprintf(text, sizeof(text), "%.9g", value);
    put_text(j, text);
}

void
jsonout_bool(jsonout *j, const char *key, bool value)
{
    key_of(j, key);
    put_text(j, value ? "true" : "false");
}

status
jsonout_print(jsonout *j, FILE *file)
{
    if (j->st != ST_OK)
        return j->st;
    put(j, "\n", 1);
    if (j->st != ST_OK)
        return j->st;
    if (fwrite(j->text, 1, j->len, file) != j->len || fflush(file) != 0)
        return status_fail(ST_IO, "cannot write the result");
    return ST_OK;
}
