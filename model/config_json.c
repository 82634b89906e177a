/* SPDX-License-Identifier: Apache-2.0 */
/* Reads config.json and the files beside it (docs/models.md has the fields).
 *
 * What is not built is refused by the option's name: a model that runs with an
 * option ignored would give wrong answers in silence. */
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "model/config_reader.h"

enum { MAX_BYTES = 1 << 20 };

/* --------------------------------------------------------------- types --- */

static status
read_dtype(const config_reader *r, const char *field, config_dtype *out)
{
    static const char *const names[] = {"float32", "bfloat16", "float16"};
    const char *name = NULL;
    status st;

    TRY(config_get_text(r, r->top, field, &name));
    if (name == NULL)
        return ST_OK;
    if (strncmp(name, "torch.", 6) == 0)
        name += 6;
    for (size_t i = 0; i < 3; i++)
        if (strcmp(name, names[i]) == 0) {
            *out = (config_dtype)i;
            return ST_OK;
        }
    return config_refuse(r, field, name);

fail:
    return st;
}

/* The newest name wins.  The memory's type is checked only: states are fp32
 * here whatever the reference would keep them in. */
static status
read_dtypes(const config_reader *r, config_dtype *out)
{
    config_dtype memory = CONFIG_F32;
    status st;

    TRY(read_dtype(r, "memory_dtype", &memory));
    TRY(read_dtype(r, "model_dtype", out));
    TRY(read_dtype(r, "torch_dtype", out));
    TRY(read_dtype(r, "dtype", out));
    return ST_OK;

fail:
    return st;
}

/* ------------------------------------------------- begin and end tokens --- */

static status
read_token(const config_reader *r, const json *v, const char *name,
           int32_t *out)
{
    if (!json_is_integer(v) || json_int(v) < 0 || json_int(v) > INT32_MAX)
        return config_bad(r, name, "a token id or a list of them");
    *out = (int32_t)json_int(v);
    return ST_OK;
}

/* Replaces what an object of lower rank said, if this one says anything. */
static status
read_tokens(const config_reader *r, const json *object, model_config *cfg)
{
    const json *bos = config_field(r, object, "bos_token_id");
    const json *eos = config_field(r, object, "eos_token_id");
    status st;

    if (!json_is_null(bos))
        TRY(read_token(r, bos, "bos_token_id", &cfg->bos));
    if (json_is_null(eos))
        return ST_OK;
    cfg->n_eos = 0;
    if (!json_is_array(eos)) {
        TRY(read_token(r, eos, "eos_token_id", &cfg->eos[0]));
        cfg->n_eos = 1;
        return ST_OK;
    }
    if (json_size(eos) > CONFIG_MAX_EOS)
        return config_bad(r, "eos_token_id", "a list of at most 16");
    for (size_t i = 0; i < json_size(eos); i++)
        TRY(read_token(r, json_at(eos, i), "eos_token_id", &cfg->eos[i]));
    cfg->n_eos = (uint32_t)json_size(eos);
    return ST_OK;

fail:
    return st;
}

/* -------------------------------------------------------------- whole --- */

static status
read_all(config_reader *r, model_config *cfg)
{
    const char *base_kind = NULL;
    status st;

    TRY(config_read_wrapper(r, &base_kind, cfg));
    TRY(config_read_base(r, base_kind, cfg));
    TRY(config_read_rope(r, cfg));
    TRY(config_read_layers(r, cfg));
    TRY(read_dtypes(r, &cfg->dtype));
    TRY(config_get_f64(r, r->top, "lora_alpha", &cfg->lora_alpha));
    TRY(read_tokens(r, r->base, cfg));
    TRY(read_tokens(r, r->top, cfg));
    return ST_OK;

fail:
    return st;
}

