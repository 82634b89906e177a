/* SPDX-License-Identifier: Apache-2.0 */
/* Typed access to fields, each checked where it is read. */
#include "model/config_reader.h"

#include <stdio.h>
#include <string.h>

status
config_bad(const config_reader *r, const char *name, const char *expected)
{
    return status_fail(ST_ARG, "%s: %s must be %s", r->what, name, expected);
}

status
config_refuse(const config_reader *r, const char *name, const char *value)
{
    return status_fail(ST_UNSUPPORTED, "%s: %s %s is not supported", r->what,
                       name, value);
}

static bool
is_seen(const config_seen *seen, const json *object, const char *name)
{
    for (size_t i = 0; i < seen->n; i++)
        if (seen->field[i].object == object &&
            strcmp(seen->field[i].name, name) == 0)
            return true;
    return false;
}

const json *
config_field(const config_reader *r, const json *object, const char *name)
{
    config_seen *seen = r->seen;

    if (seen != NULL && !is_seen(seen, object, name)) {
        ASSERT(seen->n < sizeof(seen->field) / sizeof(seen->field[0]));
        seen->field[seen->n].object = object;
        seen->field[seen->n++].name = name;
    }
    return json_get(object, name);
}

status
config_get_bool(const config_reader *r, const json *object, const char *name,
                bool *out)
{
    const json *v = config_field(r, object, name);

    if (json_is_null(v))
        return ST_OK;
    if (!json_is_bool(v))
        return config_bad(r, name, "true or false");
    *out = json_bool(v);
    return ST_OK;
}

status
config_get_u32(const config_reader *r, const json *object, const char *name,
               uint32_t *out)
{
    const json *v = config_field(r, object, name);

    if (json_is_null(v))
        return ST_OK;
    if (!json_is_integer(v) || json_int(v) < 0 || json_int(v) > INT32_MAX)
        return config_bad(r, name, "an integer from 0 to 2147483647");
    *out = (uint32_t)json_int(v);
    return ST_OK;
}

status
config_get_f64(const config_reader *r, const json *object, const char *name,
               double *out)
{
    const json *v = config_field(r, object, name);

    if (json_is_null(v))
        return ST_OK;
    if (!json_is_number(v))
        return config_bad(r, name, "a number");
    *out = json_number(v);
    return ST_OK;
}

status
config_get_text(const config_reader *r, const json *object, const char *name,
                const char **out)
{
    const json *v = config_field(r, object, name);

    if (json_is_null(v))
        return ST_OK;
    if (!json_is_string(v))
        return config_bad(r, name, "a string");
    *out = json_text(v, NULL);
    return ST_OK;
}

status
config_only(const config_reader *r, const json *object, const char *name,
            bool only)
{
    bool value = only;
    status st = config_get_bool(r, object, name, &value);

    if (st == ST_OK && value != only)
        st = config_refuse(r, name, value ? "true" : "false");
    return st;
}

status
config_need_u32(const config_reader *r, const json *object, const char *name,
                uint32_t *out)
{
    uint32_t value = 0;
    status st = config_get_u32(r, object, name, &value);

    if (st == ST_OK && value == 0)
        st = config_bad(r, name, "there and positive");
    if (st == ST_OK)
        *out = value;
    return st;
}

/* ------------------------------------------------ what nobody asked for --- */

typedef struct collector {
    const config_seen *seen;
    const json *object;
    const char *prefix;
    config_unread *out;
} collector;

/* Bytes that would break a line of text are masked. */
static bool
collect(void *ctx, const char *key, const json *value)
{
    const collector *c = ctx;
    config_unread *out = c->out;
    size_t len = strlen(out->list);
    char text[100];
    int n;

    (void)value;
    if (is_seen(c->seen, c->object, key))
        return true;
    out->n++;
    n = snprintf(text, sizeof(text), "%s%s%.60s", len > 0 ? ", " : "",
                 c->prefix, key);
    if (out->n_listed < out->n - 1 || n < 0 ||
        len + (size_t)n >= sizeof(out->list))
        return true;
    for (char *at = text; *at != '\0'; at++)
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            *at = '?';
    memcpy(out->list + len, text, (size_t)n + 1);
    out->n_listed++;
    return true;
}

void
config_collect_unread(const config_reader *r, config_unread *out)
{
    collector c = {r->seen, r->top, "", out};

    *out = (config_unread){0};
    json_each(r->top, collect, &c);
    c.object = r->base;
    c.prefix = "base_model_config.";
    if (r->base != r->top)
        json_each(r->base, collect, &c);
}
