/* SPDX-License-Identifier: Apache-2.0 */
/* Typed access to parsed JSON: the owner of jansson. */
#include "base/json.h"

#include <jansson.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"

/* jansson has macros of these names; ours are functions. */
#undef json_is_object
#undef json_is_array
#undef json_is_string
#undef json_is_number
#undef json_is_integer
#undef json_is_null

/* Values are handed out as `const json *`, which is a json_t in disguise. */
struct json_doc {
    json_t *root;
};

static const json_t *
native(const json *v)
{
    return (const json_t *)(const void *)v;
}

static const json *
wrap(const json_t *v)
{
    return (const json *)(const void *)v;
}

static bool
is_type(const json *v, json_type type)
{
    return v != NULL && json_typeof(native(v)) == type;
}

/* jansson quotes the text near the mistake, whatever bytes it holds. */
static status
parse_failed(const char *what, json_error_t *err)
{
    /* Where jansson itself finds no memory it says nothing at all. */
    if (json_error_code(err) == json_error_out_of_memory || !*err->text)
        return status_fail(ST_NOMEM, "out of memory: reading %s", what);
    for (char *at = err->text; *at != '\0'; at++) {
        if ((unsigned char)*at < 0x20 || (unsigned char)*at > 0x7e)
            *at = '?';
    }
    return status_fail(ST_ARG, "%s: line %d: %s", what, err->line, err->text);
}

status
json_parse(json_doc **out, const char *text, size_t len, const char *what)
{
    status st;
    json_error_t err;
    json_doc *doc = NULL;
    const char *nul;

    /* jansson would skip it in silence. */
    nul = memchr(text, '\0', len);
    if (nul != NULL)
        return status_fail(ST_ARG, "%s: a NUL byte at offset %td", what,
                           nul - text);
    TRY(mem_new(&doc, 1, sizeof(*doc)));
    /* jansson bounds the nesting at 2048 levels and checks UTF-8 itself. */
    doc->root = json_loadb(
        text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL,
        &err);
    if (doc->root == NULL)
        TRY(parse_failed(what, &err));
    *out = doc;
    return ST_OK;
fail:
    json_free(doc);
    return st;
}

status
json_read(json_doc **out, const char *path, size_t limit, const char *what)
{
    char *text = NULL;
    size_t len;
    status st;

    TRY(file_read(&text, &len, path, limit));
    TRY(json_parse(out, text, len, what));
fail:
    mem_free(text);
    return st;
}

void
json_free(json_doc *doc)
{
    if (doc == NULL)
        return;
    json_decref(doc->root);
    mem_free(doc);
}

const json *
json_root(const json_doc *doc)
{
    return wrap(doc->root);
}

bool
json_is_object(const json *v)
{
    return is_type(v, JSON_OBJECT);
}

bool
json_is_array(const json *v)
{
    return is_type(v, JSON_ARRAY);
}

bool
json_is_string(const json *v)
{
    return is_type(v, JSON_STRING);
}

bool
json_is_number(const json *v)
{
    return is_type(v, JSON_INTEGER) || is_type(v, JSON_REAL);
}

bool
json_is_integer(const json *v)
{
    return is_type(v, JSON_INTEGER);
}

bool
json_is_bool(const json *v)
{
    return is_type(v, JSON_TRUE) || is_type(v, JSON_FALSE);
}

bool
json_is_null(const json *v)
{
    return v == NULL || is_type(v, JSON_NULL);
}

const json *
json_get(const json *object, const char *key)
{
    return wrap(json_object_get(native(object), key));
}

size_t
json_size(const json *v)
{
    if (json_is_array(v))
        return json_array_size(native(v));
    return json_is_object(v) ? json_object_size(native(v)) : 0;
}

const json *
json_at(const json *array, size_t i)
{
    return wrap(json_array_get(native(array), i));
}

const char *
json_text(const json *v, size_t *len)
{
    bool is = json_is_string(v);

    if (len != NULL)
        *len = is ? json_string_length(native(v)) : 0;
    return is ? json_string_value(native(v)) : "";
}

double
json_number(const json *v)
{
    return json_number_value(native(v));
}

int64_t
json_int(const json *v)
{
    return json_integer_value(native(v));
}

bool
json_bool(const json *v)
{
    return is_type(v, JSON_TRUE);
}

void
json_each(const json *object, json_each_fn *fn, void *ctx)
{
    json_t *o;
    const char *key;
    json_t *value;

    if (!json_is_object(object))
        return;
    /* jansson iterates over objects it may change; this walk does not. */
    memcpy(&o, &object, sizeof(o));
    json_object_foreach(o, key, value)
    {
        if (!fn(ctx, key, wrap(value)))
            return;
    }
}