static status
parse(model_config *out, const char *text, size_t len, const char *what,
      const config_given *given, config_unread *unread)
{
    model_config cfg = {.bos = -1};
    config_seen seen = {0};
    config_reader r = {.what = what, .seen = unread != NULL ? &seen : NULL};
    json_doc *doc = NULL;
    status st;

    if (given)
        r.given = *given;
    TRY(json_parse(&doc, text, len, what));
    r.top = json_root(doc);
    TRY(json_is_object(r.top) ? read_all(&r, &cfg)
                              : config_bad(&r, "the file", "an object"));
    if (unread != NULL)
        config_collect_unread(&r, unread);
    *out = cfg;

fail:
    json_free(doc);
    return st;
}

status
config_parse(model_config *out, const char *text, size_t len, const char *what)
{
    model_config cfg;
    status st;

    TRY(parse(&cfg, text, len, what, NULL, NULL));
    TRY(config_check(&cfg));
    *out = cfg;
    return ST_OK;

fail:
    return st;
}

/* ------------------------------------------------- the files beside it --- */

/* generation_config.json, where there is one, has the last word about begin
 * and end tokens. */
static status
read_generation_file(const config_reader *r, model_config *cfg)
{
    return read_tokens(r, r->top, cfg);
}

/* adapter_config.json belongs to LoRA parts that were not merged. */
static status
read_adapter_file(const config_reader *r, model_config *cfg)
{
    status st;

    TRY(config_get_f64(r, r->top, "lora_alpha", &cfg->lora_alpha));
    TRY(config_only(r, r->top, "use_rslora", false));
    TRY(config_only(r, r->top, "use_dora", false));
    if (json_size(config_field(r, r->top, "alpha_pattern")) > 0)
        return config_refuse(r, "alpha_pattern", "with entries");
    if (json_size(config_field(r, r->top, "rank_pattern")) > 0)
        return config_refuse(r, "rank_pattern", "with entries");

fail:
    return st;
}

static status
load_beside(model_config *cfg, const char *dir, const char *name,
            status (*read)(const config_reader *, model_config *))
{
    config_reader r = {.what = name};
    char *path = NULL;
    json_doc *doc = NULL;
    status st;

    TRY(file_join(&path, dir, name));
    if (file_exists(path)) {
        TRY(json_read(&doc, path, MAX_BYTES, name));
        r.top = r.base = json_root(doc);
        TRY(json_is_object(r.top) ? read(&r, cfg)
                                  : config_bad(&r, "the file", "an object"));
    }
    st = ST_OK;

fail:
    json_free(doc);
    mem_free(path);
    return st;
}

/* What no file can take back. */
static status
apply(model_config *cfg, const config_given *given)
{
    if (!given)
        return ST_OK;
    if (given->lora_alpha != 0)
        cfg->lora_alpha = given->lora_alpha;
    if (given->key_norm && cfg->memory != CONFIG_MEMORY_ASSOC)
        return status_fail(ST_ARG, "key_norm is of an associative memory, "
                                   "which this model does not have");
    return given->state_type ? config_set_state_type(cfg, given->state_type)
                             : ST_OK;
}

status
config_load(model_config *out, const char *dir)
{
    return config_load_given(out, dir, NULL);
}

status
config_load_given(model_config *out, const char *dir, const config_given *given)
{
    return config_load_unread(out, NULL, dir, given);
}

status
config_load_unread(model_config *out, config_unread *unread, const char *dir,
                   const config_given *given)
{
    model_config cfg;
    char *path = NULL;
    char *text = NULL;
    size_t len;
    status st;

    TRY(file_join(&path, dir, "config.json"));
    TRY(file_read(&text, &len, path, MAX_BYTES));
    TRY(parse(&cfg, text, len, "config.json", given, unread));
    TRY(load_beside(&cfg, dir, "generation_config.json", read_generation_file));
    TRY(load_beside(&cfg, dir, "adapter_config.json", read_adapter_file));
    TRY(apply(&cfg, given));
    TRY(config_check(&cfg));
    *out = cfg;

fail:
    mem_free(text);
    mem_free(path);
    return st;
}
