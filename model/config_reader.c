/* SPDX-License-Identifier: Apache-2.0 */
/* Typed access to fields, each checked where it is read. */
#include "model/config_reader.h"

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

status
config_get_bool(const config_reader *r, const json *object, const char *name,
                bool *out)
{
    const json *v = json_get(object, name);

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
    const json *v = json_get(object, name);

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
    const json *v = json_get(object, name);

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
    const json *v = json_get(object, name);

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
